"""Which heads of a recording are worth learning from: new, diverse, and not yet sure."""

from __future__ import annotations

from collections import defaultdict

import cv2
import numpy as np

from trans3dhead_ros.boxes import iou
from trans3dhead_ros.geometry import euler_from_rotation, geodesic_distance_deg
from trans3dhead_ros.landmarks import INNER
from trans3dhead_ros.types import Array, Float32Array, Image, IndexArray
from trans3dhead_training.update.collected_heads import CollectedHeads, TrackedHeads

# From which on a head is not a near-duplicate of the one that was kept before.
_NEW_TURN_DEG, _NEW_POINTS, _NEW_CORRELATION = 7.0, 0.025, 0.85
_THUMBNAIL_PX = 12
# What makes a head worth one more: spread of the views, jump between frames, doubt of the score.
_SPREAD_UNIT, _JUMP_UNIT = 0.015, 0.02
_NEIGHBOUR_S = 0.25
_YAW_BINS = np.array([-60.0, -35.0, -12.0, 12.0, 35.0, 60.0])
_PITCH_BINS = np.array([-25.0, -8.0, 8.0, 25.0])
_LINK_S, _LINK_IOU = 3.0, 0.2


class NoveltyFilter:
    """Tells heads of one track that differ from the one kept before."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Array, Array, Float32Array]] = {}

    def is_new(self, track: int, rotation: Array, points: Array, crop: Image) -> bool:
        """
        Compare a head with the last one of its track for which this was true.

        :param track: identity of the head.
        :param rotation: (3, 3).
        :param points: (68, 2) px.
        :param crop: (S, S, 3) BGR.
        :return: whether pose, expression or appearance have changed.
        """
        face, look = _normalised(points), _thumbnail(crop)
        if track in self._kept:
            turn, before, seen = self._kept[track]
            moved = np.linalg.norm((face - before)[INNER], axis=-1).mean()
            if (geodesic_distance_deg(rotation, turn) < _NEW_TURN_DEG and moved < _NEW_POINTS
                    and float(look @ seen) > _NEW_CORRELATION):
                return False
        self._kept[track] = rotation, face, look
        return True


def choose_heads(heads: CollectedHeads, jumps: Array, count: int) -> IndexArray:
    """
    Choose heads of many poses and people, those first that the model is least sure of.

    :param heads: to choose from.
    :param jumps: (N,) see `time_jumps`.
    :param count: how many, at most.
    :return: rows, in order.
    """
    if len(heads) <= count:
        return np.arange(len(heads))
    value = (heads.spread / _SPREAD_UNIT + jumps / _JUMP_UNIT + (1.0 - heads.score))
    yaw, pitch, _ = euler_from_rotation(heads.rotation).T
    cells: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    for row in np.argsort(-value):
        cells[int(np.digitize(yaw[row], _YAW_BINS)), int(np.digitize(pitch[row], _PITCH_BINS)),
              int(heads.person[row])].append(int(row))
    # Poses in turn, and within a pose the people in turn.
    poses: dict[tuple[int, int], list[list[int]]] = defaultdict(list)
    for (turn, nod, _), rows in cells.items():
        poses[turn, nod].append(rows)
    queues = [[row for _, _, row in sorted(
        (place, number, row) for number, rows in enumerate(people)
        for place, row in enumerate(rows))] for people in poses.values()]
    turns = sorted((place, number, row) for number, queue in enumerate(queues)
                   for place, row in enumerate(queue))
    return np.sort([row for _, _, row in turns[:count]])


def time_jumps(heads: CollectedHeads, tracked: TrackedHeads) -> Array:
    """
    Return by how much each head is off the line between the frames around it.

    :param heads: N heads.
    :param tracked: what was tracked in all frames.
    :return: (N,) mean distance of the points, over the size of the box; 0 where no frames are near.
    """
    names, result = tracked.track_names, np.zeros(len(heads))
    rows_of = _rows_by_name(names)
    by_key = {(int(tracked.recording[rows[0]]), int(tracked.piece[rows[0]]),
               int(tracked.track[rows[0]])): rows for rows in rows_of}
    for row in range(len(heads)):
        rows = by_key[int(heads.recording[row]), int(heads.piece[row]), int(heads.track[row])]
        stamps, at = tracked.stamp[rows], float(heads.stamp[row])
        place = int(np.searchsorted(stamps, at))
        if not 0 < place < len(rows) - 1:
            continue
        before, after = stamps[place - 1], stamps[place + 1]
        if after - before > 2 * _NEIGHBOUR_S or after <= before:
            continue
        part = (at - before) / (after - before)
        points = tracked.points[rows[[place - 1, place, place + 1]]]
        line = (1 - part) * points[0] + part * points[2]
        size = np.sqrt(np.prod(np.ptp(points[1], axis=0)))
        result[row] = np.linalg.norm(points[1] - line, axis=-1).mean() / max(size, 1e-9)
    return result


def people_of(tracked: TrackedHeads) -> IndexArray:
    """
    Join tracks that continue one another: one begins soon after another ended, at the same place.

    :param tracked: M heads.
    :return: (M,) number of the person.
    """
    names, boxes = tracked.track_names, tracked.boxes
    rows_of = sorted(_rows_by_name(names), key=lambda rows: (
        int(tracked.recording[rows[0]]), float(tracked.stamp[rows[0]])))
    person = np.arange(len(rows_of))
    for number, rows in enumerate(rows_of):
        first = rows[0]
        for other in range(number - 1, -1, -1):
            last = rows_of[other][-1]
            if tracked.recording[last] != tracked.recording[first]:
                break
            gap = float(tracked.stamp[first] - tracked.stamp[last])
            if 0 < gap < _LINK_S and iou(
                    boxes[first][None], boxes[last][None])[0, 0] > _LINK_IOU:
                person[number] = person[other]
                break
    result = np.zeros(len(tracked), int)
    for number, rows in enumerate(rows_of):
        result[rows] = person[number]
    return result


def _rows_by_name(names: IndexArray) -> list[IndexArray]:
    order = np.argsort(names, kind='stable')
    return np.split(order, np.flatnonzero(np.diff(names[order])) + 1) if len(names) else []


def _normalised(points: Array) -> Array:
    centre = points.mean(0)
    return (points - centre) / max(float(np.sqrt(np.prod(np.ptp(points, axis=0)))), 1e-9)


def _thumbnail(crop: Image) -> Float32Array:
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (_THUMBNAIL_PX, _THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    small = small.astype(np.float32).ravel() - float(small.mean())
    return small / max(float(np.linalg.norm(small)), 1e-6)
