"""
Fit the head model to 2D landmarks: pose, identity and expression of labelled photographs.

The camera of a cropped photograph is unknown. The fit therefore uses a perspective camera that
points at the centre of the landmark box. The distance of the head (`inverse_distance`) and the
offset of the crop from the optical axis (`off_axis`) are unknowns with priors: landmarks determine
them weakly, but neglecting them would bias the pose.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch

from trans3dhead_ros.geometry import mirrored, viewing_ray_rotation
from trans3dhead_ros.landmarks import COUNT, JAW_COUNT, MIRROR_68
from trans3dhead_ros.network.head_module import HeadModule, outermost_candidates
from trans3dhead_training.core.alignment import fit_weak_perspective
from trans3dhead_training.fitting.fit_camera import in_picture
from trans3dhead_training.fitting.fit_solver import FitConfig, Solution, solve
from trans3dhead_training.fitting.label_convention import (
    LabelConvention,
    fit_displacements,
    jaw_directions,
)

MIN_INNER_POINTS = 12
"""Labelled points among 17-67 that a fit needs."""


@dataclass(frozen=True)
class Fit:
    """
    Fitted parameters of N faces, in box units: u = 2 (px - box centre) / longer side.

    The weak-perspective camera (`rotation`, `translation`, `log_scale`) is what the network learns:
    u = exp(log_scale) (rotation @ head)[:2] + translation. The perspective one has the same
    rotation, p = rotation @ head and d = `inverse_distance`:
    u = (exp(perspective_log_scale) p[:2] + perspective_translation) / (1 + d p[2]).
    """

    rotation: torch.Tensor
    """(N, 3, 3) head -> camera, apparent: relative to the ray through the box centre."""
    translation: torch.Tensor
    """(N, 2) box units."""
    log_scale: torch.Tensor
    """(N,) log of box units per metre."""
    shape: torch.Tensor
    """(N, I) identity coefficients."""
    expression: torch.Tensor
    """(N, E) expression coefficients, 0..1."""
    inner_error: torch.Tensor
    """(N,) mean distance of points 17-67 over sqrt(w h) of the landmark box."""
    inverse_distance: torch.Tensor
    """(N,) 1/m, of the sellion's plane; 0 is an infinitely distant camera."""
    perspective_log_scale: torch.Tensor
    """(N,) log of box units per metre at the sellion's distance."""
    perspective_translation: torch.Tensor
    """(N, 2) box units."""
    off_axis: torch.Tensor
    """(N, 2) position of the box centre in the whole picture, relative to its centre, in focal
    lengths; off the axis a lens stretches heads (`in_picture`)."""

    def project(self, head: torch.Tensor) -> torch.Tensor:
        """Return points (N, P, 3) m of the head frame as (N, P, 2) box units, in perspective."""
        turned = head @ self.rotation.mT
        flat = (self.perspective_log_scale.exp()[:, None, None] * turned[..., :2]
                + self.perspective_translation[:, None])
        return flat / (1.0 + self.inverse_distance[:, None, None] * turned[..., 2:])

    def in_picture(self, head: torch.Tensor) -> torch.Tensor:
        """Return image points (N, P, 2): `project`, stretched off the axis."""
        focal = self.perspective_log_scale.exp() / self.inverse_distance
        return in_picture(self.project(head), self.off_axis, focal)

    def camera_translation(self) -> torch.Tensor:
        """Return the sellion (N, 3) m in the camera that points at the box centre."""
        across = self.perspective_translation / self.perspective_log_scale.exp()[:, None]
        return torch.cat([across, 1.0 / self.inverse_distance[:, None]], dim=-1)


