"""
What the gate says of poisoned recordings: `python benchmarks/update_poisoned.py RUN`.

It takes what an update has collected and labelled, poisons it, and does the rest of the update
with real trainings: with labels that are mirrored, and with a quarter of the crops that show
places without a head, under the labels of the heads that were there. Exit code 1: one passed.
"""

import argparse
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from trans3dhead_ros.geometry import mirrored
from trans3dhead_training.gate.frozen_sets import NO_HEADS, read_frozen
from trans3dhead_training.update.labelling import LabelledHeads
from trans3dhead_training.update.update_config import UpdateConfig
from trans3dhead_training.update.update_run import UpdateRun
from trans3dhead_training.update.update_stages import STAGES, UpdateTask, update
from trans3dhead_training.update.whole_files import read_json

SHARE_WITHOUT_HEADS = 0.25


def mirror_labels(run: UpdateRun) -> None:
    """Mirror the points and poses of all labels, and not the pictures."""
    labels = LabelledHeads.load(run.labels)
    points, rays = labels.points.copy(), np.full_like(labels.rays, np.nan)
    for row, name in enumerate(labels.name):
        points[row, :, 0] = cv2.imread(str(run.crops / str(name))).shape[1] - 1 - points[row, :, 0]
    replace(labels, points=points, rotation=mirrored(labels.rotation), rays=rays).save(run.labels)


def remove_heads(run: UpdateRun) -> None:
    """Replace a quarter of the crops by places without people."""
    generator = np.random.default_rng(0)
    places = [sample.image() for sample in read_frozen(NO_HEADS)]
    names = LabelledHeads.load(run.labels).name
    for name in generator.permutation(names)[:round(SHARE_WITHOUT_HEADS * len(names))]:
        path = run.crops / str(name)
        height, width = cv2.imread(str(path)).shape[:2]
        place = places[generator.integers(len(places))]
        cv2.imwrite(str(path), cv2.resize(place, (width, height), interpolation=cv2.INTER_AREA))


POISONS = {'labels mirrored': mirror_labels, 'a quarter without heads': remove_heads}


def judged(before: UpdateRun, folder: Path, config: UpdateConfig, poison) -> dict:
    """Return the verdict on the candidate of a poisoned copy of a run."""
    task = UpdateTask(tuple(read_json(before.path / 'settings.json')['sources']), folder)
    run, _ = update(task, config, ())
    if not run.labels.exists():
        shutil.copytree(before.collected, run.collected, dirs_exist_ok=True)
        shutil.copy(before.labels, run.labels)
        poison(run)
    update(task, config, STAGES[2:])
    return read_json(run.report)['gate']


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('run', type=Path, help='of an update that is at least labelled')
    parser.add_argument('--output', type=Path, default=Path('out/poisoned'))
    parser.add_argument('--minutes', type=float, default=4.0)
    parser.add_argument('--steps', type=int, default=0)
    parser.add_argument('--threads', type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    config = UpdateConfig(minutes=options.minutes, steps=options.steps, threads=options.threads)
    passed = False
    for name, poison in POISONS.items():
        verdict = judged(UpdateRun(options.run), options.output / name.replace(' ', '_'), config,
                         poison)
        passed = passed or verdict['passed']
        print(f'{name}: {"passed" if verdict["passed"] else "refused"}', *verdict['reasons'],
              sep='\n  ')
    return int(passed)


if __name__ == '__main__':
    sys.exit(main())
