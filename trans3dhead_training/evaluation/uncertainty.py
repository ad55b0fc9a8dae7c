"""
Does the predicted scale of a landmark predict its error?

A network that gives every point a Laplace scale b says: the absolute error of a coordinate is b on
average, and stays within −b ln(1 − p) with probability p. Compared are the points whose labels mean
what the scale is about: all 68 of 3D labels, the inner 51 of 2D ones. Labels have errors of their
own, which count here as the network's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from trans3dhead_ros.landmarks import COUNT, INNER
from trans3dhead_training.core import metrics
from trans3dhead_training.evaluation.predictions import Answer

Array = NDArray[np.float64]

SHARES = (0.50, 0.80, 0.95)
BINS = 10


@dataclass(frozen=True, eq=False)
class Calibration:
    """
    Predicted and actual errors of the coordinates of all points, in % of √(w h) of the true box.

    :ivar expected_percent, actual_percent: (B,) means in bins with equally many points, by scale.
    :ivar rank_points, rank_faces: Spearman's correlation of scale and error, of points and of
        means over faces; nan where there are too few.
    """

    expected_percent: Array
    actual_percent: Array
    rank_points: float
    rank_faces: float


def calibration_columns(answers: Sequence[Answer]) -> dict[str, Array]:
    """
    Return what each face contributes, (N,); nan where labels or scales are missing.

    `coordinate_error_percent` and `coordinate_scale_percent` of the box, means over points and
    axes, and `within_50_percent` …: the share of coordinates in the interval of that probability.
    """
    error, scale = _coordinates(answers)
    if np.isnan(error).all():
        return {}
    known = ~np.isnan(error).any(axis=2)
    columns = {'coordinate_error_percent': _face_mean(error.mean(axis=2), known),
               'coordinate_scale_percent': _face_mean(scale, known)}
    for share in SHARES:
        inside = (error <= -np.log(1 - share) * scale[..., None]).mean(axis=2)
        columns[f'within_{100 * share:.0f}_percent'] = _face_mean(100 * inside, known)
    return columns


def calibrate(answers: Sequence[Answer]) -> Calibration | None:
    """Return the calibration over all points; None where labels or scales are missing."""
    error, scale = _coordinates(answers)
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


def _coordinates(answers: Sequence[Answer]) -> tuple[Array, Array]:
    """Return |error| (N, 68, 2) and scale (N, 68) in % of the box; nan where not comparable."""
    error, scale = np.full((len(answers), COUNT, 2), np.nan), np.full((len(answers), COUNT), np.nan)
    for i, answer in enumerate(answers):
        sample, plain = answer.sample, answer.plain
        if sample.points is None or plain.landmark_scale is None:
            continue
        points = slice(None) if sample.points_are_3d else INNER
        size = metrics.box_size(sample.points)
        error[i, points] = 100 * np.abs(plain.landmarks - sample.points)[points] / size
        scale[i, points] = 100 * plain.landmark_scale[points] / size
    return error, scale


def _face_mean(values: Array, known: NDArray[np.bool_]) -> Array:
    """Return the mean (N,) of the known values (N, P); nan for a face without any."""
    count = known.sum(axis=1)
    return np.divide(np.where(known, values, 0.0).sum(axis=1), count,
                     out=np.full(len(values), np.nan), where=count > 0)


def _rank_correlation(first: Array, second: Array) -> float:
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float('nan')
    return float(spearmanr(first, second).statistic)
