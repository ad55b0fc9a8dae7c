"""Segmentation of hair and body in a photograph, given the fitted head."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.types import Array, Image
from trans3dhead_training.synthesis.turned_photos.head_surface import HeadSurface
from trans3dhead_training.synthesis.turned_photos.inpainting import inpaint

_SIDE_PX = 90
_STEP_M, _STEPS = 0.002, 22
_THINNEST_M, _THICKEST_M = 0.004, 0.036
_GRID, _COARSER = (48, 24), 8


def segment_person(
    picture: Image, head: NDArray[np.uint8], px_per_metre: float,
) -> NDArray[np.uint8]:
    """
    Separate the person from the background by colour (GrabCut), starting from the bare head.

    :param picture: (H, W, 3) BGR.
    :param head: (H, W) 1 on the fitted head without hair.
    :param px_per_metre: px per metre.
    :return: (H, W) 1 on the person near the head.
    """
    reduction = max(1.0, max(head.shape) / _SIDE_PX)
    size = tuple(max(int(side / reduction), 2) for side in head.shape[::-1])
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    head = cv2.resize(head, size, interpolation=cv2.INTER_NEAREST)

    def near(metres: float) -> NDArray[np.uint8]:
        reach = max(round(metres * px_per_metre / reduction), 1)
        return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))

    label = np.full(head.shape, cv2.GC_BGD, np.uint8)
    label[cv2.dilate(head, near(0.07)) > 0] = cv2.GC_PR_BGD
    label[cv2.dilate(head, near(0.018)) > 0] = cv2.GC_PR_FGD
    label[(small == 0).all(axis=2)] = cv2.GC_BGD
    label[cv2.erode(head, near(0.012)) > 0] = cv2.GC_FGD
    if not ((label & 1) == 0).any() or not (label & 1).any():
        return np.full(picture.shape[:2], int((label & 1).any()), np.uint8)
    cv2.setRNGSeed(0)  # OpenCV initialises the colour clusters at random
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small, label, None, *models, 2, cv2.GC_INIT_WITH_MASK)
    person = cv2.morphologyEx((label & 1).astype(np.uint8), cv2.MORPH_CLOSE, near(0.010))
    person = cv2.morphologyEx(person, cv2.MORPH_OPEN, near(0.005))
    return cv2.resize(person, picture.shape[1::-1], interpolation=cv2.INTER_NEAREST)


def hair_thickness(
    surface: HeadSurface, pixels: Array, normals: Array, person: NDArray[np.uint8],
    px_per_metre: float,
) -> Array:
    """
    Measure how far the person extends beyond the outline of the bare skull.

    :param surface: the head's surface.
    :param pixels: (vertices, 2) px of the head without hair.
    :param normals: (vertices, 3) camera frame.
    :param person: (H, W) 1 on the person.
    :param px_per_metre: px per metre.
    :return: (vertices,) m, for skin as well.
    """
    outline = np.flatnonzero((surface.hair > 0.3) & (np.abs(normals[:, 2]) < 0.35))
    grid = np.full((*_GRID[::-1], 1), 0.012, np.float32)
    place = surface.atlas.vertex_pixels // _COARSER
    if len(outline):
        direction = normals[outline, :2]
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        reach = px_per_metre * _STEP_M * np.arange(_STEPS)
        ray = pixels[outline, None] + direction[:, None] * reach[:, None]
        height, width = person.shape
        column, row = np.round(ray[..., 0]).astype(int), np.round(ray[..., 1]).astype(int)
        known = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        inside = person[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)] > 0
        # A ray that leaves the picture inside the hair has no information.
        ends = ~inside & known
        thickness = np.clip(_STEP_M * ends.argmax(1), _THINNEST_M, _THICKEST_M)
        measured = known[:, 0] & (ends.any(1) | known.all(1))
        thickness = np.where(ends.any(1), thickness, _THICKEST_M)
        cell = place[outline] @ [1, _GRID[0]]
        total = np.bincount(cell, measured, _GRID[0] * _GRID[1])
        mean = np.bincount(cell, measured * thickness, len(total)) / np.maximum(total, 1e-6)
        # A weak prior of the usual thickness.
        prior = 0.02
        mean = (mean * total + prior * 0.012) / (total + prior)
        known_share = np.minimum(total + prior, 1)
        filled = inpaint(np.repeat(mean.reshape(_GRID[::-1])[..., None], 3, 2).astype(np.float32),
                         known_share.reshape(_GRID[::-1]).astype(np.float32))
        grid = cv2.GaussianBlur(filled, (0, 0), 1.5)[..., :1]
    return grid[place[:, 1], place[:, 0], 0].astype(float)
