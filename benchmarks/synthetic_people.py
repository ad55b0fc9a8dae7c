"""Synthetic people a second: whole pictures (person, scene, effects), and the renderer alone.

    python benchmarks/synthetic_people.py [--data DIR] [--processes 2] [--people 6]

Every process has one thread, as `trans3dhead prepare data` runs them; their rates are added.
"""

import argparse
import multiprocessing
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from trans3dhead_training.core.data_root import data_root
from trans3dhead_training.preparation.synthetic_maker import load_scene_assets
from trans3dhead_training.synthesis.render.renderer import render
from trans3dhead_training.synthesis.scenes import scene_generator


def rates(root: Path, seed: int, people: int) -> tuple[float, float]:
    """Return pictures a second, and heads a second of the renderer alone on the same scenes."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    place = load_scene_assets(root, Path('runs/people'), Path('runs/head_model.npz'))
    scenes = []

    def kept(drawn, *arguments, **options):
        scenes.extend(drawn)
        return render(drawn, *arguments, **options)

    scene_generator.render = kept
    started = time.perf_counter()
    for person in range(people):
        scene_generator.render_crops(place, np.random.default_rng((seed, person)),
                                     scene_generator.PICTURES_PER_PERSON)
    drawn = time.perf_counter()
    render(scenes)
    return (len(scenes) / (drawn - started), len(scenes) / (time.perf_counter() - drawn))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', type=Path)
    parser.add_argument('--processes', type=int, default=2)
    parser.add_argument('--people', type=int, default=6,
                        help='people per process, eight pictures each')
    options = parser.parse_args()
    with multiprocessing.get_context('spawn').Pool(options.processes) as pool:
        found = pool.starmap(rates, [(options.data or data_root(), seed, options.people)
                                     for seed in range(options.processes)])
    pictures, heads = np.sum(found, axis=0)
    print(f'{options.processes} processes: {pictures:.1f} pictures/s, of which the renderer alone '
          f'{heads:.1f} heads/s')


if __name__ == '__main__':
    main()
