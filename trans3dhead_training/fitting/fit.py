"""
Fit the head model to 2D landmarks: pose, identity and expression of labelled photographs.

A photograph of a face is a crop, and nobody says of which camera. So the fit has a perspective
camera that looks at the middle of the landmark box. How near the head is (`inverse_distance`), and
how far from the middle of the whole picture the crop was taken (`off_axis`), are unknowns with
priors: points tell them weakly, but left out they would bend the pose.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import viewing_ray_rotation
from trans3dhead_ros.head_model import HeadModel, outermost_candidates
from trans3dhead_ros.landmarks import COUNT, JAW_COUNT, MIRROR_68
from trans3dhead_training.core.alignment import fit_weak_perspective
from trans3dhead_training.fitting.contour import (
    jaw_displacement,
    jaw_offset_step,
)
from trans3dhead_training.fitting.fit_camera import in_picture
from trans3dhead_training.fitting.solver import FitConfig, Solution, solve


@dataclass(frozen=True)
class Fit:
    """
    Fitted parameters of N faces, in box units: u = 2 (px - box centre) / longer side.

    The weak-perspective camera (`rotation`, `translation`, `log_scale`) is what the network learns:
    u = exp(log_scale) (rotation @ head)[:2] + translation. The perspective one has the same
    rotation, p = rotation @ head and d = `inverse_distance`:
    u = (exp(perspective_log_scale) p[:2] + perspective_translation) / (1 + d p[2]).

    :ivar rotation: (N, 3, 3) head -> camera, apparent: of the ray through the box's centre.
    :ivar translation: (N, 2). :ivar log_scale: (N,) log of box units per metre.
    :ivar shape: (N, I). :ivar expression: (N, E) in 0..1.
    :ivar inner_error: (N,) mean distance of points 17-67 over sqrt(w h) of the landmark box.
    :ivar inverse_distance: (N,) 1/m, of the sellion's plane; 0 is a camera infinitely far.
    :ivar perspective_log_scale: (N,). :ivar perspective_translation: (N, 2).
    :ivar off_axis: (N, 2) where the middle of the box lies in the whole picture, from its middle,
        in focal lengths. There a lens draws heads out (`in_picture`).
    """

    rotation: torch.Tensor
    translation: torch.Tensor
    log_scale: torch.Tensor
    shape: torch.Tensor
    expression: torch.Tensor
    inner_error: torch.Tensor
    inverse_distance: torch.Tensor
    perspective_log_scale: torch.Tensor
    perspective_translation: torch.Tensor
    off_axis: torch.Tensor

    def project(self, head: torch.Tensor) -> torch.Tensor:
        """Return points (N, P, 3) m of the head frame as (N, P, 2) box units, in perspective."""
        turned = head @ self.rotation.mT
        flat = (self.perspective_log_scale.exp()[:, None, None] * turned[..., :2]
                + self.perspective_translation[:, None])
        return flat / (1.0 + self.inverse_distance[:, None, None] * turned[..., 2:])

    def in_picture(self, head: torch.Tensor) -> torch.Tensor:
        """Return where the picture shows them (N, P, 2): `project`, drawn out off the axis."""
        focal = self.perspective_log_scale.exp() / self.inverse_distance
        return in_picture(self.project(head), self.off_axis, focal)

    def camera_translation(self) -> torch.Tensor:
        """Return (N, 3) m: the sellion in the camera that looks at the box's centre."""
        across = self.perspective_translation / self.perspective_log_scale.exp()[:, None]
        return torch.cat([across, 1.0 / self.inverse_distance[:, None]], dim=-1)


