"""Frames with up to eight synthetic people and their labels, to train detectors on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from trans3dhead_training.preparation.picture_bytes import encode_jpeg
from trans3dhead_training.synthesis.scenes.head_labels import SyntheticHead
from trans3dhead_training.synthesis.scenes.scene_generator import SceneAssets, render_scene

LABELS = 'labels.jsonl'


def write_scenes(
    assets: SceneAssets, folder: Path, count: int, size: tuple[int, int], seed: int,
) -> int:
    """
    Write frames and their labels; complete ones of an earlier run are kept.

    :param assets: what people and scenes are made of.
    :param folder: for the frames and `LABELS`.
    :param count: number of frames.
    :param size: (width, height) px.
    :param seed: a frame depends on it and on the number of the frame only.
    :return: number of heads in all frames.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = _known_lines(folder / LABELS)
    heads = 0
    with (folder / LABELS).open('a') as labels:
        for number in tqdm(range(count), desc='scenes', unit='frame', disable=None):
            name = f'{number:06d}.jpg'
            if name not in lines:
                image, truths = render_scene(assets, np.random.default_rng((seed, number)), size)
                (folder / name).write_bytes(encode_jpeg(image))
                lines[name] = {'file': name, 'heads': [head_labels(truth) for truth in truths]}
                labels.write(json.dumps(lines[name]) + '\n')
            heads += len(lines[name]['heads'])
    return heads


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
    """Return the complete lines of an earlier run whose pictures exist, by file name."""
    if not path.is_file():
        return {}
    known = {}
    for line in path.read_text().splitlines(keepends=True):
        if line.endswith('\n'):  # else the run was interrupted while writing it
            entry = json.loads(line)
            known[entry['file']] = entry
    known = {name: entry for name, entry in known.items()
             if cv2.haveImageReader(str(path.with_name(name)))}
    path.write_text(''.join(json.dumps(entry) + '\n' for entry in known.values()))
    return known
