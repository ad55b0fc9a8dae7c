"""Fits of unlabelled portraits: detected, labelled by a teacher and fitted like labelled ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.sources import read_picture
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_ros.perception.detector import YuNetDetector
from trans3dhead_ros.types import Array
from trans3dhead_training.data.labels import FaceRecord
from trans3dhead_training.fitting.fit import Fit, fit_landmarks, measure_displacements
from trans3dhead_training.fitting.fit_quality import Limits, rejection_reasons
from trans3dhead_training.fitting.jaw_contour import jaw_displacement
from trans3dhead_training.fitting.teachers import TeacherPredictions, query_teachers

MIN_SCORE = 0.7
"""Of a detection."""
NOT_FOUND = 'no face found'
LIMITS = Limits(residual=0.015)
"""The teacher's points are smooth, so that its errors contribute less to the residual."""


def find_faces(pictures: Sequence[Path], detector: YuNetDetector) -> Array:
    """Return the landmark box (N, 4) px of the largest face of each picture; NaN where none is."""
    boxes = np.full((len(pictures), 4), np.nan)
    for row, path in enumerate(tqdm(pictures, desc='detect', unit='picture', disable=None)):
        found, scores = detector.detect(read_picture(path))
        found = found[scores >= MIN_SCORE]
        if len(found):
            boxes[row] = found[np.argmax(found[:, 2] - found[:, 0])]
    return boxes


def fit_portraits(
    records: Sequence[FaceRecord], model: HeadModule, baselines: Path,
    teacher_points: Array | None,
) -> dict[str, np.ndarray]:
    """
    Fit unlabelled pictures to a teacher's points.

    :param records: N unlabelled pictures.
    :param model: the head model.
    :param baselines: folder of the teachers and of the detector.
    :param teacher_points: (M, 68, 2) px, the teacher's points on some hundred labelled faces with
        varied expressions, on which its displacements are measured; None: on these pictures.
    :return: `files` (N,), `points` (N, 68, 2) px, `accepted` (N,), `reason` (N,), `offsets` (51, 3)
        of the teacher's points, `jaw_displacement` (N, 17, 3) m of its jaw from the visible
        contour, and the fields of `Fit` (N, ...); NaN where no face was found.
    """
    pictures = [record.path for record in records]
    boxes = find_faces(pictures, YuNetDetector(baselines / 'yunet' / 'yunet_n_640_640.onnx'))
    found = np.flatnonzero(np.isfinite(boxes[:, 0]))
    if len(found) == 0:
        raise UserError(f'portraits: no face found in any of {len(records)} pictures')
    first = query_teachers([pictures[row] for row in found], boxes[found], baselines)
    # A detector's box is inaccurate; 3DDFA_V2 needs the box of the points.
    tight = np.stack([landmark_box(points) for points in first.frontal])
    second = query_teachers([pictures[row] for row in found], tight, baselines)
    points = second.frontal
    measured = points if teacher_points is None else teacher_points
    offsets, jaw_offsets = measure_displacements(model, torch.from_numpy(measured).float())
    fit = fit_landmarks(model, torch.from_numpy(points).float(), offsets=offsets,
                        jaw_offsets=jaw_offsets)
    # The points are MediaPipe's own, so they are compared with 3DDFA_V2 at every yaw.
    other = TeacherPredictions(second.profile, second.profile, second.rotation)
    why = rejection_reasons(fit, points, other, LIMITS)
    result = {'files': np.array([record.file for record in records]),
              'points': _scattered(points, found, len(records)), 'offsets': offsets.numpy(),
              'reason': np.full(len(records), NOT_FOUND, dtype='<U32')}
    result['reason'][found] = why
    result['accepted'] = result['reason'] == ''
    result['jaw_displacement'] = _scattered(
        jaw_displacement(jaw_offsets, fit.rotation).numpy(), found, len(records))
    for field in fields(Fit):
        result[field.name] = _scattered(getattr(fit, field.name).numpy(), found, len(records))
    return result


def _scattered(values: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    full = np.full((count, *values.shape[1:]), np.nan, dtype=values.dtype)
    full[rows] = values
    return full
