"""`trans3dhead prepare scenes`: frames with up to eight synthetic people, to train detectors on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError
from trans3dhead_training.core.data_root import data_root
from trans3dhead_training.preparation.encode import encoded
from trans3dhead_training.preparation.synthetic import load_scene_assets
from trans3dhead_training.synthesis.scenes.head_labels import SyntheticHead
from trans3dhead_training.synthesis.scenes.scene_generator import render_scene

LABELS = 'labels.jsonl'


def main(argv: Sequence[str] | None = None) -> int:
    """Run `trans3dhead prepare scenes`; `ValueError` for a user's mistake."""
    parser = ArgumentParser(prog='trans3dhead prepare scenes', description=__doc__)
    parser.add_argument('--data', type=Path, help='raw data (default: the data folder)')
    parser.add_argument('--output', type=Path, default=Path('runs/scenes'))
    parser.add_argument('--count', type=int, default=1000, help='frames (default: %(default)s)')
    parser.add_argument('--size', type=int, nargs=2, default=(640, 480),
                        metavar=('WIDTH', 'HEIGHT'))
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--head-model', type=Path, default=Path('runs/head_model.npz'))
    parser.add_argument('--cache', type=Path, default=Path('runs/people'),
                        help='where the registered assets of people are kept')
    options = parser.parse_args(argv)
    if options.count < 1 or min(options.size) < 32:
        raise UserError('--count, --size: expected at least 1 frame of 32 x 32')
    place = load_scene_assets(options.data or data_root(), options.cache, options.head_model)
    options.output.mkdir(parents=True, exist_ok=True)
    # A frame depends on the seed and its number alone, so those that are there are drawn no more.
    lines = _known_lines(options.output / LABELS)
    heads = 0
    with (options.output / LABELS).open('a') as labels:
        for number in tqdm(range(options.count), desc='scenes', unit='frame', disable=None):
            name = f'{number:06d}.jpg'
            if name not in lines:
                image, truths = render_scene(place, np.random.default_rng((options.seed, number)),
                                           tuple(options.size))
                (options.output / name).write_bytes(encoded(image))
                lines[name] = {'file': name, 'heads': [head_labels(truth) for truth in truths]}
                labels.write(json.dumps(lines[name]) + '\n')
            heads += len(lines[name]['heads'])
    print(f'{options.output}: {options.count} frames, {heads} heads')
    return 0


def head_labels(truth: SyntheticHead) -> dict[str, Any]:
    """
    Return plain values of one head.

    Box and landmarks in px, rotation and translation (m) from the head into the camera optical
    frame, and the share of its 68 landmarks that nothing hides.
    """
    return {'box': np.round(truth.box, 2).tolist(),
            'landmarks': np.round(truth.landmarks, 2).tolist(),
            'rotation': truth.rotation_camera.tolist(),
            'translation': truth.translation_camera.tolist(),
            'visible': round(float(np.mean(truth.visible)), 3)}


def _known_lines(path: Path) -> dict[str, dict[str, Any]]:
    """Return the whole lines of an earlier run whose pictures are there, by file name."""
    if not path.is_file():
        return {}
    known = {}
    for line in path.read_text().splitlines(keepends=True):
        if line.endswith('\n'):  # else the run was ended within it
            entry = json.loads(line)
            known[entry['file']] = entry
    known = {name: entry for name, entry in known.items()
             if cv2.haveImageReader(str(path.with_name(name)))}
    path.write_text(''.join(json.dumps(entry) + '\n' for entry in known.values()))
    return known