def box_units(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    Convert points to units of their own box.

    :param points: (N, 68, 2) px, nan where a point is not labelled, which stays nan.
    :return: points (N, 68, 2) in box units, centre (N, 2) px and longer side (N,) px of the box.
    """
    low, high = _corners(points)
    centre, side = (low + high) / 2, (high - low).amax(1)
    return 2 * (points - centre[:, None]) / side[:, None, None], centre, side


def _corners(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    known = points.isfinite()
    return (torch.where(known, points, torch.inf).amin(1),
            torch.where(known, points, -torch.inf).amax(1))


def towards_box(
    points: torch.Tensor, camera: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Rotate the camera towards the centre of the points' box.

    Removes the stretch of a head off the axis of a wide lens, which no head model explains.

    :param points: (N, 68, 2) px, free of lens distortion.
    :param camera: (N, 3, 3) its intrinsics.
    :return: points (N, 68, 2) px with the principal point at 0, and the focal length (N,) px.
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
    model: HeadModule, points: torch.Tensor, config: FitConfig | None = None,
    convention: LabelConvention | None = None, trust: torch.Tensor | None = None,
    focal_px: torch.Tensor | None = None, prior_rotation: torch.Tensor | None = None,
    prior_shape: torch.Tensor | None = None,
) -> Fit:
    """
    Fit to 2D points whose jaw lies on the visible contour.

    :param model: the head model.
    :param points: (N, 68, 2) px, nan where a point is not labelled.
    :param config: None: the defaults.
    :param convention: displacements of the labels from the model's points (`measure_convention`);
        None: zero. The 3D jaw of the model does not move.
    :param trust: (N, 68) factor of each point's weight; 0 excludes it from the fit, but not from
        the box and from `inner_error`. All 1 by default.
    :param focal_px: (N,) focal length of the camera that points at the box centre, where it is
        known (`towards_box`).
    :param prior_rotation: (N, 3, 3) such as a teacher's, with
        `FitConfig.prior_rotation_sigma_deg`; None: no prior.
    :param prior_shape: (N, I) identity coefficients that are expected, such as those of the same
        person in other pictures, with `FitConfig.shape_sigma`; None: 0.
    :return: the fits.
    :raises ValueError: for a wrong shape, or a face with too few labelled points.
    """
    if points.ndim != 3 or tuple(points.shape[1:]) != (COUNT, 2):
        raise ValueError(f'points: expected (N, 68, 2), got {tuple(points.shape)}')
    labelled = points.isfinite().all(-1)
    if (labelled[:, JAW_COUNT:].sum(1) < MIN_INNER_POINTS).any():
        raise ValueError(f'points: a face has fewer than {MIN_INNER_POINTS} labelled inner points')
    config = config or FitConfig()
    if convention is None:
        convention = LabelConvention.zero(model.mean)
    if trust is None:
        trust = points.new_ones(points.shape[:2])
    if trust.shape != points.shape[:2]:
        raise ValueError(f'trust: expected {tuple(points.shape[:2])}, got {tuple(trust.shape)}')
    parts = []
    for start in range(0, len(points), config.batch):
        rows = slice(start, start + config.batch)
        focal, *priors = (None if values is None else values[rows].float()
                          for values in (focal_px, prior_rotation, prior_shape))
        parts.append(_fit_batch(model, points[rows].float(), config, convention,
                                (trust * labelled)[rows].float(), focal, *priors))
    return Fit(*(torch.cat([getattr(part, field.name) for part in parts])
                 for field in fields(Fit)))


def predict_labels(model: HeadModule, fit: Fit, convention: LabelConvention) -> torch.Tensor:
    """Return the labels that a fit predicts (N, 68, 2) box units, jaw on the visible contour."""
    return fit.in_picture(_labelled_points(model, fit, convention))


def _labelled_points(model: HeadModule, fit: Fit, convention: LabelConvention) -> torch.Tensor:
    """Return (N, 68, 3) m, head frame."""
    slots = model.contour_indices.shape[1]
    candidates = model.points_of(model.contour_indices.flatten(), fit.shape, fit.expression)
    chosen = outermost_candidates(
        fit.in_picture(candidates).unflatten(1, (JAW_COUNT, slots)), fit.rotation)
    jaw = candidates.unflatten(1, (JAW_COUNT, slots)).take_along_dim(
        chosen[..., None, None], dim=2).squeeze(2)
    inner = model.points_of(model.landmark_indices[JAW_COUNT:], fit.shape, fit.expression)
    return torch.cat([jaw + convention.jaw_at(fit.rotation),
                      inner + convention.inner_at(fit.rotation)], dim=1)


def leave_out_errors(
    model: HeadModule, points: torch.Tensor, convention: LabelConvention,
    generator: np.random.Generator, config: FitConfig | None = None, left_out: int = 5,
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Fit without some points of each face, and measure the error of the fit at these points.

    :param model: the head model.
    :param points: (N, 68, 2) px.
    :param convention: see `fit_landmarks`.
    :param generator: draws the points.
    :param config: None: the defaults.
    :param left_out: number of points of each face.
    :return: the points (N, left_out), and their errors (N, left_out) over sqrt(w h) of the
        landmark box.
    """
    chosen = torch.from_numpy(np.stack([generator.permutation(COUNT)[:left_out] for _ in points]))
    trust = points.new_ones(points.shape[:2]).scatter(1, chosen, 0.0)
    fit = fit_landmarks(model, points, config, convention, trust)
    target, _, side = box_units(points)
    away = predict_labels(model, fit, convention) - target
    away = away.norm(dim=-1) * side[:, None] / 2
    box = (points.amax(1) - points.amin(1)).prod(1).sqrt()
    return chosen, (away / box[:, None]).gather(1, chosen)


def measure_convention(
    model: HeadModule, points: torch.Tensor, config: FitConfig | None = None, rounds: int = 4,
    prior_rotation: torch.Tensor | None = None,
) -> LabelConvention:
    """
    Measure the displacements of labels from the model's landmarks and contour, in each pose.

    Without them the fit would change identity and pose instead. Inner points are displaced in any
    direction, jaw points along the jaw, because a displacement across it would be indistinguishable
    from another jaw. Left and right are assumed to be symmetric.

    :param model: the head model.
    :param points: (N, 68, 2) px of a few hundred faces, nan where a point is not labelled.
    :param config: None: the defaults.
    :param rounds: number of alternations between fits and displacements.
    :param prior_rotation: (N, 3, 3) such as a teacher's. Without it, a displacement that looks like
        a rotation of the head is taken for one.
    :return: the convention.
    """
    # With the mirror images half faces become whole ones.
    points = torch.cat([points, points[:, list(MIRROR_68)] * points.new_tensor([-1.0, 1.0])])
    if prior_rotation is not None:
        prior_rotation = torch.cat([prior_rotation, mirrored(prior_rotation)])
    target, labelled = box_units(points.float())[0], points.isfinite().all(-1)
    direction = jaw_directions(model.mean[model.landmark_indices[:JAW_COUNT]])
    jaw, inner = slice(JAW_COUNT), slice(JAW_COUNT, COUNT)
    convention = LabelConvention.zero(model.mean)
    for _ in range(rounds):
        fit = fit_landmarks(model, points, config, convention, prior_rotation=prior_rotation)
        head = _labelled_points(model, fit, convention)
        nearness = 1.0 + fit.inverse_distance[:, None, None] * (head @ fit.rotation.mT)[..., 2:]
        missing = ((target - fit.in_picture(head)) * nearness
                   / fit.perspective_log_scale.exp()[:, None, None])
        convention = LabelConvention(
            convention.inner + fit_displacements(
                missing[:, inner], labelled[:, inner], fit.rotation),
            convention.jaw + fit_displacements(
                missing[:, jaw], labelled[:, jaw], fit.rotation, direction)).symmetrized()
    return convention


def _fit_batch(
    model: HeadModule, points: torch.Tensor, config: FitConfig, convention: LabelConvention,
    trust: torch.Tensor, focal_px: torch.Tensor | None, prior_rotation: torch.Tensor | None,
    prior_shape: torch.Tensor | None,
) -> Fit:
    target, _, side = box_units(points)
    labelled = target.isfinite().all(-1)
    found = solve(model, torch.where(labelled[..., None], target, 0.0), config, convention, trust,
                  None if focal_px is None else 2 * focal_px / side, prior_rotation, prior_shape)
    low, high = _corners(points)
    box, inner = high - low, labelled[:, JAW_COUNT:]
    half_side = box.amax(1) / 2
    error = (found.residual[:, JAW_COUNT:].norm(dim=-1) * inner).sum(1) / inner.sum(1)
    error = error * half_side / box.prod(1).sqrt()
    log_scale, translation = _weak_perspective(model, found)
    return Fit(found.rotation, translation, log_scale, found.shape, found.expression, error,
               found.inverse_distance, found.log_scale, found.translation, found.off_axis)


def _weak_perspective(model: HeadModule, found: Solution) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log scale (B,) and translation (B, 2) closest to the perspective fit."""
    head = model.points_of(model.landmark_indices, found.shape, found.expression)
    turned = head @ found.rotation.mT
    flat = found.log_scale.exp()[:, None, None] * turned[..., :2] + found.translation[:, None]
    image = in_picture(flat / (1.0 + found.inverse_distance[:, None, None] * turned[..., 2:]),
                       found.off_axis, found.log_scale.exp() / found.inverse_distance)
    scale, translation = fit_weak_perspective(turned[..., :2], image)
    return scale.log(), translation
