"""
Fits of profiles: photographs of which only the visible half of the face is labelled.

The hidden half follows from the head model's priors and its symmetry. How far a half face is turned
follows from its points and, with less weight, from a teacher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch

from trans3dhead_ros.geometry import geodesic_distance_deg, mirrored
from trans3dhead_ros.landmarks import INNER, JAW, MIRROR_68
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_ros.types import Array, BoolArray
from trans3dhead_training.data.labels import FaceRecord
from trans3dhead_training.fitting.fit import Fit, fit_landmarks
from trans3dhead_training.fitting.fit_quality import Limits, rejection_reasons
from trans3dhead_training.fitting.fit_solver import FitConfig
from trans3dhead_training.fitting.label_convention import LabelConvention
from trans3dhead_training.fitting.source_conventions import (
    HAND,
    convention_arrays,
    convert_points,
    measure_spread,
)
from trans3dhead_training.fitting.teachers import TeacherPredictions, query_teachers

HALF_FACE = FitConfig(symmetry_sigma=0.3, distance_m=1.5, distance_sigma=0.25, off_axis_sigma=0.03,
                      prior_rotation_sigma_deg=7.0)
"""Portrait lenses and symmetric heads, neither of which 30 points determine."""

# A displacement and a lean towards the camera look alike in half a face: measured without a prior,
# heads lean by 9 degrees more than the teacher predicts, and with a strict prior by as much less.
_MEASUREMENT = replace(HALF_FACE, prior_rotation_sigma_deg=3.0)
_FIRST_PASS = replace(HALF_FACE, iterations=8)
_MAX_HAND_YAW_SINE = 0.6
"""The convention of hand labels is measured on faces up to about 40 degrees of yaw."""
_LIMITS = Limits(residual=0.021)
_MAX_TEACHER_ROTATION_DEG = 20.0
_MAX_TEACHER_DISTANCE = 0.075


def fit_profiles(
    records: Sequence[FaceRecord], model: HeadModule, hand: LabelConvention, baselines: Path,
) -> dict[str, np.ndarray]:
    """
    Fit half-labelled photographs and their mirror images.

    :param records: N records of `read_profiles`.
    :param model: the head model.
    :param hand: convention of faces that are labelled by hand on both sides (`HAND`).
    :param baselines: folder of the teachers.
    :return: arrays as those of `fit_records`; `labelled` (N, 68), which of `common_points` are
        labels, the others being those of the fit, in the convention of hand labels;
        `teacher_turn_deg` and `teacher_distance` (N,), how far a fit without the teacher's prior is
        from the teacher, and the labels from its points.
    """
    hand = replace(hand, max_yaw_sine=_MAX_HAND_YAW_SINE)
    points = np.stack([record.points for record in records])
    # All as if labelled on the same side.
    flipped = np.isnan(points[:, 0, 0])
    half = _mirrored_where(points, flipped)
    first = _fit(model, half, hand, _FIRST_PASS)
    guess = _mirrored_where(convert_points(model, half, first, hand, hand), flipped)
    teachers = query_teachers([record.path for record in records],
                              np.stack([landmark_box(face) for face in guess]), baselines)
    teachers = TeacherPredictions(
        teachers.frontal, _mirrored_where(teachers.profile, flipped),
        np.where(flipped[:, None, None], mirrored(teachers.rotation), teachers.rotation))
    return _fit_halves(records, model, half, flipped, hand, teachers)


def _fit_halves(
    records: Sequence[FaceRecord], model: HeadModule, half: Array, flipped: BoolArray,
    hand: LabelConvention, teachers: TeacherPredictions,
) -> dict[str, np.ndarray]:
    train = np.array([not record.is_validation for record in records])
    own = measure_spread(model, half[train], teachers.rotation[train], _MEASUREMENT)
    fit = _fit(model, half, own, HALF_FACE, teachers.rotation)
    mirror_fit = _fit(model, _mirror(half), own, HALF_FACE, mirrored(teachers.rotation))
    common = np.where(np.isfinite(half), half, convert_points(model, half, fit, own, hand))
    without_prior = _fit(model, half, own, HALF_FACE)
    turn = geodesic_distance_deg(without_prior.rotation.double().numpy(), teachers.rotation)
    distance = labelled_distance(half, common, teachers.profile)
    why = rejection_reasons(fit, common, limits=_LIMITS)
    why = np.where(why == '', rejection_reasons(mirror_fit, common, limits=_LIMITS), why)
    for failed, name in (
            (turn > _MAX_TEACHER_ROTATION_DEG, 'teacher predicts another pose'),
            (distance > _MAX_TEACHER_DISTANCE, 'teacher predicts other points')):
        why = np.where((why == '') & failed, name, why)
    result = {'files': np.array([record.file for record in records]),
              'offsets': hand.inner[0].numpy(),
              **convention_arrays({HAND: hand, 'profiles': own}),
              'teacher_turn_deg': turn.astype(np.float32),
              'teacher_distance': distance.astype(np.float32)}
    # Index 1 is the fit of the mirror image of the photograph, whichever side is labelled.
    for field in fields(Fit):
        pair = np.stack([getattr(each, field.name).numpy() for each in (fit, mirror_fit)], 1)
        pair[flipped] = pair[flipped][:, ::-1]
        result[field.name] = pair
    rotation = torch.from_numpy(result['rotation']).flatten(0, 1)
    result['common_points'] = _mirrored_where(common, flipped)
    labelled = np.isfinite(_mirrored_where(half, flipped)).all(-1)
    result['labelled'] = labelled
    labelled = np.stack([labelled, labelled[:, MIRROR_68]], 1)[..., None]
    for name, displaced, rows in (('displacement', LabelConvention.inner_at, INNER),
                                  ('jaw_displacement', LabelConvention.jaw_at, JAW)):
        of_labels, of_others = (displaced(each, rotation).unflatten(0, (-1, 2)).numpy()
                                for each in (own, hand))
        result[name] = np.where(labelled[:, :, rows], of_labels, of_others)
    result['reason'] = np.repeat(why[:, None], 2, axis=1)
    result['accepted'] = result['reason'] == ''
    return result


def labelled_distance(half: Array, common: Array, teacher: Array) -> Array:
    """
    Return the distance of labelled inner points from a teacher's, over sqrt(w h) of the box.

    :param half: (N, 68, 2) px, nan where a point is not labelled.
    :param common: (N, 68, 2) px, the completed points.
    :param teacher: (N, 68, 2) px.
    :return: (N,).
    """
    box = np.sqrt(np.ptp(common, axis=1).prod(axis=1))
    labelled = np.isfinite(half).all(-1)
    distance = np.where(labelled, np.linalg.norm(common - teacher, axis=-1), np.nan)
    return np.nanmean(distance[:, INNER], axis=1) / box


def _fit(
    model: HeadModule, points: Array, convention: LabelConvention, config: FitConfig,
    prior_rotation: Array | None = None,
) -> Fit:
    prior = None if prior_rotation is None else torch.from_numpy(prior_rotation).float()
    return fit_landmarks(model, torch.from_numpy(points).float(), config, convention,
                         prior_rotation=prior)


def _mirror(points: Array) -> Array:
    return points[:, MIRROR_68] * [-1.0, 1.0]


def _mirrored_where(points: Array, flipped: BoolArray) -> Array:
    return np.where(flipped[:, None, None], _mirror(points), points)
