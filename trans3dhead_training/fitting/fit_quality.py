"""Which fits are rejected: by their residual, their coefficients and the teachers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from trans3dhead_ros.geometry import euler_from_rotation, geodesic_distance_deg
from trans3dhead_ros.landmarks import INNER
from trans3dhead_ros.types import Array
from trans3dhead_training.fitting.fit import Fit
from trans3dhead_training.fitting.teachers import TeacherPredictions


@dataclass(frozen=True)
class Limits:
    """Limits beyond which a fit is rejected; lengths over sqrt(w h) of the landmark box."""

    residual: float = 0.018
    """Mean distance of the inner 51 points from the labels."""
    shape_rms: float = 1.6
    """Root mean square of the identity coefficients, each about N(0, 1) over people."""
    shape_largest: float = 5.0
    """Largest magnitude of an identity coefficient."""
    teacher_points: float = 0.055
    """Mean distance of the labels' inner 51 points from a teacher's."""
    teacher_rotation_deg: float = 16.0
    """Geodesic distance from the rotation of 3DDFA_V2, whose own error is 3-4 degrees."""


def inner_distance(first: Array, second: Array) -> Array:
    """Return (N,) mean distance of the inner 51 of (N, 68, 2) over sqrt(w h) of `first`'s box."""
    box = np.sqrt(np.ptp(first, axis=1).prod(axis=1))
    return np.linalg.norm((first - second)[:, INNER], axis=-1).mean(1) / box


def rejection_reasons(
    fit: Fit, points: Array, teachers: TeacherPredictions | None = None,
    limits: Limits | None = None,
) -> np.ndarray:
    """
    Return why each fit is rejected.

    :param fit: of N faces.
    :param points: (N, 68, 2) px, the labels.
    :param teachers: their predictions; None does not compare with them.
    :param limits: None: the defaults.
    :return: (N,) reasons, '' where the fit is accepted.
    """
    limits = limits or Limits()
    shape = fit.shape
    tests = [
        ('not finite', ~torch.stack([
            values.flatten(1).isfinite().all(1) for values in (
                fit.rotation, fit.shape, fit.expression, fit.log_scale[:, None])]).all(0).numpy()),
        ('large residual', (fit.inner_error > limits.residual).numpy()),
        ('extreme identity', ((shape.square().mean(1).sqrt() > limits.shape_rms)
                              | (shape.abs().amax(1) > limits.shape_largest)).numpy()),
    ]
    if teachers is not None:
        yaw = euler_from_rotation(fit.rotation)[:, 0].numpy()
        away = geodesic_distance_deg(fit.rotation.double().numpy(), teachers.rotation)
        tests += [
            ('teacher predicts other points',
             inner_distance(points, teachers.points(yaw)) > limits.teacher_points),
            ('teacher predicts another pose', away > limits.teacher_rotation_deg),
        ]
    result = np.full(len(points), '', dtype='<U32')
    for name, failed in tests:
        result[(result == '') & failed] = name
    return result
