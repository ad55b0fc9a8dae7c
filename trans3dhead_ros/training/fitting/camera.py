"""The fit's perspective camera, which looks at the middle of the landmark box."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

POSE = 7
"""Rotation about the camera's axes (3), log scale, translation (2), log inverse distance."""
_LOG_INVERSE = (-4.0, math.log(4.0))
"""Nearer than 0.25 m nobody is photographed; beyond 50 m perspective is gone."""


@dataclass(frozen=True)
class PerspectiveCamera:
    """The perspective camera of `Fit` for B faces, its distance by the logarithm of 1/m."""

    rotation: torch.Tensor
    log_scale: torch.Tensor
    translation: torch.Tensor
    log_inverse: torch.Tensor

    def project(
        self, turned: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        Project points (B, P, 3) that are turned to the camera's axes.

        :return: where they are seen (B, P, 2), the sellion's distance over theirs (B, P, 1), and
            where they would be seen at the sellion's distance (B, P, 2).
        """
        near = 1.0 / (1.0 + self.log_inverse.exp()[:, None, None] * turned[..., 2:])
        flat = (self.log_scale.exp()[:, None, None] * turned[..., :2] + self.translation[:, None])
        return flat * near, near, flat

    def jacobian(
        self, turned: torch.Tensor, near: torch.Tensor, flat: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the derivatives by pose (B, P, 2, 7) and by a point's place (B, P, 2, 3)."""
        a, b, c = turned.unbind(-1)
        near, (flat_x, flat_y) = near[..., 0], flat.unbind(-1)
        inverse, s = self.log_inverse.exp()[:, None], self.log_scale.exp()[:, None] * near
        zero = torch.zeros_like(a)
        down_x, down_y = -inverse * near ** 2 * flat_x, -inverse * near ** 2 * flat_y
        place = torch.stack([torch.stack([s, zero, down_x], -1),
                             torch.stack([zero, s, down_y], -1)], dim=2)
        # What a turn about the camera's axes does to a point: minus its cross product matrix.
        turn = torch.stack([torch.stack([zero, c, -b], -1), torch.stack([-c, zero, a], -1),
                            torch.stack([b, -a, zero], -1)], dim=2)
        rest = torch.stack([torch.stack([s * a, near, zero, down_x * c], -1),
                            torch.stack([s * b, zero, near, down_y * c], -1)], dim=2)
        return torch.cat([place @ turn, rest], dim=-1), place

    def moved(self, step: torch.Tensor) -> PerspectiveCamera:
        """Return the camera after a step (B, 7), cut to what a linear model can be trusted with."""
        return PerspectiveCamera(
            _exp(step[:, :3].clamp(-0.5, 0.5)) @ self.rotation,
            self.log_scale + step[:, 3].clamp(-0.3, 0.3), self.translation + step[:, 4:6],
            (self.log_inverse + step[:, 6].clamp(-0.5, 0.5)).clamp(*_LOG_INVERSE))


def _exp(rotation_vector: torch.Tensor) -> torch.Tensor:
    """Return the rotations (B, 3, 3) of rotation vectors (B, 3)."""
    x, y, z = rotation_vector.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    return torch.linalg.matrix_exp(skew)
