"""Overlaps of boxes in an image: x0 y0 x1 y1, px."""

from __future__ import annotations

import numpy as np

from trans3dhead_ros.types import Array


def iou(boxes: Array, others: Array) -> Array:
    """Return the intersection over union (N, M) of boxes (N, 4) and (M, 4): x0 y0 x1 y1."""
    overlap, area, other_area = _areas(boxes, others)
    return overlap / np.maximum(area + other_area - overlap, 1e-12)


def containment(boxes: Array, others: Array) -> Array:
    """Return the part (N, M) of the smaller of two boxes, (N, 4) and (M, 4), inside the larger."""
    overlap, area, other_area = _areas(boxes, others)
    return overlap / np.maximum(np.minimum(area, other_area), 1e-12)


def _areas(boxes: Array, others: Array) -> tuple[Array, Array, Array]:
    """Return the areas of the intersections (N, M), of boxes (N, 1) and of others (1, M)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    overlap = np.prod(np.clip(high - low, 0.0, None), axis=-1)
    area, other_area = (np.prod(b[:, 2:] - b[:, :2], axis=-1) for b in (boxes, others))
    return overlap, area[:, None], other_area[None]
