"""A small set of pictures with drawn heads, for tests that train or measure a detector."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import torch

from trans3dhead_ros.network.detector_config import DetectorConfig
from trans3dhead_ros.network.head_detector import HeadDetector

SIZE = (160, 128)

KEYS = ('task=detector', "scenes=''", 'minutes=0', 'batch_size=4', 'warmup_steps=2',
        'validate_minutes=100', 'validate_every=1', 'threads=1', 'precision=float32', 'device=cpu',
        'sampling.size=96', 'network.stem_width=8', 'network.widths=[8, 12, 16]',
        'network.blocks=[0, 0, 0]', 'network.neck_width=12')


def draw_room(generator: np.random.Generator) -> np.ndarray:
    coarse = generator.integers(60, 200, (4, 5, 3), dtype=np.uint8)
    return cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC)


def draw_heads(generator: np.random.Generator) -> tuple[np.ndarray, list[list[int]]]:
    """Draw ellipses with eyes; return the picture and their boxes x0 y0 x1 y1."""
    image, boxes = draw_room(generator), []
    for place in range(int(generator.integers(1, 4))):
        half = int(generator.integers(8, 18))
        x = int(30 + 50 * place + generator.integers(-4, 5))
        y = int(generator.integers(30, SIZE[1] - 30))
        cv2.ellipse(image, (x, y), (int(0.8 * half), half), 0, 0, 360, (20, 30, 60), -1)
        cv2.ellipse(image, (x, y + half // 4), (half // 2, half // 2), 0, 0, 360, (150, 190, 240),
                    -1)
        boxes.append([x - int(0.8 * half), y - half, x + int(0.8 * half), y + half])
    return image, boxes


def write_detector_set(root: Path, pictures: int = 40) -> Path:
    """Write heads/, masks/ and rooms/ below a folder, and return it."""
    generator = np.random.default_rng(0)
    for name in ('heads', 'masks', 'rooms'):
        (root / name).mkdir(parents=True)
    rows: dict[str, list[list]] = {'heads': [], 'masks': []}
    for number in range(pictures):
        for name, kind in (('heads', 'drawn'), ('masks', 'with_mask')):
            image, boxes = draw_heads(generator)
            file = f'{name}_{number:03d}.png'
            cv2.imwrite(str(root / name / file), image)
            rows[name] += [[file, kind, *box] for box in boxes]
        cv2.imwrite(str(root / 'rooms' / f'{number:03d}.png'), draw_room(generator))
    for name, column in (('heads', 'source'), ('masks', 'mask')):
        with (root / name / 'labels.csv').open('w', newline='') as file:
            csv.writer(file).writerows([['file', column, 'x0', 'y0', 'x1', 'y1'], *rows[name]])
    return root


def write_scene_set(root: Path, scenes: int = 60) -> Path:
    """Write scenes/, of which every third is empty, and portraits with fits; return the folder."""
    generator = np.random.default_rng(1)
    folder, faces = root / 'scenes', root / 'faces' / 'congress'
    folder.mkdir(parents=True)
    faces.mkdir(parents=True)
    lines = []
    for number in range(scenes):
        image, boxes = (draw_room(generator), []) if number % 3 == 0 else draw_heads(generator)
        cv2.imwrite(str(folder / f'{number:03d}.png'), image)
        heads = [{'head_box': box, 'landmarks': np.column_stack([
            generator.uniform(box[0], box[2], 68), generator.uniform(box[1], box[3], 68),
            np.zeros(68)]).tolist(), 'apparent': [[0, 1, 0], [0, 0, -1], [-1, 0, 0]],
            'face': 1.0, 'seen': 1.0} for box in boxes]
        lines.append(json.dumps({'file': f'{number:03d}.png', 'heads': heads}))
    (folder / 'labels.jsonl').write_text('\n'.join(lines))
    names = [f'congress/{number}.png' for number in range(8)]
    for name in names:
        cv2.imwrite(str(root / 'faces' / name), draw_heads(generator)[0])
    np.savez(root / 'portrait_fits.npz', files=np.array(names), accepted=np.ones(8, bool),
             points=generator.uniform(40, 90, (8, 68, 2)))
    return root


def small_detector() -> HeadDetector:
    """Return an untrained detector whose answers depend on the image."""
    torch.manual_seed(0)
    detector = HeadDetector(DetectorConfig(8, (8, 12, 16), (0, 1, 0), 12))
    with torch.no_grad():
        for output in detector.outputs:
            output.weight.normal_(0.0, 0.2)
    return detector
