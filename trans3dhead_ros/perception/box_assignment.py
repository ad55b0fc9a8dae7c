"""Assignment of detections to tracks (Hungarian algorithm on overlap and distance)."""

from __future__ import annotations

import numpy as np

from trans3dhead_ros.boxes import iou
from trans3dhead_ros.types import Array, IndexArray


def assign_boxes(
    tracks: list[Array], found: Array, max_distance: float,
) -> list[tuple[int, int]]:
    """
    Assign found boxes to tracks by overlap and distance.

    :param tracks: their landmark boxes (4,).
    :param found: (N, 4) landmark boxes.
    :param max_distance: of the centres, in sides of the larger box.
    :return: pairs (index into `tracks`, index into `found`), none too far apart.
    """
    if not tracks or not len(found):
        return []
    boxes = np.stack(tracks)
    side, other_side = ((b[:, 2:] - b[:, :2]).max(axis=1) for b in (boxes, found))
    centre, other = (0.5 * (b[:, :2] + b[:, 2:]) for b in (boxes, found))
    distance = np.linalg.norm(centre[:, None] - other[None], axis=-1)
    distance /= np.maximum(side[:, None], other_side[None])
    # Pairs that are too far apart are all the same, and must not keep others from each other.
    cost = np.where(distance < max_distance, distance + 1.0 - iou(boxes, found), 1e3)
    rows, columns = _cheapest_pairs(cost)
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True)
            if distance[r, c] < max_distance]


def _cheapest_pairs(cost: Array) -> tuple[IndexArray, IndexArray]:
    """Return the rows and the columns of the assignment of lowest cost (N, M)."""
    for axis in (1, 0):
        cheapest = cost.argmin(axis=axis)
        if len(np.unique(cheapest)) == len(cheapest):
            order = np.arange(len(cheapest))
            return (order, cheapest) if axis == 1 else (cheapest, order)
    # Takes a while to load, and is needed only where heads compete.
    from scipy.optimize import linear_sum_assignment
    return linear_sum_assignment(cost)
