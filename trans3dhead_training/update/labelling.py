"""The stage `label`: points of the collected heads, from the present model and from the user."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from trans3dhead_ros.atomic_files import write_bytes
from trans3dhead_ros.camera import Camera
from trans3dhead_ros.landmarks import COUNT
from trans3dhead_ros.media.sources import read_picture
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.perception.crop import (
    crop_square,
    crop_window,
    to_crop_units,
)
from trans3dhead_ros.types import Array, BoolArray, IndexArray
from trans3dhead_training.data.head_dataset import SamplingConfig
from trans3dhead_training.data.labels import FaceRecord, read_labels
from trans3dhead_training.preparation.picture_bytes import encode_jpeg
from trans3dhead_training.update.collected_heads import CollectedHeads, Table, TrackedHeads
from trans3dhead_training.update.collection import CROP_SCALE, MAX_CROP_PX, read_cameras
from trans3dhead_training.update.head_views import MANY_VIEWS, ViewAverage, average_views
from trans3dhead_training.update.update_run import UpdateRun

MAX_SPREAD, MAX_TURN_DEG, MIN_SCORE = 0.045, 12.0, 0.3
"""Beyond which the views of a head disagree, and below which there may be no head."""
MODEL_TRUST = 0.6
"""Weight of the model's own points where all views agree; the user's have 1."""
MIN_TRUST = 0.1

_NEIGHBOURS_S, _LEAST_NEIGHBOURS = 0.35, 4
# The views of a head err alike, so that their mean is no better than half of one.
_VIEW_FACTOR = 0.5


@dataclass(frozen=True, eq=False)
class LabelledHeads(Table):
    """The labels of N crops."""

    name: NDArray[np.str_]
    """(N,) file name of the crop."""
    person: IndexArray
    """(N,) number of the person."""
    stamp: Array
    """(N,) s."""
    points: Array
    """(N, 68, 2) px of the crop, jaw on the visible contour; nan where the user gave none."""
    rotation: Array
    """(N, 3, 3) head → camera optical frame, as the crop shows it; nan without the model's."""
    trust: Array
    """(N,) weight of the points, 0..1."""
    spread: Array
    """(N,) how far the views differ, over the size of the box."""
    by_hand: BoolArray
    """(N,) whether the user labelled the head."""
    reason: NDArray[np.str_]
    """(N,) why a head is left out; '' where it is not."""
    rays: Array
    """(N, 68, 2) of `points`, x / z and y / z in the camera's frame; nan where the camera is not
    known, and for points of the user's."""


def label(run: UpdateRun, aligner: HeadAligner, folder: Path | None) -> LabelledHeads:
    """
    Label the collected heads, and write the labels.

    :param run: with collected heads.
    :param aligner: the present model.
    :param folder: of the user's labels, with `labels.csv`; None: there are none.
    :return: the labels.
    :raises UserError: the user's labels or a crop cannot be read.
    """
    heads, tracked = CollectedHeads.load(run.heads), TrackedHeads.load(run.tracked)
    given = {} if folder is None else {
        record.path.name: record for record in read_labels(folder, partial=True)
        if record.points is not None}
    cameras = read_cameras(run)
    rows = []
    for row in tqdm(range(len(heads)), desc='label', unit='head', disable=None):
        name = str(heads.name[row])
        image = read_picture(run.crops / name)
        average = average_views(aligner, image, heads.to_crop(row, heads.points[row]),
                                heads.rotation[row], MANY_VIEWS)
        points = _smoothed(heads, tracked, row, average)
        rays = _rays(heads, row, points, cameras[int(heads.recording[row])])
        labelled = _row(name, int(heads.person[row]), float(heads.stamp[row]), points, average,
                        rays)
        if name in given:
            labelled = _by_hand(labelled, given.pop(name).points)
        rows.append(labelled)
    first = int(heads.person.max()) + 1
    photos = sorted({record.photo for record in given.values()})
    for record in given.values():
        rows.append(_added(run, record, first + photos.index(record.photo)))
    labels = LabelledHeads.join(rows)
    labels.save(run.labels)
    return labels