def box_units(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return points (N, 68, 2) px in units of their own box, its centre (N, 2) and side (N,)."""
    low, high = points.amin(1), points.amax(1)
    centre, side = (low + high) / 2, (high - low).amax(1)
    return 2 * (points - centre[:, None]) / side[:, None, None], centre, side


def towards_box(
    points: torch.Tensor, camera: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Return the points as a camera at the same place sees them that looks at their box's middle.

    Off the axis of a wide lens a head is drawn out, and no head model should have to explain that.

    :param points: (N, 68, 2) px, free of lens distortion. :param camera: (N, 3, 3) its intrinsics.
    :return: (N, 68, 2) px with the principal point at 0, and the focal length (N,) px, the same.
    """
    rays = torch.cat([points, torch.ones_like(points[..., :1])], -1).double()
    rays = rays @ torch.linalg.inv(camera.double()).mT
    low, high = rays.amin(1), rays.amax(1)
    turn = np.stack([viewing_ray_rotation(ray) for ray in ((low + high) / 2).numpy()])
    rays = rays @ torch.from_numpy(turn)  # the inverse rotation, of rows
    focal = camera[:, 0, 0]
    seen = rays[..., :2] / rays[..., 2:]
    return (focal[:, None, None] * seen).to(points.dtype), focal.to(points.dtype)


def fit_landmarks(
    model: HeadModel, points: torch.Tensor, config: FitConfig | None = None,
    offsets: torch.Tensor | None = None, trust: torch.Tensor | None = None,
    focal_px: torch.Tensor | None = None, jaw_offsets: torch.Tensor | None = None,
) -> Fit:
    """
    Fit to 2D points whose jaw lies on the visible contour.

    :param points: (N, 68, 2) px. :param config: None is `FitConfig()`.
    :param offsets: (51, 3) m, head frame: where labellers put the inner points, seen from the
        model's landmarks (`measure_offsets`).
    :param trust: (N, 68) factor of each point's weight, 0 leaves it out of the fit (not of the
        box and of `inner_error`); all 1 by default.
    :param focal_px: (N,) focal length of the camera that looks at the middle of the box, where it
        is known: that of `towards_box`.
    :param jaw_offsets: (2, 17, 3) m: the same for the points of the visible contour
        (`jaw_displacement`). The 3D jaw of the model stays where it is.
    :raises ValueError: for another shape or points not finite.
    """
    if points.ndim != 3 or tuple(points.shape[1:]) != (COUNT, 2) or not points.isfinite().all():
        raise UserError(f'points: expected finite (N, 68, 2), got {tuple(points.shape)}')
    config = config or FitConfig()
    if offsets is None:
        offsets = points.new_zeros(COUNT - JAW_COUNT, 3, dtype=model.mean.dtype)
    if trust is None:
        trust = points.new_ones(points.shape[:2])
    if trust.shape != points.shape[:2]:
        raise UserError(f'trust: expected {tuple(points.shape[:2])}, got {tuple(trust.shape)}')
    focal = points.new_full(points.shape[:1], float('nan')) if focal_px is None else focal_px
    parts = [_fit_batch(model, batch, config, offsets, weight,
                        None if focal_px is None else lengths, jaw_offsets)
             for batch, weight, lengths in zip(
                 *(tensor.float().split(config.batch) for tensor in (points, trust, focal)),
                 strict=True)]
    return Fit(*(torch.cat([getattr(part, field.name) for part in parts])
                 for field in fields(Fit)))


def fitted_points(
    model: HeadModel, fit: Fit, offsets: torch.Tensor, jaw_offsets: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return (N, 68, 2) box units: where the fit has the labels, jaw on the visible contour."""
    return fit.in_picture(_labelled_points(model, fit, offsets, jaw_offsets))


def _labelled_points(
    model: HeadModel, fit: Fit, offsets: torch.Tensor, jaw_offsets: torch.Tensor | None,
) -> torch.Tensor:
    """Return (N, 68, 3) m, head frame."""
    slots = model.contour_indices.shape[1]
    candidates = model.points_of(model.contour_indices.flatten(), fit.shape, fit.expression)
    chosen = outermost_candidates(
        fit.in_picture(candidates).unflatten(1, (JAW_COUNT, slots)), fit.rotation)
    jaw = candidates.unflatten(1, (JAW_COUNT, slots)).take_along_dim(
        chosen[..., None, None], dim=2).squeeze(2)
    if jaw_offsets is not None:
        jaw = jaw + jaw_displacement(jaw_offsets, fit.rotation)
    inner = model.points_of(model.landmark_indices[JAW_COUNT:], fit.shape, fit.expression)
    return torch.cat([jaw, inner + offsets], dim=1)


def left_out_errors(
    model: HeadModel, points: torch.Tensor, offsets: torch.Tensor, generator: np.random.Generator,
    config: FitConfig | None = None, left_out: int = 5, jaw_offsets: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Fit without some points of each face, and see where the fit expects them.

    :param points: (N, 68, 2) px.
    :return: which were left out (N, left_out), and how far off they are (N, left_out), of
        sqrt(w h) of the landmark box.
    """
    chosen = torch.from_numpy(np.stack([generator.permutation(COUNT)[:left_out] for _ in points]))
    trust = points.new_ones(points.shape[:2]).scatter(1, chosen, 0.0)
    fit = fit_landmarks(model, points, config, offsets, trust, jaw_offsets=jaw_offsets)
    target, _, side = box_units(points)
    away = fitted_points(model, fit, offsets, jaw_offsets) - target
    away = away.norm(dim=-1) * side[:, None] / 2
    box = (points.amax(1) - points.amin(1)).prod(1).sqrt()
    return chosen, (away / box[:, None]).gather(1, chosen)


def measure_offsets(
    model: HeadModel, points: torch.Tensor, config: FitConfig | None = None, rounds: int = 4,
) -> torch.Tensor:
    """Return (51, 3) m: the inner points' part of `measure_displacements`."""
    return measure_displacements(model, points, config, rounds)[0]


def measure_displacements(
    model: HeadModel, points: torch.Tensor, config: FitConfig | None = None, rounds: int = 4,
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Measure the usual displacement of labelled points from the model's landmarks and contour.

    Labellers and the model do not mean quite the same point (the inner ends of the brows differ by
    several millimetres, jaw points are spaced differently along the contour); left alone, identity
    and pose would bend to explain it. Left and right are taken to be displaced alike.

    :param points: (N, 68, 2) px of a few hundred faces labelled by hand.
    :return: `offsets` (51, 3) and `jaw_offsets` (2, 17, 3) m of `fit_landmarks`.
    """
    offsets = points.new_zeros(COUNT - JAW_COUNT, 3, dtype=model.mean.dtype)
    jaw_offsets = points.new_zeros(2, JAW_COUNT, 3, dtype=model.mean.dtype)
    target = box_units(points.float())[0]
    for _ in range(rounds):
        fit = fit_landmarks(model, points, config, offsets, jaw_offsets=jaw_offsets)
        head = _labelled_points(model, fit, offsets, jaw_offsets)
        nearness = 1.0 + fit.inverse_distance[:, None, None] * (head @ fit.rotation.mT)[..., 2:]
        missing = ((target - fit.in_picture(head)) * nearness
                   / fit.perspective_log_scale.exp()[:, None, None])
        jaw, inner = missing.split([JAW_COUNT, COUNT - JAW_COUNT], dim=1)
        offsets = offsets + (inner @ fit.rotation[:, :2]).median(dim=0).values
        jaw_offsets = jaw_offsets + jaw_offset_step(
            jaw, fit.rotation, model.mean[model.landmark_indices[:JAW_COUNT]])
        offsets, jaw_offsets = _symmetric(offsets, jaw_offsets)
    return offsets, jaw_offsets


def _symmetric(
    offsets: torch.Tensor, jaw_offsets: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    other = torch.tensor(MIRROR_68, device=offsets.device)
    flip = offsets.new_tensor([1.0, -1.0, 1.0])
    # A mirrored face looks to the other side.
    turned = offsets.new_tensor([1.0, -1.0])[:, None, None]
    return ((offsets + flip * offsets[other[JAW_COUNT:] - JAW_COUNT]) / 2,
            (jaw_offsets + turned * flip * jaw_offsets[:, other[:JAW_COUNT]]) / 2)


def _fit_batch(
    model: HeadModel, points: torch.Tensor, config: FitConfig, offsets: torch.Tensor,
    trust: torch.Tensor, focal_px: torch.Tensor | None, jaw_offsets: torch.Tensor | None,
) -> Fit:
    target, _, side = box_units(points)
    found = solve(model, target, config, offsets, trust,
                  None if focal_px is None else 2 * focal_px / side, jaw_offsets)
    box = points.amax(1) - points.amin(1)
    half_side = box.amax(1) / 2
    error = found.residual[:, JAW_COUNT:].norm(dim=-1).mean(1) * half_side / box.prod(1).sqrt()
    log_scale, translation = _weak_perspective(model, found)
    return Fit(found.rotation, translation, log_scale, found.shape, found.expression, error,
               found.inverse_distance, found.log_scale, found.translation, found.off_axis)


def _weak_perspective(model: HeadModel, found: Solution) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log scale (B,) and translation (B, 2) that land the 68 points nearest the fit's."""
    head = model.points_of(model.landmark_indices, found.shape, found.expression)
    turned = head @ found.rotation.mT
    flat = found.log_scale.exp()[:, None, None] * turned[..., :2] + found.translation[:, None]
    image = in_picture(flat / (1.0 + found.inverse_distance[:, None, None] * turned[..., 2:]),
                       found.off_axis, found.log_scale.exp() / found.inverse_distance)
    scale, translation = fit_weak_perspective(turned[..., :2], image)
    return scale.log(), translation
