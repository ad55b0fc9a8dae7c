"""
Fit the head model to 2D landmarks: pose, identity and expression of labelled photographs.

Batched Levenberg-Marquardt under weak perspective, robustly weighted, with Gaussian priors on the
coefficients. The jaw of 2D-labelled sets slides on the visible contour, so its points are chosen
anew in every iteration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch

from trans3dhead_ros.geometry import FACING_CAMERA
from trans3dhead_ros.head_model import HeadModel, visible_contour
from trans3dhead_ros.landmarks import JAW_COUNT


@dataclass(frozen=True)
class FitConfig:
    """
    Weights of the fit; lengths are fractions of half the landmark box's longer side.

    :ivar landmark_sigma: expected error of an inner point. :ivar jaw_sigma: of a contour point.
    :ivar shape_sigma: prior of identity coefficients. :ivar expression_sigma: of expressions.
    :ivar gaze_sigma: of eye directions, which landmarks of the lids hardly tell.
    """

    landmark_sigma: float = 0.014
    jaw_sigma: float = 0.04
    shape_sigma: float = 1.0
    expression_sigma: float = 0.3
    gaze_sigma: float = 0.05
    iterations: int = 20
    batch: int = 128


@dataclass(frozen=True)
class Fit:
    """
    Fitted parameters of N faces, in box units: u = 2 (px - box centre) / longer side.

    :ivar rotation: (N, 3, 3) head -> camera. :ivar translation: (N, 2). :ivar log_scale: (N,) log
        of box units per metre. :ivar shape: (N, I). :ivar expression: (N, E) in 0..1.
    :ivar inner_error: (N,) mean distance of points 17-67 over sqrt(w h) of the landmark box.
    """

    rotation: torch.Tensor
    translation: torch.Tensor
    log_scale: torch.Tensor
    shape: torch.Tensor
    expression: torch.Tensor
    inner_error: torch.Tensor


def box_units(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return points (N, 68, 2) px in units of their own box, its centre (N, 2) and side (N,)."""
    low, high = points.amin(1), points.amax(1)
    centre, side = (low + high) / 2, (high - low).amax(1)
    return 2 * (points - centre[:, None]) / side[:, None, None], centre, side


def fit_landmarks(
    model: HeadModel, points: torch.Tensor, config: FitConfig = FitConfig(),
    offsets: torch.Tensor | None = None,
) -> Fit:
    """
    Fit to 2D points whose jaw lies on the visible contour.

    :param points: (N, 68, 2) px.
    :param offsets: (51, 3) m, head frame: where labellers put the inner points, seen from the
        model's landmarks (`measure_offsets`).
    :raises ValueError: for another shape or points not finite.
    """
    if points.ndim != 3 or tuple(points.shape[1:]) != (68, 2) or not points.isfinite().all():
        raise ValueError(f'points: expected finite (N, 68, 2), got {tuple(points.shape)}')
    if offsets is None:
        offsets = points.new_zeros(68 - JAW_COUNT, 3, dtype=model.mean.dtype)
    parts = [_fit_batch(model, batch, config, offsets)
             for batch in points.float().split(config.batch)]
    return Fit(*(torch.cat([getattr(part, field.name) for part in parts])
                 for field in fields(Fit)))


def measure_offsets(
    model: HeadModel, points: torch.Tensor, config: FitConfig = FitConfig(), rounds: int = 3,
) -> torch.Tensor:
    """
    Return (51, 3) m: the mean displacement of labelled inner points from the model's landmarks.

    Labellers and the model do not mean quite the same point (the inner ends of the brows differ by
    several millimetres); left alone, identity and pose would bend to explain it.

    :param points: (N, 68, 2) px of a few hundred faces labelled by hand.
    """
    offsets = points.new_zeros(68 - JAW_COUNT, 3, dtype=model.mean.dtype)
    target = box_units(points.float())[0][:, JAW_COUNT:]
    index = model.landmark_indices[JAW_COUNT:]
    for _ in range(rounds):
        fit = fit_landmarks(model, points, config, offsets)
        head = model.points_of(index, fit.shape, fit.expression) + offsets
        scale = fit.log_scale.exp()[:, None, None]
        missing = (target - fit.translation[:, None]) / scale - (head @ fit.rotation.mT)[..., :2]
        offsets = offsets + (missing @ fit.rotation[:, :2]).median(dim=0).values
    return offsets


def _prior_precision(names: Sequence[str], shapes: int, config: FitConfig) -> list[float]:
    sigmas = [config.gaze_sigma if name.startswith('eyeLook') else config.expression_sigma
              for name in names]
    return [config.shape_sigma ** -2] * shapes + [sigma ** -2 for sigma in sigmas]


