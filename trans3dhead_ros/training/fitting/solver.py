"""
Batched Gauss-Newton of the fit: robust weights, Gaussian priors, bounds by an active set.

The jaw of 2D-labelled sets slides on the visible contour, so its points are chosen anew in every
iteration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from trans3dhead_ros.geometry import FACING_CAMERA
from trans3dhead_ros.head_model import HeadModel, visible_contour
from trans3dhead_ros.landmarks import COUNT, JAW_COUNT

_POSE = 7
"""Rotation about the camera's axes (3), log scale, translation (2), log inverse distance."""


@dataclass(frozen=True)
class FitConfig:
    """
    Weights of the fit; lengths are fractions of half the landmark box's longer side.

    :ivar landmark_sigma: expected error of an inner point. :ivar jaw_sigma: of a contour point.
    :ivar shape_sigma: prior of identity coefficients. :ivar expression_sigma: of expressions.
    :ivar gaze_sigma: of eye directions, which landmarks of the lids hardly tell.
    :ivar distance_m: usual distance of a head. :ivar distance_sigma: of its logarithm.
    :ivar wild: from how many sigmas on a point counts as wrong.
    :ivar pose_iterations: the first ones, which leave the mean face as it is.
    """

    landmark_sigma: float = 0.014
    jaw_sigma: float = 0.06
    shape_sigma: float = 1.0
    expression_sigma: float = 0.3
    gaze_sigma: float = 0.05
    distance_m: float = 0.8
    distance_sigma: float = 0.6
    wild: float = 3.0
    pose_iterations: int = 4
    iterations: int = 12
    batch: int = 128


@dataclass(frozen=True)
class Solution:
    """
    What the solver found for B faces; the perspective camera of `Fit`, in box units.

    :ivar residual: (B, 68, 2) model minus labels.
    """

    rotation: torch.Tensor
    translation: torch.Tensor
    log_scale: torch.Tensor
    inverse_distance: torch.Tensor
    shape: torch.Tensor
    expression: torch.Tensor
    residual: torch.Tensor


