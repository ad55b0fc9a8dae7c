"""
Label conventions: where a dataset puts its points, relative to the head model, in each pose.

Labellers and the head model define some points differently (the inner ends of the brows differ by
several millimetres, jaw points are spaced differently along the contour), and some of these
differences change with the pose.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from trans3dhead_ros.landmarks import COUNT, JAW_COUNT, MIRROR_68

POSE_TERMS = 4
"""Number of factors that a displacement is linear in, see `pose_terms`."""

_MAX_PITCH_SINE = 0.6


@dataclass(frozen=True)
class LabelConvention:
    """
    Displacements of labels from the landmarks and the visible contour of the head model.

    Example::

        convention = measure_convention(model, points)
        fit = fit_landmarks(model, points, convention=convention)
    """

    inner: torch.Tensor
    """(4, 51, 3) m, head frame: coefficients of `pose_terms` for the points 17-67."""
    jaw: torch.Tensor
    """(4, 17, 3) m, head frame: the same for the points of the visible contour."""
    max_yaw_sine: float = 0.97
    """Sine of the yaw beyond which it was not measured and stays constant."""

    @classmethod
    def zero(cls, like: torch.Tensor) -> LabelConvention:
        """Return a convention without displacements, of the type and device of a tensor."""
        return cls(like.new_zeros(POSE_TERMS, COUNT - JAW_COUNT, 3),
                   like.new_zeros(POSE_TERMS, JAW_COUNT, 3))

    def symmetrized(self) -> LabelConvention:
        """Return the mean of the convention and its mirror image."""
        other = torch.tensor(MIRROR_68, device=self.inner.device)
        flip = self.inner.new_tensor([1.0, -1.0, 1.0])
        # Of the pose terms, the yaw of a mirrored face has the other sign.
        sign = self.inner.new_tensor([1.0, -1.0, 1.0, 1.0])[:, None, None]
        inner = sign * flip * self.inner[:, other[JAW_COUNT:] - JAW_COUNT]
        jaw = sign * flip * self.jaw[:, other[:JAW_COUNT]]
        return replace(self, inner=(self.inner + inner) / 2, jaw=(self.jaw + jaw) / 2)

    def inner_at(self, rotation: torch.Tensor) -> torch.Tensor:
        """Return displacements (B, 51, 3) m, head frame, at rotations (B, 3, 3)."""
        return torch.einsum('bk,kpc->bpc', pose_terms(rotation, self.max_yaw_sine), self.inner)

    def jaw_at(self, rotation: torch.Tensor) -> torch.Tensor:
        """Return displacements (B, 17, 3) m, head frame, at rotations (B, 3, 3)."""
        return torch.einsum('bk,kpc->bpc', pose_terms(rotation, self.max_yaw_sine), self.jaw)


def pose_terms(rotation: torch.Tensor, max_yaw_sine: float = 0.97) -> torch.Tensor:
    """
    Return the factors of displacements: 1, sine of the yaw, sine of the pitch, squared yaw sine.

    The yaw is positive where the face looks to the right of its upright image, the pitch where it
    looks up. Both are limited to the range of labelled photographs.

    :param rotation: (B, 3, 3) head -> camera.
    :param max_yaw_sine: limit of the sine of the yaw.
    :return: (B, 4).
    """
    up = torch.nn.functional.normalize(rotation[:, :2, 2], dim=-1)
    yaw = (up[:, 0] * rotation[:, 1, 0] - up[:, 1] * rotation[:, 0, 0]).clamp(
        -max_yaw_sine, max_yaw_sine)
    pitch = (up * rotation[:, :2, 0]).sum(-1).clamp(-_MAX_PITCH_SINE, _MAX_PITCH_SINE)
    return torch.stack([torch.ones_like(yaw), yaw, pitch, yaw.square()], dim=-1)


def fit_displacements(
    missing: torch.Tensor, known: torch.Tensor, rotation: torch.Tensor,
    direction: torch.Tensor | None = None, rounds: int = 10,
) -> torch.Tensor:
    """
    Fit displacements that explain the residuals of labels.

    The sum of distances is minimised, not of their squares, to be robust against wrong labels.

    :param missing: (B, P, 2) m, from the model's points to the labels in the image's axes.
    :param known: (B, P) whether a point is labelled.
    :param rotation: (B, 3, 3) head -> camera.
    :param direction: (P, 3) the only direction in which each point is displaced; None: any.
    :param rounds: iterations of reweighted least squares.
    :return: (4, P, 3) m, coefficients of `pose_terms`.
    """
    if direction is None:
        seen = rotation[:, None, :2].expand(-1, missing.shape[1], -1, -1)  # (B, P, 2, 3)
    else:
        seen = torch.einsum('bij,kj->bki', rotation[:, :2], direction)[..., None]
    basis = (pose_terms(rotation)[:, None, None, :, None] * seen[..., None, :]).flatten(3)
    missing = torch.where(known[..., None], missing, torch.zeros_like(missing))
    found = missing.new_zeros(missing.shape[1], basis.shape[-1])
    ridge = 0.01 * torch.eye(basis.shape[-1], dtype=missing.dtype, device=missing.device)
    for _ in range(rounds):
        rest = missing - torch.einsum('bjik,jk->bji', basis, found)
        weight = known / (rest.norm(dim=-1) + 0.004)
        normal = (torch.einsum('bj,bjik,bjil->jkl', weight, basis, basis)
                  + ridge * (weight.sum(0) + 1.0)[:, None, None])
        found = torch.linalg.solve(
            normal, torch.einsum('bj,bjik,bji->jk', weight, basis, missing))
    found = found.unflatten(1, (POSE_TERMS, -1)).transpose(0, 1)
    return found if direction is None else found * direction


def jaw_directions(jaw: torch.Tensor) -> torch.Tensor:
    """Return the directions (17, 3) along the line of the jaw points (17, 3)."""
    before, after = jaw[[0, *range(JAW_COUNT - 1)]], jaw[[*range(1, JAW_COUNT), JAW_COUNT - 1]]
    return torch.nn.functional.normalize(after - before, dim=-1)