def _fit_batch(
    model: HeadModel, points: torch.Tensor, config: FitConfig, offsets: torch.Tensor,
) -> Fit:
    target, _, _ = box_units(points)
    count, shapes, expressions = len(target), model.shape_count, model.expression_count
    # Only the points that can be landmarks, one contiguous row a point: gathering stays cheap.
    slots = model.contour_indices.shape[1]
    points_used = torch.cat([model.contour_indices.flatten(), model.landmark_indices[JAW_COUNT:]])
    mean = model.mean[points_used].clone()
    mean[-len(offsets):] += offsets
    basis = torch.cat([model.identity, model.expression])[:, points_used].permute(1, 2, 0)
    basis = basis.contiguous()  # (P, 3, C)
    first_slot = torch.arange(JAW_COUNT, device=mean.device) * slots
    inner = torch.arange(JAW_COUNT * slots, len(mean), device=mean.device)
    # The tight box of a facing mean head has about this extent: a start, nothing more.
    extent = model.mean[model.landmark_indices, 1]
    rotation = target.new_tensor(FACING_CAMERA).repeat(count, 1, 1)
    log_scale = torch.log(2.0 / (extent.max() - extent.min())).repeat(count)
    translation = target[:, 27].clone()
    coefficients = target.new_zeros(count, shapes + expressions)
    rotation = _start_rotation(model, target, rotation)

    sigma = target.new_full((68,), config.landmark_sigma)
    sigma[:JAW_COUNT] = config.jaw_sigma
    prior = target.new_tensor(_prior_precision(model.expression_names, shapes, config))
    damping = torch.cat([target.new_full((6,), 1e-3), prior])

    for iteration in range(config.iterations):
        head = mean + (basis.flatten(0, 1) @ coefficients.mT).mT.unflatten(1, (-1, 3))
        candidates = head[:, :JAW_COUNT * slots].unflatten(1, (JAW_COUNT, slots))
        jaw = first_slot + visible_contour(candidates, rotation)
        index = torch.cat([jaw, inner.expand(count, -1)], dim=1)  # (B, 68)
        local = basis[index]  # (B, 68, 3, C)
        head = head.take_along_dim(index[..., None], dim=1)
        turned = head @ rotation.mT
        scale = log_scale.exp()[:, None, None]
        residual = scale * turned[..., :2] + translation[:, None] - target

        a, b, c = turned.unbind(-1)
        zero, one = torch.zeros_like(a), torch.ones_like(a)
        # Rows are x and y; columns the rotation about the camera axes, log scale, translation.
        pose_x = torch.stack([zero, scale[..., 0] * c, -scale[..., 0] * b, scale[..., 0] * a,
                              one, zero], -1)
        pose_y = torch.stack([-scale[..., 0] * c, zero, scale[..., 0] * a, scale[..., 0] * b,
                              zero, one], -1)
        linear = scale[..., None] * (rotation[:, None, :2] @ local)
        jacobian = torch.cat([torch.stack([pose_x, pose_y], dim=2), linear], dim=-1)
        # Cauchy weights: a wrong point must not bend the face.
        distance = (residual / sigma[:, None]).square().sum(-1)
        weight = 1.0 / (sigma.square() * (1.0 + distance / 9.0))
        jacobian = jacobian.flatten(1, 2)
        weighted = (jacobian * weight.repeat_interleave(2, dim=1)[..., None]).mT
        normal = weighted @ jacobian
        gradient = (weighted @ residual.flatten(1)[..., None]).squeeze(-1)
        if iteration < 4:  # pose first, so that identity does not explain a wrong rotation
            step = coefficients.new_zeros(count, 6 + len(prior))
            step[:, :6] = -torch.linalg.solve(
                normal[:, :6, :6] + torch.diag(damping[:6] * 1e3), gradient[:, :6])
        else:
            gradient[:, 6:] += prior * coefficients
            full = normal + torch.diag(damping)
            # An expression at its bound that wants to leave it is held there (active set).
            held = _pushes_outwards(coefficients[:, shapes:], gradient[:, 6 + shapes:])
            full.diagonal(dim1=1, dim2=2)[:, 6 + shapes:] += 1e8 * held
            step = -torch.cholesky_solve(gradient[..., None],
                                         torch.linalg.cholesky(full)).squeeze(-1)
        rotation = _exp(step[:, :3].clamp(-0.5, 0.5)) @ rotation
        log_scale = log_scale + step[:, 3].clamp(-0.3, 0.3)
        translation = translation + step[:, 4:6]
        coefficients = coefficients + step[:, 6:]
        coefficients[:, shapes:] = coefficients[:, shapes:].clamp(0.0, 1.0)

    # The loop's last residual belongs to the parameters before the last, by then tiny, step.
    box = points.amax(1) - points.amin(1)
    half_side = box.amax(1) / 2
    error = residual[:, JAW_COUNT:].norm(dim=-1).mean(1) * half_side / box.prod(1).sqrt()
    return Fit(rotation, translation, log_scale, coefficients[:, :shapes],
               coefficients[:, shapes:], error)


def _start_rotation(
    model: HeadModel, target: torch.Tensor, facing: torch.Tensor,
) -> torch.Tensor:
    """Return the affine-camera rotation of the mean face's inner points: right to some 15 deg."""
    head = model.mean[model.landmark_indices[JAW_COUNT:]]
    head = head - head.mean(0)
    image = target[:, JAW_COUNT:] - target[:, JAW_COUNT:].mean(1, keepdim=True)
    affine = (torch.linalg.pinv(head) @ image).mT  # (B, 2, 3)
    u, _, vt = torch.linalg.svd(affine, full_matrices=False)
    rows = u @ vt
    rotation = torch.cat([rows, torch.linalg.cross(rows[:, 0], rows[:, 1])[:, None]], dim=1)
    towards_camera = rotation[:, 2, 0] < 0
    return torch.where(towards_camera[:, None, None], rotation, facing)


def _pushes_outwards(expression: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    return ((expression <= 0) & (gradient > 0)) | ((expression >= 1) & (gradient < 0))


def _exp(rotation_vector: torch.Tensor) -> torch.Tensor:
    """Return the rotations (B, 3, 3) of rotation vectors (B, 3)."""
    x, y, z = rotation_vector.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    return torch.linalg.matrix_exp(skew)
