"""Which fits are kept, and why not: the residual, the coefficients, and what the teachers see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from trans3dhead_ros.geometry import euler_from_rotation, geodesic_distance_deg
from trans3dhead_ros.landmarks import INNER
from trans3dhead_training.fitting.fit import Fit
from trans3dhead_training.fitting.teachers import Array, TeacherPredictions


@dataclass(frozen=True)
class Limits:
    """
    Beyond which a fit is left out; lengths are of sqrt(w h) of the landmark box.

    :ivar residual: mean distance of the inner 51 points from the labels.
    :ivar shape_rms: root mean square of the identity coefficients, each about N(0, 1) over people.
    :ivar shape_largest: magnitude of any one of them.
    :ivar teacher_points: mean distance of the labels' inner 51 from a teacher's.
    :ivar teacher_rotation_deg: from 3DDFA_V2's rotation; it errs by 3-4 degrees itself.
    """

    residual: float = 0.018
    shape_rms: float = 1.6
    shape_largest: float = 5.0
    teacher_points: float = 0.055
    teacher_rotation_deg: float = 16.0


def inner_distance(first: Array, second: Array) -> Array:
    """Return (N,) mean distance of the inner 51 of (N, 68, 2) over sqrt(w h) of `first`'s box."""
    box = np.sqrt(np.ptp(first, axis=1).prod(axis=1))
    return np.linalg.norm((first - second)[:, INNER], axis=-1).mean(1) / box


def reasons(
    fit: Fit, points: Array, opinions: TeacherPredictions | None = None, limits: Limits | None = None,
) -> np.ndarray:
    """
    Return (N,) why each fit is left out, '' where it is kept.

    :param points: (N, 68, 2) px, what was fitted. :param opinions: of the teachers, None if nobody
        was asked.
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
    if opinions is not None:
        yaw = euler_from_rotation(fit.rotation)[:, 0].numpy()
        away = geodesic_distance_deg(fit.rotation.double().numpy(), opinions.rotation)
        tests += [
            ('teacher sees other points',
             inner_distance(points, opinions.points(yaw)) > limits.teacher_points),
            ('teacher sees another pose', away > limits.teacher_rotation_deg),
        ]
    result = np.full(len(points), '', dtype='<U32')
    for name, failed in tests:
        result[(result == '') & failed] = name
    return result
