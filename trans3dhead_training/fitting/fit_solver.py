"""
Batched Gauss-Newton solver: robust weights, Gaussian priors, bounds by an active set.

The jaw of datasets labelled in 2D slides on the visible contour, so its points are chosen again in
every iteration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from trans3dhead_ros.geometry import FACING_CAMERA
from trans3dhead_ros.landmarks import JAW_COUNT, SELLION
from trans3dhead_ros.network.head_module import HeadModule, outermost_candidates
from trans3dhead_training.data.mirror import HeadMirror
from trans3dhead_training.fitting.fit_camera import (
    INVERSE,
    OFF_AXIS,
    POSE,
    SCALE,
    PerspectiveCamera,
)
from trans3dhead_training.fitting.label_convention import LabelConvention

ON_AXIS_SIGMA = 1e-3
"""Replaces `off_axis_sigma` where the camera is known."""

_MAX_AVERTED = 0.35


@dataclass(frozen=True)
class FitConfig:
    """Weights of the fit; lengths are fractions of half the landmark box's longer side."""

    landmark_sigma: float = 0.014
    """Expected error of a coordinate of an inner point."""
    jaw_sigma: float = 0.04
    """Expected error of a contour point across the contour."""
    jaw_slide_sigma: float = 0.08
    """Expected error of a contour point along the contour."""
    shape_sigma: float = 1.0
    """Prior of the identity coefficients, about 0 or about those that are given."""
    expression_sigma: float = 0.3
    """Prior of the expression coefficients."""
    gaze_sigma: float = 0.05
    """Prior of the eye directions, which the landmarks of the lids hardly determine."""
    distance_m: float = 0.8
    """Typical distance of a head."""
    distance_sigma: float = 0.6
    """Prior of the logarithm of the distance."""
    off_axis_sigma: float = 0.12
    """Prior of the offset of heads from the axis of their picture, in focal lengths."""
    focal_sigma: float = 0.02
    """Prior of the logarithm of a focal length that is given."""
    symmetry_sigma: float | None = None
    """Prior of the difference between the coefficients and those of the mirrored head, for faces
    of which only one half is labelled; None: no such prior."""
    prior_rotation_sigma_deg: float = 3.0
    """Standard deviation, about each axis, of a prior rotation that is given."""
    outlier_sigmas: float = 3.0
    """Residual in standard deviations beyond which a point counts as an outlier."""
    pose_iterations: int = 4
    """Number of first iterations that fit the pose only."""
    iterations: int = 12
    """Number of iterations."""
    batch: int = 128
    """Number of faces that are solved at once."""


@dataclass(frozen=True)
class Solution:
    """The solution for B faces: the perspective camera of `Fit`, in box units."""

    rotation: torch.Tensor
    translation: torch.Tensor
    log_scale: torch.Tensor
    inverse_distance: torch.Tensor
    off_axis: torch.Tensor
    shape: torch.Tensor
    expression: torch.Tensor
    residual: torch.Tensor
    """(B, 68, 2) model minus labels."""