class _Points:
    """The vertices that can be landmarks, one contiguous row a point: gathering stays cheap."""

    def __init__(self, model: HeadModel, offsets: torch.Tensor) -> None:
        self.slots = model.contour_indices.shape[1]
        used = torch.cat([model.contour_indices.flatten(), model.landmark_indices[JAW_COUNT:]])
        self.mean = model.mean[used].clone()
        self.mean[-len(offsets):] += offsets
        basis = torch.cat([model.identity, model.expression])[:, used]
        self.basis = basis.permute(1, 2, 0).contiguous()  # (P, 3, C)
        self.first_slot = torch.arange(JAW_COUNT, device=used.device) * self.slots
        self.inner = torch.arange(JAW_COUNT * self.slots, len(used), device=used.device)

    def __call__(
        self, coefficients: torch.Tensor, rotation: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the 68 points (B, 68, 3) m, head frame, and their rows in `basis` (B, 68)."""
        head = self.mean + (self.basis.flatten(0, 1) @ coefficients.mT).mT.unflatten(1, (-1, 3))
        candidates = head[:, :JAW_COUNT * self.slots].unflatten(1, (JAW_COUNT, self.slots))
        jaw = self.first_slot + visible_contour(candidates, rotation)
        index = torch.cat([jaw, self.inner.expand(len(head), -1)], dim=1)
        return head.take_along_dim(index[..., None], dim=1), index


def solve(
    model: HeadModel, target: torch.Tensor, config: FitConfig, offsets: torch.Tensor,
    trust: torch.Tensor,
) -> Solution:
    """
    Fit to points in box units.

    :param target: (B, 68, 2). :param offsets: (51, 3) m. :param trust: (B, 68) factor of weights.
    """
    count, shapes = len(target), model.shape_count
    points = _Points(model, offsets)
    # The tight box of a facing mean head has about this extent: a start, nothing more.
    extent = model.mean[model.landmark_indices, 1]
    log_scale = torch.log(2.0 / (extent.max() - extent.min())).repeat(count)
    rotation = _start_rotation(model, target)
    translation = target[:, 27].clone()
    usual = -math.log(config.distance_m)
    log_inverse = target.new_full((count,), usual)
    coefficients = target.new_zeros(count, shapes + model.expression_count)

    sigma = target.new_full((COUNT,), config.landmark_sigma)
    sigma[:JAW_COUNT] = config.jaw_sigma
    prior = target.new_tensor(_prior_precision(model.expression_names, shapes, config))
    distance_prior = config.distance_sigma ** -2
    damping = torch.cat([target.new_full((_POSE,), 1e-3), prior])
    damping[_POSE - 1] += distance_prior

    for iteration in range(config.iterations):
        head, index = points(coefficients, rotation)
        turned = head @ rotation.mT
        residual, near, flat = _residual(turned, target, log_scale, translation, log_inverse.exp())
        # Cauchy weights: a wrong point must not bend the face.
        distance = (residual / sigma[:, None]).square().sum(-1)
        weight = trust / (sigma.square() * (1.0 + distance / config.wild ** 2))
        pose, toward = _pose_jacobian(turned, near, flat, log_scale, log_inverse.exp())
        if iteration < config.pose_iterations:
            # Pose first, so that identity does not explain a wrong rotation.
            jacobian = pose
        else:
            jacobian = torch.cat([pose, (toward @ rotation[:, None]) @ points.basis[index]], dim=-1)
        jacobian = jacobian.flatten(1, 2)
        weighted = (jacobian * weight.repeat_interleave(2, dim=1)[..., None]).mT
        normal = weighted @ jacobian
        gradient = (weighted @ residual.flatten(1)[..., None]).squeeze(-1)
        gradient[:, _POSE - 1] += distance_prior * (log_inverse - usual)
        full = normal + torch.diag(damping[:jacobian.shape[-1]])
        if iteration >= config.pose_iterations:
            gradient[:, _POSE:] += prior * coefficients
            step = _bounded_step(full, gradient, coefficients[:, shapes:])
        else:
            step = _solve(full, -gradient)
        rotation = _exp(step[:, :3].clamp(-0.5, 0.5)) @ rotation
        log_scale = log_scale + step[:, 3].clamp(-0.3, 0.3)
        translation = translation + step[:, 4:6]
        # Nearer than 0.25 m nobody is photographed.
        log_inverse = (log_inverse + step[:, 6].clamp(-0.5, 0.5)).clamp(-4.0, math.log(4.0))
        if iteration >= config.pose_iterations:
            coefficients = coefficients + step[:, _POSE:]
            coefficients[:, shapes:] = coefficients[:, shapes:].clamp(0.0, 1.0)

    head, _ = points(coefficients, rotation)
    residual, _, _ = _residual(head @ rotation.mT, target, log_scale, translation,
                               log_inverse.exp())
    return Solution(rotation, translation, log_scale, log_inverse.exp(),
                    coefficients[:, :shapes], coefficients[:, shapes:], residual)


def _residual(
    turned: torch.Tensor, target: torch.Tensor, log_scale: torch.Tensor,
    translation: torch.Tensor, inverse_distance: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return residual (B, 68, 2), 1 / relative distance (B, 68, 1), points before it (B, 68, 2)."""
    near = 1.0 / (1.0 + inverse_distance[:, None, None] * turned[..., 2:])
    flat = log_scale.exp()[:, None, None] * turned[..., :2] + translation[:, None]
    return flat * near - target, near, flat


def _pose_jacobian(
    turned: torch.Tensor, near: torch.Tensor, flat: torch.Tensor, log_scale: torch.Tensor,
    inverse_distance: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the derivatives by pose (B, 68, 2, 7), and by a point in the camera (B, 68, 2, 3)."""
    scale, inverse = log_scale.exp()[:, None], inverse_distance[:, None]
    a, b, c = turned.unbind(-1)
    near, (flat_x, flat_y) = near[..., 0], flat.unbind(-1)
    zero = torch.zeros_like(a)
    down_x, down_y = -inverse * near ** 2 * flat_x, -inverse * near ** 2 * flat_y
    s = scale * near
    toward = torch.stack([torch.stack([s, zero, down_x], -1), torch.stack([zero, s, down_y], -1)],
                         dim=2)
    # A turn about the camera's axes moves a point by (b, c swapped and signed) below.
    turn = torch.stack([torch.stack([zero, c, -b], -1), torch.stack([-c, zero, a], -1),
                        torch.stack([b, -a, zero], -1)], dim=2)
    rows_x = torch.stack([s * a, near, zero, down_x * c], -1)
    rows_y = torch.stack([s * b, zero, near, down_y * c], -1)
    return torch.cat([toward @ turn, torch.stack([rows_x, rows_y], dim=2)], dim=-1), toward


def _prior_precision(names: Sequence[str], shapes: int, config: FitConfig) -> list[float]:
    sigmas = [config.gaze_sigma if name.startswith('eyeLook') else config.expression_sigma
              for name in names]
    return [config.shape_sigma ** -2] * shapes + [sigma ** -2 for sigma in sigmas]


def _start_rotation(model: HeadModel, target: torch.Tensor) -> torch.Tensor:
    """Return the affine-camera rotation of the mean face's inner points: right to some 15 deg."""
    head = model.mean[model.landmark_indices[JAW_COUNT:]]
    head = head - head.mean(0)
    image = target[:, JAW_COUNT:] - target[:, JAW_COUNT:].mean(1, keepdim=True)
    affine = (torch.linalg.pinv(head) @ image).mT  # (B, 2, 3)
    u, _, vt = torch.linalg.svd(affine, full_matrices=False)
    rows = u @ vt
    rotation = torch.cat([rows, torch.linalg.cross(rows[:, 0], rows[:, 1])[:, None]], dim=1)
    towards_camera = rotation[:, 2, 0] < 0
    return torch.where(towards_camera[:, None, None], rotation, target.new_tensor(FACING_CAMERA))


def _solve(matrix: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    return torch.cholesky_solve(vector[..., None], torch.linalg.cholesky(matrix)).squeeze(-1)


def _bounded_step(
    normal: torch.Tensor, gradient: torch.Tensor, expression: torch.Tensor, rounds: int = 3,
) -> torch.Tensor:
    """
    Return the step (B, C) that keeps the last coefficients, the expressions, in 0..1.

    An expression that would leave is put on its bound and the others answer to that: merely cutting
    the step off would leave them with a wrong one, and the fit would wander.
    """
    tail = slice(gradient.shape[1] - expression.shape[1], None)
    held = torch.zeros_like(expression, dtype=torch.bool)
    fixed = torch.zeros_like(expression)
    step = _solve(normal, -gradient)
    for _ in range(rounds):
        moved = expression + step[:, tail]
        outside = (moved < 0) | (moved > 1)
        fixed = torch.where(outside & ~held, moved.clamp(0, 1) - expression, fixed)
        held = held | outside
        shift = torch.zeros_like(gradient)
        shift[:, tail] = fixed
        free = torch.ones_like(gradient)
        free[:, tail] = (~held).to(free)
        answer = -(gradient + (normal @ shift[..., None]).squeeze(-1)) * free
        reduced = normal * free[:, None] * free[:, :, None] + torch.diag_embed(1 - free)
        step = _solve(reduced, answer) + shift
    return step


def _exp(rotation_vector: torch.Tensor) -> torch.Tensor:
    """Return the rotations (B, 3, 3) of rotation vectors (B, 3)."""
    x, y, z = rotation_vector.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    return torch.linalg.matrix_exp(skew)
