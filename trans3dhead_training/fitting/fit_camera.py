"""The perspective camera of a fit, which points at the centre of the landmark box."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

POSE = 9
"""Number of pose parameters: rotation about the camera's axes (3), log scale, translation (2), log
inverse distance, and the offset of the box from the optical axis of the picture (2)."""
SCALE, INVERSE = 3, 6
OFF_AXIS = slice(7, 9)
_LOG_INVERSE = (-4.0, math.log(4.0))
"""Nobody is photographed from less than 0.25 m; beyond 50 m there is no perspective."""
_MAX_OFF_AXIS = 0.6


def in_picture(
    seen: torch.Tensor, off_axis: torch.Tensor, focal: torch.Tensor,
) -> torch.Tensor:
    """
    Convert points from a camera that points at the box centre to the camera of the picture.

    Off its axis a lens stretches a head, more on the outer side. With the ray (k, 1) through the
    box centre and its length n, the rotation of `geometry.viewing_ray_rotation` gives, at the scale
    of the centre, (v + k (k v) / (n + 1)) / (1 - k v / focal).

    :param seen: (B, P, 2) box units about the box centre.
    :param off_axis: (B, 2), k.
    :param focal: (B,) box units, of the camera that points at the box centre.
    :return: (B, P, 2) box units.
    """
    drawn, wider, _ = _stretched(seen, off_axis, focal)
    return drawn * wider


def _stretched(
    seen: torch.Tensor, off_axis: torch.Tensor, focal: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return numerator (B, P, 2), one over denominator (B, P, 1), and k v (B, P, 1)."""
    along = (seen * off_axis[:, None]).sum(-1, keepdim=True)
    length = (1.0 + off_axis.square().sum(-1)).sqrt()[:, None, None]
    drawn = seen + along / (length + 1.0) * off_axis[:, None]
    return drawn, 1.0 / (1.0 - along / focal[:, None, None]).clamp_min(0.1), along


@dataclass(frozen=True)
class PerspectiveCamera:
    """The perspective camera of B faces, parametrised by the logarithm of the inverse distance."""

    rotation: torch.Tensor
    log_scale: torch.Tensor
    translation: torch.Tensor
    log_inverse: torch.Tensor
    off_axis: torch.Tensor

    @property
    def focal(self) -> torch.Tensor:
        """(B,) focal length, box units."""
        return (self.log_scale - self.log_inverse).exp()

    def project(
        self, turned: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        Project points.

        :param turned: (B, P, 3) m, rotated to the camera's axes.
        :return: image points (B, P, 2), the sellion's distance over theirs (B, P, 1), and the image
            points at the sellion's distance (B, P, 2).
        """
        near = 1.0 / (1.0 + self.log_inverse.exp()[:, None, None] * turned[..., 2:])
        flat = (self.log_scale.exp()[:, None, None] * turned[..., :2] + self.translation[:, None])
        return in_picture(flat * near, self.off_axis, self.focal), near, flat

    def jacobian(
        self, turned: torch.Tensor, near: torch.Tensor, flat: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the derivatives by pose (B, P, 2, 9) and by a point's position (B, P, 2, 3)."""
        a, b, c = turned.unbind(-1)
        seen, near, (flat_x, flat_y) = flat * near, near[..., 0], flat.unbind(-1)
        inverse, s = self.log_inverse.exp()[:, None], self.log_scale.exp()[:, None] * near
        zero = torch.zeros_like(a)
        down_x, down_y = -inverse * near ** 2 * flat_x, -inverse * near ** 2 * flat_y
        place = torch.stack([torch.stack([s, zero, down_x], -1),
                             torch.stack([zero, s, down_y], -1)], dim=2)
        # Derivative by a rotation about the camera's axes: minus the cross product matrix.
        turn = torch.stack([torch.stack([zero, c, -b], -1), torch.stack([-c, zero, a], -1),
                            torch.stack([b, -a, zero], -1)], dim=2)
        rest = torch.stack([torch.stack([s * a, near, zero, down_x * c], -1),
                            torch.stack([s * b, zero, near, down_y * c], -1)], dim=2)
        by_seen, by_focal, by_off_axis = self._picture_jacobian(seen)
        place = by_seen @ place
        pose = torch.cat([place @ turn, by_seen @ rest, by_off_axis], dim=-1)
        pose[..., SCALE] += by_focal
        pose[..., INVERSE] -= by_focal
        return pose, place

    def _picture_jacobian(
        self, seen: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return those of `in_picture` by seen (B, P, 2, 2), log focal (B, P, 2), off_axis."""
        drawn, wider, along = _stretched(seen, self.off_axis, self.focal)
        k = self.off_axis[:, None, :, None]
        # The derivative of n by k is small and neglected.
        share = (1.0 / (1.0 + (1.0 + self.off_axis.square().sum(-1)).sqrt()))[:, None, None, None]
        eye = torch.eye(2, dtype=seen.dtype, device=seen.device)
        growth = (drawn * wider ** 2 / self.focal[:, None, None])[..., None]
        by_seen = wider[..., None] * (eye + share * k * k.mT) + growth * k.mT
        by_off_axis = (wider[..., None] * share * (along[..., None] * eye + k * seen[..., None, :])
                       + growth * seen[..., None, :])
        return by_seen, -growth[..., 0] * along, by_off_axis

    def moved(self, step: torch.Tensor) -> PerspectiveCamera:
        """Return the camera after a step (B, 9), limited to where the linearisation is valid."""
        return PerspectiveCamera(
            _exp(step[:, :3].clamp(-0.5, 0.5)) @ self.rotation,
            self.log_scale + step[:, SCALE].clamp(-0.3, 0.3), self.translation + step[:, 4:6],
            (self.log_inverse + step[:, INVERSE].clamp(-0.5, 0.5)).clamp(*_LOG_INVERSE),
            (self.off_axis + step[:, OFF_AXIS].clamp(-0.1, 0.1)).clamp(
                -_MAX_OFF_AXIS, _MAX_OFF_AXIS))


def _exp(rotation_vector: torch.Tensor) -> torch.Tensor:
    """Return the rotations (B, 3, 3) of rotation vectors (B, 3)."""
    x, y, z = rotation_vector.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    return torch.linalg.matrix_exp(skew)
