"""Crops without a head, from which the score learns what is not one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from trans3dhead_ros.boxes import iou
from trans3dhead_ros.errors import UserError
from trans3dhead_training.core.data_root import data_root

MAXIMUM_OVERLAP = 0.2
"""A box that overlaps the true landmark box by less than this (IoU) does not show the head."""


def read_backgrounds(folder: Path) -> list[np.ndarray]:
    """Return the panoramas (H, W, 3) uint8 BGR of a folder of .hdr files; none if it is absent."""
    panoramas = []
    for path in sorted(folder.glob('*.hdr')):
        linear = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if linear is None:
            raise UserError(f'backgrounds: {path} cannot be read; restore or remove it')
        exposed = linear / max(2.5 * float(np.median(linear)), 1e-6)
        panoramas.append((np.clip(exposed, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8))
    return panoramas


def backgrounds_of(folder: str) -> list[np.ndarray]:
    """Return the panoramas of a folder; '' stands for that of the data folder, if there is one."""
    if folder:
        return read_backgrounds(Path(folder))
    try:
        return read_backgrounds(data_root() / 'appearance' / 'hdri')
    except ValueError:
        return []


def negative_crop(
    image: np.ndarray, points: np.ndarray, size: int, crop_scale: float,
    backgrounds: Sequence[np.ndarray], generator: np.random.Generator,
) -> np.ndarray:
    """
    Make one crop without a head.

    :param image: (H, W, 3) uint8 BGR of one face.
    :param points: (68, 2) px, its landmarks; nan where unknown.
    :param size: side of the crop, px.
    :param crop_scale: side of a crop / longer side of the landmark box.
    :param backgrounds: panoramas (H, W, 3) uint8 BGR.
    :param generator: decides the crop.
    :return: (size, size, 3) uint8 BGR.
    """
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    side = float((high - low).max())
    kind = generator.random()
    if kind < 0.33:
        return _beside(image, low, high, side, size, crop_scale, generator)
    if kind < 0.55 and backgrounds:
        panorama = backgrounds[generator.integers(len(backgrounds))]
        window = generator.uniform(40, 420)
        centre = generator.random(2) * panorama.shape[1::-1]
        return _window(panorama, centre, window, size, generator)
    crop = _window(image, (low + high) / 2, crop_scale * side * generator.uniform(0.8, 1.3), size,
                   generator)
    if kind < 0.7:
        return _scrambled(crop, generator)
    if kind < 0.9:
        return _blanked(crop, crop_scale, generator)
    flat = cv2.resize(generator.integers(0, 256, (3, 3, 3), dtype=np.uint8), (size, size),
                      interpolation=cv2.INTER_CUBIC)
    if generator.random() < 0.5:
        flat[:] = flat[0, 0]
    return flat


def _window(image: np.ndarray, centre: np.ndarray, side: float, size: int,
            generator: np.random.Generator) -> np.ndarray:
    degrees = generator.uniform(-40, 40)
    scale = size / side
    matrix = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), degrees, scale)
    matrix[:, 2] += size / 2 - centre
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)


def _beside(image: np.ndarray, low: np.ndarray, high: np.ndarray, side: float, size: int,
            crop_scale: float, generator: np.random.Generator) -> np.ndarray:
    """Crop around a box that is not that of the head: a shoulder, an ear, a wall, a person."""
    for _ in range(20):
        box = side * (generator.uniform(0.2, 0.8) if generator.random() < 0.75
                      else generator.uniform(2.4, 4.0))
        centre = generator.random(2) * image.shape[1::-1]
        window = np.concatenate([centre - box / 2, centre + box / 2])
        if iou(window[None], np.concatenate([low, high])[None])[0, 0] < MAXIMUM_OVERLAP:
            break
    return _window(image, centre, crop_scale * box, size, generator)


def _scrambled(crop: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Shuffle the blocks of a crop: every texture of a face, but no face."""
    blocks = int(generator.choice([4, 8]))
    step = crop.shape[0] // blocks
    tiles = crop[:step * blocks, :step * blocks].reshape(blocks, step, blocks, step, 3)
    tiles = tiles.transpose(0, 2, 1, 3, 4).reshape(-1, step, step, 3)
    tiles = tiles[generator.permutation(len(tiles))].reshape(blocks, blocks, step, step, 3)
    result = crop.copy()
    result[:step * blocks, :step * blocks] = tiles.transpose(0, 2, 1, 3, 4).reshape(
        step * blocks, step * blocks, 3)
    return result


def _blanked(crop: np.ndarray, crop_scale: float, generator: np.random.Generator) -> np.ndarray:
    """Cover the face and leave hair, neck and background, as where a tracker has lost a face."""
    size = crop.shape[0]
    half = size / crop_scale / 2 * generator.uniform(1.0, 1.5)
    low, high = (int(np.clip(size / 2 + sign * half, 0, size)) for sign in (-1, 1))
    patch = crop[low:high, low:high]
    result = crop.copy()
    kind = generator.integers(4)
    if kind == 0:
        result[low:high, low:high] = generator.integers(0, 256, 3)
    elif kind == 1:
        result[low:high, low:high] = patch.mean((0, 1))
    elif kind == 2:
        result[low:high, low:high] = generator.integers(0, 256, patch.shape)
    else:
        result[low:high, low:high] = cv2.GaussianBlur(patch, (0, 0), size / 9)
    return result
