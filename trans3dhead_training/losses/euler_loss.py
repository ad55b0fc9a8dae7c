"""Four ways to compare rotations by their Euler angles; two of them are safe at profile."""

from __future__ import annotations

import torch
from torch.nn import functional

from trans3dhead_ros.geometry import euler_from_rotation

EULER_LOSSES = ('none', 'plain', 'safe', 'geodesic')


def euler_loss(rotation: torch.Tensor, target: torch.Tensor, form: str = 'safe') -> torch.Tensor:
    """
    Compare the Euler angles of rotations.

    * `plain` is the paper's: the difference of the angles in radians. Near ±90° of yaw its gradient
      grows as 1 / cos(yaw); at ±90° (in single precision from 89.99° on) it is not a number.
    * `safe` compares sin(yaw) and the vectors (sin, cos) of pitch and of roll, each scaled by
      cos(yaw), which are entries of the matrix: bounded everywhere, and with the weight of the
      angle where the angle means something.
    * `geodesic` is the angle of the relative rotation, from its sine and cosine.
    * `none` is zero.

    :param rotation: (..., 3, 3).
    :param target: (..., 3, 3).
    :param form: one of `EULER_LOSSES`.
    :return: (...).
    :raises ValueError: an unknown form.
    """
    if form == 'none':
        return rotation.new_zeros(rotation.shape[:-2])
    if form == 'plain':
        angles = [torch.deg2rad(euler_from_rotation(r)) for r in (rotation, target)]
        return (angles[0] - angles[1]).abs().sum(-1)
    if form == 'safe':
        difference = rotation - target
        vectors = torch.stack([
            functional.pad(difference[..., :1, 0], (0, 1)),
            difference[..., 1:, 0], difference[..., 0, 1:]], dim=-2)
        return smooth_norm(vectors, 1e-3).sum(-1)
    if form == 'geodesic':
        relative = rotation @ target.mT
        sine = 0.5 * torch.stack([relative[..., 2, 1] - relative[..., 1, 2],
                                  relative[..., 0, 2] - relative[..., 2, 0],
                                  relative[..., 1, 0] - relative[..., 0, 1]], -1)
        cosine = 0.5 * (relative.diagonal(dim1=-2, dim2=-1).sum(-1) - 1)
        return torch.atan2(smooth_norm(sine, 1e-4), cosine)
    raise ValueError(f'form: expected one of {EULER_LOSSES}, got {form!r}')


def smooth_norm(vectors: torch.Tensor, softness: float) -> torch.Tensor:
    """
    Return the Euclidean norm, with a gradient of zero at zero instead of an undefined one.

    :param vectors: (..., D).
    :param softness: length below which the norm is nearly quadratic.
    :return: (...).
    """
    return (vectors.square().sum(-1) + softness ** 2).sqrt() - softness