def _row(
    name: str, person: int, stamp: float, points: Array, average: ViewAverage, rays: Array,
) -> LabelledHeads:
    tests = (('no head', average.score < MIN_SCORE),
             ('views disagree', average.spread > MAX_SPREAD),
             ('views disagree about the pose', average.rotation_spread_deg > MAX_TURN_DEG))
    reason = next((reason for reason, failed in tests if failed), '')
    trust = MODEL_TRUST * max(1.0 - average.spread / MAX_SPREAD, MIN_TRUST)
    return LabelledHeads(
        np.array([name]), np.array([person]), np.array([stamp]), points[None],
        average.rotation[None], np.array([trust]), np.array([average.spread]),
        np.array([False]), np.array([reason], dtype='<U32'), rays[None])


def _rays(heads: CollectedHeads, row: int, points: Array, camera: Camera | None) -> Array:
    """Return the viewing rays (68, 2) of points (68, 2) px of a crop; nan without a camera."""
    if camera is None or tuple(heads.frame_size[row].tolist()) != camera.size:
        return np.full((len(points), 2), np.nan)
    return camera.rays(heads.to_frame(row, points))


def _by_hand(row: LabelledHeads, points: Array) -> LabelledHeads:
    return replace(row, points=_as_learnt(points)[None], trust=np.array([1.0]),
                   by_hand=np.array([True]), reason=np.array([''], dtype='<U32'),
                   rays=np.full((1, COUNT, 2), np.nan))


def _as_learnt(points: Array) -> Array:
    """Return points where the network puts them: to the right of and below what they mark."""
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    return points + SamplingConfig().label_offset * float((high - low).max())


def _added(run: UpdateRun, record: FaceRecord, person: int) -> LabelledHeads:
    """Cut out a head that the user labelled in a picture of their own."""
    low, high = np.nanmin(record.points, axis=0), np.nanmax(record.points, axis=0)
    centre, side = crop_window(np.concatenate([low, high]), CROP_SCALE)
    size = int(np.clip(round(side), 48, MAX_CROP_PX))
    name = f'own_{record.file.replace("/", "_")}'
    write_bytes(run.crops / f'{name}.jpg', encode_jpeg(
        crop_square(read_picture(record.path), centre, side, size)))
    points = (to_crop_units(record.points, centre, side) + 1.0) * size / 2 - 0.5
    return LabelledHeads(
        np.array([f'{name}.jpg']), np.array([person]), np.array([0.0]), _as_learnt(points)[None],
        np.full((1, 3, 3), np.nan), np.array([1.0]), np.array([0.0]), np.array([True]),
        np.array([''], dtype='<U32'), np.full((1, COUNT, 2), np.nan))


def _smoothed(
    heads: CollectedHeads, tracked: TrackedHeads, row: int, average: ViewAverage,
) -> Array:
    """
    Return the mean of a head's views and of the line through the frames around it.

    Each is weighted by the inverse of its variance, so a head that moves unevenly, or that was seen
    too seldom, keeps the mean of its views.

    :param heads: the collected heads.
    :param tracked: what was tracked in all frames.
    :param row: of the head.
    :param average: of its views.
    :return: (68, 2) px of the crop.
    """
    near = ((tracked.recording == heads.recording[row]) & (tracked.piece == heads.piece[row])
            & (tracked.track == heads.track[row])
            & (np.abs(tracked.stamp - heads.stamp[row]) < _NEIGHBOURS_S))
    time = tracked.stamp[near] - heads.stamp[row]
    if len(time) < _LEAST_NEIGHBOURS or np.ptp(time) <= 0:
        return average.points
    points = heads.to_crop(row, tracked.points[near].astype(float)).reshape(len(time), -1)
    design = np.column_stack([np.ones_like(time), time])
    line, *_ = np.linalg.lstsq(design, points, rcond=None)
    rest = points - design @ line
    # The variance of the line where it is evaluated, at time 0.
    share = float(np.linalg.inv(design.T @ design)[0, 0])
    of_line = share * float((rest ** 2).sum()) / max(len(time) - 2, 1) / 68
    size = float(np.sqrt(np.prod(np.ptp(average.points, axis=0))))
    of_views = _VIEW_FACTOR * (average.spread * size) ** 2
    weight = of_views / max(of_views + of_line, 1e-12)
    return (1 - weight) * average.points + weight * line[0].reshape(-1, 2)
