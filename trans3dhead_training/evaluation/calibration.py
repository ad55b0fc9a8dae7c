"""
Calibration of what a network says of its errors: landmark scales, pose covariance and score.

A network that predicts a Laplace scale b for a point states that the absolute error of a coordinate
is b on average, and at most −b ln(1 − p) with probability p. Only points whose labels have the same
definition are compared: all 68 of 3D labels, the inner 51 of 2D labels. Errors of the labels
themselves count as the network's.

The rotation by the error vector w (rad, about the fixed camera axes) turns the true head into the
one that was found; with probability p it lies inside the ellipsoid wᵀ C⁻¹ w ≤ χ²₃(p) of the pose
covariance. The score should be the probability that the landmarks are located.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.stats import chi2, spearmanr

from trans3dhead_ros.landmarks import COUNT, INNER
from trans3dhead_ros.types import Array, BoolArray
from trans3dhead_training.core import metrics
from trans3dhead_training.evaluation.face_result import FaceResult
from trans3dhead_training.evaluation.image_perturbations import face_outline
from trans3dhead_training.predictors import Alignment

COVERAGES = (0.50, 0.80, 0.95)
"""Nominal coverage of the intervals that are checked."""
BINS = 10
ELLIPSOID_COVERAGE = 0.95
"""Nominal coverage of the ellipsoid of the rotation."""
LOCATED_PERCENT = 10.0
"""Largest mean error of located landmarks, in % of √(w h) of the true box."""

WITHIN = 'within_95_percent'
_NOTHING = Alignment(np.full((COUNT, 2), np.nan))


@dataclass(frozen=True, eq=False)
class Calibration:
    """Predicted and actual errors of all coordinates, in % of √(w h) of the true box."""

    expected_percent: Array
    """(B,) mean predicted error in bins with equally many points, sorted by scale."""
    actual_percent: Array
    """(B,) mean actual error in the same bins."""
    rank_points: float
    """Spearman correlation of scale and error over points; nan where there are too few."""
    rank_faces: float
    """The same over the means of faces."""


def calibration_columns(results: Sequence[FaceResult]) -> dict[str, Array]:
    """
    Return the contribution of each face.

    :param results: of N faces.
    :return: (N,) by name: `coordinate_error_percent` and `coordinate_scale_percent` of the box,
        means over points and axes, and `within_50_percent` …, the share of coordinates inside the
        interval of that nominal coverage; nan where labels or scales are missing, empty if they
        always are. Also `rotation_within_95_percent`, 100 or 0, and `located_percent`, 100 or 0;
        and these, the score and the share of coordinates inside the 95 % interval for the views in
        `FaceResult.difficult`, as `blur.located_percent`.
    """
    columns = _scale_columns(results) | _outcome_columns(results)
    for view in dict.fromkeys(name for result in results for name in result.difficult):
        seen = [replace(result, prediction=result.difficult.get(view, _NOTHING))
                for result in results]
        scales, outcomes = _scale_columns(seen), _outcome_columns(seen)
        if WITHIN in scales:
            outcomes[WITHIN] = scales[WITHIN]
        outcomes['score'] = np.array([
            np.nan if result.prediction.score is None else result.prediction.score
            for result in seen])
        columns |= {f'{view}.{name}': values for name, values in outcomes.items()}
    return columns


def _outcome_columns(results: Sequence[FaceResult]) -> dict[str, Array]:
    """Return whether the rotation lies in its ellipsoid, and whether landmarks are located."""
    within, located = np.full((2, len(results)), np.nan)
    limit = chi2.ppf(ELLIPSOID_COVERAGE, 3)
    for i, result in enumerate(results):
        sample, prediction = result.sample, result.prediction
        if sample.rotation is not None and prediction.pose_covariance is not None:
            error = Rotation.from_matrix(prediction.pose_rotation @ sample.rotation.T).as_rotvec()
            squared = error @ np.linalg.solve(prediction.pose_covariance[3:, 3:], error)
            within[i] = 100.0 * (squared <= limit)
        if sample.points is not None and prediction.landmark_scale is not None:
            points = slice(None) if sample.points_are_3d else INNER
            distance = np.linalg.norm(
                (prediction.landmarks - sample.labelled_points)[points], axis=1)
            size = metrics.box_size(face_outline(sample))
            located[i] = 100.0 * (100 * np.nanmean(distance) / size < LOCATED_PERCENT)
    return {'rotation_within_95_percent': within, 'located_percent': located}


def _scale_columns(results: Sequence[FaceResult]) -> dict[str, Array]:
    """Return the errors of coordinates, their scales, and the shares inside the intervals."""
    error, scale = _coordinates(results)
    if np.isnan(error).all():
        return {}
    known = ~np.isnan(error).any(axis=2)
    columns = {'coordinate_error_percent': _face_mean(error.mean(axis=2), known),
               'coordinate_scale_percent': _face_mean(scale, known)}
    for coverage in COVERAGES:
        inside = (error <= -np.log(1 - coverage) * scale[..., None]).mean(axis=2)
        columns[f'within_{100 * coverage:.0f}_percent'] = _face_mean(100 * inside, known)
    return columns


def calibrate(results: Sequence[FaceResult]) -> Calibration | None:
    """Return the calibration over all points; None where labels or scales are missing."""
    error, scale = _coordinates(results)
    error = error.mean(axis=2)
    known = np.isfinite(error) & np.isfinite(scale)
    if known.sum() < BINS:
        return None
    face_error, face_scale = _face_mean(error, known), _face_mean(scale, known)
    faces = ~np.isnan(face_error)
    error, scale = error[known], scale[known]
    bins = np.array_split(np.argsort(scale, kind='stable'), BINS)
    return Calibration(
        expected_percent=np.array([scale[rows].mean() for rows in bins]),
        actual_percent=np.array([error[rows].mean() for rows in bins]),
        rank_points=_rank_correlation(scale, error),
        rank_faces=_rank_correlation(face_scale[faces], face_error[faces]))


def _coordinates(results: Sequence[FaceResult]) -> tuple[Array, Array]:
    """Return |error| (N, 68, 2) and scale (N, 68) in % of the box; nan where not comparable."""
    error, scale = np.full((len(results), COUNT, 2), np.nan), np.full((len(results), COUNT), np.nan)
    for i, result in enumerate(results):
        sample, prediction = result.sample, result.prediction
        if sample.points is None or prediction.landmark_scale is None:
            continue
        points = slice(None) if sample.points_are_3d else INNER
        size = metrics.box_size(face_outline(sample))
        true = sample.labelled_points
        error[i, points] = 100 * np.abs(prediction.landmarks - true)[points] / size
        scale[i, points] = 100 * prediction.landmark_scale[points] / size
    return error, scale


def _face_mean(values: Array, known: BoolArray) -> Array:
    """Return the mean (N,) of the known values (N, P); nan for a face without any."""
    count = known.sum(axis=1)
    return np.divide(np.where(known, values, 0.0).sum(axis=1), count,
                     out=np.full(len(values), np.nan), where=count > 0)


def _rank_correlation(first: Array, second: Array) -> float:
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float('nan')
    return float(spearmanr(first, second).statistic)
