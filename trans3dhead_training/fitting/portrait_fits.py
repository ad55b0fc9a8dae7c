"""Fits of unlabelled portraits: detected, labelled by a teacher and fitted like labelled ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.picture_format import file_format
from trans3dhead_ros.media.sources import read_picture
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_ros.perception.detector import YuNetDetector
from trans3dhead_ros.types import Array
from trans3dhead_training.data.labels import FaceRecord, is_held_out, portrait_group
from trans3dhead_training.fitting.fit import Fit, fit_landmarks
from trans3dhead_training.fitting.fit_quality import Limits, rejection_reasons
from trans3dhead_training.fitting.source_conventions import measure_spread
from trans3dhead_training.fitting.teachers import TeacherPredictions, query_teachers

MIN_SCORE = 0.7
"""Of a detection."""
NOT_FOUND = 'no face found'
LIMITS = Limits(residual=0.015)
"""The teacher's points are smooth, so that its errors contribute less to the residual."""


def read_unlabelled(folder: Path) -> list[FaceRecord]:
    """
    Read the pictures of a folder and of those below it, of which a tenth is held out by its name.

    :param folder: of pictures; its name is their source.
    :return: records without points.
    :raises UserError: there is no picture.
    """
    records = []
    for path in sorted(folder.rglob('*')):
        if path.is_file() and file_format(path):
            file = path.relative_to(folder.parent).as_posix()
            group = portrait_group(file)
            records.append(FaceRecord(path, file, folder.name, 'train', group, None,
                                      is_held_out(group)))
    if not records:
        raise UserError(f'{folder}: no pictures in this folder')
    return records


def find_faces(pictures: Sequence[Path], detector: YuNetDetector) -> Array:
    """Return the landmark box (N, 4) px of the largest face of each picture; NaN where none is."""
    boxes = np.full((len(pictures), 4), np.nan)
    for row, path in enumerate(tqdm(pictures, desc='detect', unit='picture', disable=None)):
        faces = detector.detect(read_picture(path))
        found = faces.landmark_box[faces.score >= MIN_SCORE]
        if len(found):
            boxes[row] = found[np.argmax(found[:, 2] - found[:, 0])]
    return boxes


def fit_portraits(
    records: Sequence[FaceRecord], model: HeadModule, baselines: Path,
    teacher_points: Array | None, teacher_rotations: Array | None = None,
) -> dict[str, np.ndarray]:
    """
    Fit unlabelled pictures to a teacher's points.

    :param records: N unlabelled pictures.
    :param model: the head model.
    :param baselines: folder of the teachers and of the detector.
    :param teacher_points: (M, 68, 2) px, the teacher's points on some hundred labelled faces with
        varied expressions, on which its convention is measured; None: on these pictures.
    :param teacher_rotations: (M, 3, 3) of 3DDFA_V2 on these faces.
    :return: `files` (N,), `points` (N, 68, 2) px, `accepted` (N,), `reason` (N,), `offsets` (51, 3)
        of the teacher's points in a frontal face, `displacement` (N, 51, 3) m of the points at the
        pose of each face, `jaw_displacement` (N, 17, 3) m of its jaw from the visible contour, and
        the fields of `Fit` (N, ...); NaN where no face was found.
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
    if teacher_points is None:
        teacher_points, teacher_rotations = points, second.rotation
    convention = measure_spread(model, teacher_points, teacher_rotations)
    fit = fit_landmarks(model, torch.from_numpy(points).float(), convention=convention)
    # The points are MediaPipe's own, so they are compared with 3DDFA_V2 at every yaw.
    other = TeacherPredictions(second.profile, second.profile, second.rotation)
    why = rejection_reasons(fit, points, other, LIMITS)
    result = {'files': np.array([record.file for record in records]),
              'points': _scattered(points, found, len(records)),
              'offsets': convention.inner[0].numpy(),
              'reason': np.full(len(records), NOT_FOUND, dtype='<U32')}
    result['reason'][found] = why
    result['accepted'] = result['reason'] == ''
    for name, values in (('displacement', convention.inner_at(fit.rotation)),
                         ('jaw_displacement', convention.jaw_at(fit.rotation))):
        result[name] = _scattered(values.numpy(), found, len(records))
    for field in fields(Fit):
        result[field.name] = _scattered(getattr(fit, field.name).numpy(), found, len(records))
    return result


def _scattered(values: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    full = np.full((count, *values.shape[1:]), np.nan, dtype=values.dtype)
    full[rows] = values
    return full
