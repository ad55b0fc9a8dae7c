"""
Metrics of landmarks and poses: pure functions on NumPy arrays.

Landmark errors are fractions of a size of the true face, not percent. Angles are degrees in the
convention of `geometry`. The caller chooses which points and which normaliser a dataset is scored
by.
"""

import numpy as np
from scipy.stats import rankdata

from trans3dhead_ros.geometry import geodesic_distance_deg, mirrored, turned_in_image
from trans3dhead_ros.landmarks import INNER, LEFT_EYE_OUTER, RIGHT_EYE_OUTER
from trans3dhead_ros.types import Array, BoolArray

FAILURE_THRESHOLD = 0.08
"""A face with a larger mean error is a failure; also the end of the cumulative error curve."""

POSE_LIMIT_DEG = 99.0
"""Samples with a larger angle are left out of pose errors, as is customary on AFLW2000-3D."""

YAW_BINS = {'0-30': (0.0, 30.0), '30-60': (30.0, 60.0), '60-90': (60.0, 90.0)}


def box_size(points: Array) -> Array:
    """Return √(w·h) px of the tight box of true points (..., P, 2)."""
    extent = np.ptp(points[..., :2], axis=-2)
    return np.sqrt(extent[..., 0] * extent[..., 1])


def interocular_distance(points: Array) -> Array:
    """Return the distance px of the outer eye corners of true points (..., 68, 2)."""
    return np.linalg.norm(
        points[..., LEFT_EYE_OUTER, :2] - points[..., RIGHT_EYE_OUTER, :2], axis=-1)


def mean_point_error(predicted: Array, true: Array) -> Array:
    """
    Return the mean 2D distance.

    :param predicted: (..., P, 2 or 3) px.
    :param true: (..., P, 2 or 3) px.
    :return: (...) px.
    :raises ValueError: when the two have different numbers of points.
    """
    if predicted.shape[:-1] != true.shape[:-1]:
        raise ValueError(
            f'predicted: expected {true.shape[:-1]} points, got {predicted.shape[:-1]}')
    return np.linalg.norm(predicted[..., :2] - true[..., :2], axis=-1).mean(axis=-1)


def nme_68(predicted: Array, true: Array) -> Array:
    """Return the error of all points (..., 68, 2) over √(w·h) of the true box."""
    return mean_point_error(predicted, true) / box_size(true)


def nme_labelled(predicted: Array, true: Array) -> Array:
    """
    Return the error of the labelled points of each face over √(w·h) of their own box.

    :param predicted: (N, P, 2) px.
    :param true: (N, P, 2) px, nan where a point is not labelled.
    :return: (N,).
    """
    distance = np.linalg.norm(predicted - true, axis=-1)
    extent = np.nanmax(true, axis=1) - np.nanmin(true, axis=1)
    return np.nanmean(distance, axis=1) / np.sqrt(extent.prod(axis=1))


def nme_inner(predicted: Array, true: Array) -> Array:
    """Return the error of points 17…67 over √(w·h) of the true box of all 68."""
    return mean_point_error(predicted[..., INNER, :], true[..., INNER, :]) / box_size(true)


def nme_inner_interocular(predicted: Array, true: Array) -> Array:
    """Return the error of points 17…67 over the distance of the true outer eye corners."""
    return (mean_point_error(predicted[..., INNER, :], true[..., INNER, :])
            / interocular_distance(true))


def inner_offset(predicted: Array, true: Array) -> Array:
    """Return the mean signed offset x, y (..., 2) of points 17…67 over √(w·h) of the true box."""
    difference = (predicted[..., INNER, :2] - true[..., INNER, :2]).mean(axis=-2)
    return difference / box_size(true)[..., None]


def roc_auc(scores: Array, positive: BoolArray) -> float:
    """
    Return the area under the ROC curve: how probably a positive scores above a negative.

    :param scores: (N,), nan counting as the lowest score; ties count half.
    :param positive: (N,).
    :return: 0..1.
    :raises ValueError: when one of the two kinds is missing.
    """
    scores = np.where(np.isnan(scores), -np.inf, scores)
    positive = np.asarray(positive, dtype=bool)
    if positive.all() or not positive.any():
        raise ValueError('positive: both kinds are needed')
    # The rank sum of Mann and Whitney.
    count, ranks = positive.sum(), rankdata(scores)[positive]
    return float((ranks.mean() - (count + 1) / 2) / (len(scores) - count))


def pose_absolute_error(predicted_deg: Array, true_deg: Array) -> Array:
    """
    Return the absolute errors of yaw, pitch and roll.

    Samples with any true angle beyond `POSE_LIMIT_DEG` are left out. Differences wrap at ±360°
    only: 179° against −179° is 2° off, but the two decodes of one rotation on either side of ±90°
    of yaw stay different.

    :param predicted_deg: (N, 3).
    :param true_deg: (N, 3).
    :return: (M, 3) degrees, M ≤ N.
    """
    kept = (np.abs(true_deg) <= POSE_LIMIT_DEG).all(axis=-1)
    difference = np.abs(predicted_deg[kept] - true_deg[kept])
    return np.minimum(difference, np.abs(360 - difference))


def in_yaw_bins(yaw_deg: Array) -> dict[str, BoolArray]:
    """
    Return which samples lie in each bin of |yaw|.

    :param yaw_deg: (N,) true yaw. The border of two bins belongs to the lower one; yaw beyond 90°
        and unknown yaw (nan) are in no bin.
    :return: (N,) by the names of `YAW_BINS`.
    """
    size = np.abs(yaw_deg)
    return {name: (size <= high) & ((size > low) if low else (size >= low))
            for name, (low, high) in YAW_BINS.items()}


def mean_by_yaw(errors: Array, yaw_deg: Array) -> dict[str, float]:
    """
    Return the mean error in each |yaw| bin that has samples, and the unweighted mean of the bins.

    :param errors: (N,).
    :param yaw_deg: (N,) true yaw.
    :return: by the names of `YAW_BINS`, and 'mean'.
    """
    result = {name: float(errors[inside].mean()) for name, inside in in_yaw_bins(yaw_deg).items()
              if inside.any()}
    if result:
        result['mean'] = float(np.mean(list(result.values())))
    return result


def turn_error_deg(rotation: Array, rotation_of_turned: Array, degrees: float) -> Array:
    """
    Compare the rotation in a turned picture with the turned rotation; this needs no labels.

    Roll alone must not be compared: it is the first of three rotations.

    :param rotation: (..., 3, 3) in the picture.
    :param rotation_of_turned: (..., 3, 3) in the turned picture.
    :param degrees: turn of the picture, with the sign of cv2.
    :return: (...) geodesic distance, degrees.
    """
    return geodesic_distance_deg(rotation_of_turned, turned_in_image(rotation, degrees))


def mirror_error_deg(rotation: Array, rotation_of_mirrored: Array) -> Array:
    """Return the geodesic distance, degrees, to the rotation in a mirrored picture."""
    return geodesic_distance_deg(rotation_of_mirrored, mirrored(rotation))


def rotation_frobenius(first: Array, second: Array) -> Array:
    """Return ‖I − A Bᵀ‖ (Frobenius) of rotations (..., 3, 3): DAD-3DHeads' pose error, 0…2√2."""
    return np.linalg.norm(np.eye(3) - first @ np.swapaxes(second, -1, -2), axis=(-2, -1))