class _Points:
    """The vertices that can be landmarks, one contiguous row per point, to make gathering cheap."""

    def __init__(self, model: HeadModule, convention: LabelConvention) -> None:
        self.slots = model.contour_indices.shape[1]
        used = torch.cat([model.contour_indices.flatten(), model.landmark_indices[JAW_COUNT:]])
        self.mean = model.mean[used]
        self.convention = convention
        basis = torch.cat([model.identity, model.expression])[:, used]
        self.basis = basis.permute(1, 2, 0).contiguous()  # (P, 3, C)
        self.first_slot = torch.arange(JAW_COUNT, device=used.device) * self.slots
        self.inner = torch.arange(JAW_COUNT * self.slots, len(used), device=used.device)

    def __call__(
        self, coefficients: torch.Tensor, camera: PerspectiveCamera,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the 68 points (B, 68, 3) m, head frame, and their rows in `basis` (B, 68)."""
        head = self.mean + (self.basis.flatten(0, 1) @ coefficients.mT).mT.unflatten(1, (-1, 3))
        seen = camera.project(head[:, :JAW_COUNT * self.slots] @ camera.rotation.mT)[0]
        jaw = self.first_slot + outermost_candidates(
            seen.unflatten(1, (JAW_COUNT, self.slots)), camera.rotation)
        index = torch.cat([jaw, self.inner.expand(len(head), -1)], dim=1)
        chosen = head.take_along_dim(index[..., None], dim=1)
        chosen[:, :JAW_COUNT] += self.convention.jaw_at(camera.rotation)
        chosen[:, JAW_COUNT:] += self.convention.inner_at(camera.rotation)
        return chosen, index


def solve(
    model: HeadModule, target: torch.Tensor, config: FitConfig, convention: LabelConvention,
    trust: torch.Tensor, focal: torch.Tensor | None = None,
    prior_rotation: torch.Tensor | None = None, prior_shape: torch.Tensor | None = None,
) -> Solution:
    """
    Fit to points in box units.

    :param model: the head model.
    :param target: (B, 68, 2) the labels, finite.
    :param config: weights of the fit.
    :param convention: displacements of the labels.
    :param trust: (B, 68) factors of the points' weights, 0 where a point is not labelled.
    :param focal: (B,) focal lengths in box units; None where they are unknown.
    :param prior_rotation: (B, 3, 3) such as a teacher's; None: no prior.
    :param prior_shape: (B, I) identity coefficients that are expected; None: 0.
    :return: the solution.
    """
    count, shapes = len(target), model.shape_count
    points = _Points(model, convention)
    labelled = trust > 0
    rotation, log_scale = _start(model, target, labelled)
    usual = -math.log(config.distance_m)
    camera = PerspectiveCamera(
        rotation if prior_rotation is None else prior_rotation.clone(), log_scale,
        target[:, SELLION].clone(), target.new_full((count,), usual),
        target.new_zeros(count, 2))
    expected = target.new_zeros(count, shapes + model.expression_count)
    if prior_shape is not None:
        expected[:, :shapes] = prior_shape
    coefficients = expected
    whitening = _whitening(target, config, labelled)
    prior = torch.diag(target.new_tensor(
        _prior_precision(model.expression_names, shapes, config)))
    if config.symmetry_sigma is not None:
        prior = prior + _asymmetry(model) / config.symmetry_sigma ** 2
    distance_prior = config.distance_sigma ** -2
    damping = torch.block_diag(1e-3 * torch.eye(POSE, device=target.device), prior)
    damping[INVERSE, INVERSE] += distance_prior
    # With a known camera the points have been rotated onto the axis.
    off_axis_prior = (config.off_axis_sigma if focal is None else ON_AXIS_SIGMA) ** -2
    damping[OFF_AXIS, OFF_AXIS] += off_axis_prior * torch.eye(2, device=target.device)
    direction = target.new_zeros(POSE)
    direction[SCALE], direction[INVERSE] = 1 / config.focal_sigma, -1 / config.focal_sigma
    focal_normal = torch.outer(direction, direction)

    for iteration in range(config.iterations):
        head, index = points(coefficients, camera)
        turned = head @ camera.rotation.mT
        seen, near, flat = camera.project(turned)
        residual = (whitening @ (seen - target)[..., None]).squeeze(-1)
        # Cauchy weights, robust against outliers.
        weight = trust / (1.0 + residual.square().sum(-1) / config.outlier_sigmas ** 2)
        pose, place = camera.jacobian(turned, near, flat)
        if iteration < config.pose_iterations:
            # Pose first, or identity would compensate for a wrong rotation.
            jacobian = whitening @ pose
        else:
            by_point = place @ camera.rotation[:, None]
            jacobian = whitening @ torch.cat([pose, by_point @ points.basis[index]], dim=-1)
        jacobian = jacobian.flatten(1, 2)
        weighted = (jacobian * weight.repeat_interleave(2, dim=1)[..., None]).mT
        normal = weighted @ jacobian + damping[:jacobian.shape[-1], :jacobian.shape[-1]]
        gradient = (weighted @ residual.flatten(1)[..., None]).squeeze(-1)
        gradient[:, INVERSE] += distance_prior * (camera.log_inverse - usual)
        gradient[:, OFF_AXIS] += off_axis_prior * camera.off_axis
        if prior_rotation is not None:
            precision = math.radians(config.prior_rotation_sigma_deg) ** -2
            normal[:, :3, :3] += precision * torch.eye(3, device=normal.device)
            gradient[:, :3] += precision * _rotation_vector(camera.rotation @ prior_rotation.mT)
        if focal is not None:
            # Ties scale and distance: focal = exp(log_scale - log_inverse).
            error = camera.log_scale - camera.log_inverse - focal.log()
            normal[:, :POSE, :POSE] += focal_normal
            gradient[:, SCALE] += error * config.focal_sigma ** -2
            gradient[:, INVERSE] -= error * config.focal_sigma ** -2
        if iteration < config.pose_iterations:
            camera = camera.moved(_solve(normal, -gradient))
            continue
        gradient[:, POSE:] += (coefficients - expected) @ prior
        step = _bounded_step(normal, gradient, coefficients[:, shapes:])
        camera = camera.moved(step[:, :POSE])
        coefficients = coefficients + step[:, POSE:]
        coefficients[:, shapes:] = coefficients[:, shapes:].clamp(0.0, 1.0)

    head, _ = points(coefficients, camera)
    residual = camera.project(head @ camera.rotation.mT)[0] - target
    return Solution(camera.rotation, camera.translation, camera.log_scale,
                    camera.log_inverse.exp(), camera.off_axis, coefficients[:, :shapes],
                    coefficients[:, shapes:], residual)


def _prior_precision(names: Sequence[str], shapes: int, config: FitConfig) -> list[float]:
    sigmas = [config.gaze_sigma if name.startswith('eyeLook') else config.expression_sigma
              for name in names]
    return [config.shape_sigma ** -2] * shapes + [sigma ** -2 for sigma in sigmas]


@lru_cache(maxsize=1)
def _asymmetry(model: HeadModule) -> torch.Tensor:
    """
    Return the quadratic form A (C, C) of asymmetry.

    c A c is the squared half difference of the coefficients c from those of the mirrored head.
    """
    mirror = HeadMirror.of(model)
    shapes, count = model.shape_count, model.shape_count + model.expression_count
    mirrored = np.eye(count)
    if mirror is not None:
        mirrored[:shapes, :shapes] = mirror.shape
        mirrored[shapes:, shapes:] = np.eye(model.expression_count)[:, mirror.expression]
    half = (np.eye(count) - mirrored) / 2
    return torch.from_numpy(half @ half.T).to(model.mean)


def _start(
    model: HeadModule, target: torch.Tensor, labelled: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Return the rotation (B, 3, 3) and log scale (B,) of an affine camera before the mean face.

    They follow from the labelled inner points; the rotation is accurate to about 15 degrees.
    """
    head = model.mean[model.landmark_indices[JAW_COUNT:]]
    weight = labelled[:, JAW_COUNT:, None].to(target)
    total = weight.sum(1, keepdim=True)
    image = target[:, JAW_COUNT:]
    image = weight * (image - (weight * image).sum(1, keepdim=True) / total)
    head = weight * (head - (weight * head).sum(1, keepdim=True) / total)
    affine = (torch.linalg.pinv(head) @ image).mT  # (B, 2, 3)
    u, size, vt = torch.linalg.svd(affine, full_matrices=False)
    rows = u @ vt
    rotation = torch.cat([rows, torch.linalg.cross(rows[:, 0], rows[:, 1])[:, None]], dim=1)
    # The rotation of half a face may start slightly averted.
    facing = rotation[:, 2, 0] < _MAX_AVERTED
    # The tight box of a frontal mean head has about this extent.
    extent = model.mean[model.landmark_indices, 1]
    usual = torch.log(2.0 / (extent.max() - extent.min()))
    return (torch.where(facing[:, None, None], rotation, target.new_tensor(FACING_CAMERA)),
            size.mean(1).log().clamp(usual - 0.7, usual + 0.7))


def _whitening(
    target: torch.Tensor, config: FitConfig, labelled: torch.Tensor,
) -> torch.Tensor:
    """
    Return matrices (B, 68, 2, 2) that scale the error of a point to standard deviations.

    Labels of jaw points are accurate across the outline, but not along it.
    """
    whitening = torch.eye(2, device=target.device).repeat(*target.shape[:2], 1, 1)
    whitening = whitening / config.landmark_sigma
    previous, following = [0, *range(JAW_COUNT - 1)], [*range(1, JAW_COUNT), JAW_COUNT - 1]
    # The ends of the labelled part of the jaw have one neighbour.
    before, after = (
        torch.where(labelled[:, near, None], target[:, near], target[:, :JAW_COUNT])
        for near in (previous, following))
    along = torch.nn.functional.normalize(after - before, dim=-1)
    across = torch.stack([-along[..., 1], along[..., 0]], dim=-1)
    whitening[:, :JAW_COUNT, 0] = across / config.jaw_sigma
    whitening[:, :JAW_COUNT, 1] = along / config.jaw_slide_sigma
    return whitening


def _rotation_vector(rotation: torch.Tensor) -> torch.Tensor:
    """Return the rotation vectors (B, 3) of rotations (B, 3, 3) that are far from a half turn."""
    skew = (rotation - rotation.mT) / 2
    vector = torch.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], dim=-1)
    sine = vector.norm(dim=-1, keepdim=True)
    cosine = ((rotation.diagonal(dim1=1, dim2=2).sum(-1, keepdim=True) - 1) / 2).clamp(-1, 1)
    return vector * torch.where(sine > 1e-4, torch.atan2(sine, cosine) / sine.clamp_min(1e-6), 1.0)


def _solve(matrix: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    return torch.cholesky_solve(vector[..., None], torch.linalg.cholesky(matrix)).squeeze(-1)


def _bounded_step(
    normal: torch.Tensor, gradient: torch.Tensor, expression: torch.Tensor, rounds: int = 3,
) -> torch.Tensor:
    """
    Return the step (B, C) that keeps the last coefficients, the expressions, in 0..1.

    An expression that would leave its range is fixed at the bound and the others are solved again:
    merely clipping the step would leave them inconsistent, and the fit would not converge.
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
        target = -(gradient + (normal @ shift[..., None]).squeeze(-1)) * free
        reduced = normal * free[:, None] * free[:, :, None] + torch.diag_embed(1 - free)
        step = _solve(reduced, target) + shift
    return step
