"""Frames with up to eight synthetic people and their labels, to train detectors on."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from trans3dhead_ros.landmarks import INNER
from trans3dhead_training.preparation.picture_bytes import encode_jpeg
from trans3dhead_training.synthesis.scenes.frame_generator import SceneHead, render_scene
from trans3dhead_training.synthesis.scenes.scene_generator import SceneAssets

LABELS = 'labels.jsonl'


def write_scenes(
    assets: SceneAssets, folder: Path, count: int, size: tuple[int, int], seed: int,
    minutes: float = math.inf,
) -> tuple[int, int]:
    """
    Write frames and their labels; complete ones of an earlier run are kept.

    :param assets: what people and scenes are made of.
    :param folder: for the frames and `LABELS`.
    :param count: number of frames.
    :param size: (width, height) px.
    :param seed: a frame depends on it and on the number of the frame only.
    :param minutes: no frame is begun later than that.
    :return: number of frames, and of heads in all of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = _known_lines(folder / LABELS)
    end = time.monotonic() + 60 * minutes
    missing = [number for number in range(count) if f'{number:06d}.jpg' not in lines]
    with (folder / LABELS).open('a') as labels:
        for number in tqdm(missing, desc='scenes', unit='frame', disable=None):
            if time.monotonic() > end:
                break
            name = f'{number:06d}.jpg'
            image, heads = render_scene(assets, np.random.default_rng((seed, number)), size)
            (folder / name).write_bytes(encode_jpeg(image))
            lines[name] = {'file': name, 'heads': [head_labels(head) for head in heads]}
            labels.write(json.dumps(lines[name]) + '\n')
            labels.flush()
    return len(lines), sum(len(line['heads']) for line in lines.values())


def head_labels(head: SceneHead) -> dict[str, Any]:
    """
    Return plain values of one head.

    `box` of the 68 landmarks and `head_box` of the whole head with hair and hat, px, both possibly
    beyond the frame; landmarks, px; `rotation` and `translation` (m) from the head into the camera
    optical frame, and the `apparent` rotation in a crop around the box; `roll_deg` of the head's
    vertical in the picture, clockwise; `visible`, the share of its 68 landmarks that nothing hides,
    and `face`, that of the inner 51; `seen`, the share of the head's outline in which the frame
    shows it.

    :param head: of a frame.
    :return: values that JSON can hold.
    """
    labels = head.labels
    up = labels.rotation[:2, 2]
    return {'box': np.round(labels.box, 2).tolist(),
            'head_box': np.round(head.head_box, 2).tolist(),
            'landmarks': np.round(labels.landmarks, 2).tolist(),
            'rotation': np.round(labels.rotation_camera, 5).tolist(),
            'translation': np.round(labels.translation_camera, 4).tolist(),
            'apparent': np.round(labels.rotation, 5).tolist(),
            'roll_deg': round(float(np.rad2deg(np.arctan2(up[0], -up[1]))), 1),
            'visible': round(float(np.mean(labels.visible)), 3),
            'face': round(float(np.mean(labels.visible[INNER])), 3),
            'seen': round(head.seen, 3)}


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
