"""
Metric pose of heads in front of a calibrated camera, with covariance.

The network estimates the head in a crop under weak perspective. Here the metric head (the landmarks
of the head model with the predicted shape and expression) is fitted to the 2D landmarks under full
perspective: minimise over R, t

    sum_i rho(|project(R p_i + t) - ray_i| / sigma_i),    rho = Huber

with undistorted rays. The initial rotation is that of the crop, rotated to its viewing ray, because
a head away from the image's centre appears rotated. Everything is batched over heads in NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trans3dhead_ros.geometry import rotation_from_vector, viewing_ray_rotation
from trans3dhead_ros.types import Array, BoolArray

_MIN_POINTS = 6
# Metres; smaller depths count as behind the camera.
_MIN_DEPTH = 1e-3
_MAX_ITERATIONS = 25
# Radians, and lengths relative to the depth: the step after the last trial. A Gauss-Newton step is
# in error by a small part of its length.
_LAST_STEP = 3e-5
_MAX_DAMPING = 1e6
# Standard deviations; larger residuals count linearly.
_HUBER_DELTA = 2.5
_DIAGONAL = np.arange(6)
_IDENTITY = np.eye(6)


@dataclass(frozen=True)
class PoseNoise:
    """Sources of uncertainty of a metric pose besides the landmarks."""

    head_size: float = 0.05
    """Relative standard deviation of the size of heads; it shifts them along their viewing ray."""
    position: float = 0.002
    """Lower bound of the standard deviation of the position, relative to the distance."""
    rotation: float = np.deg2rad(1.0)
    """Lower bound of the standard deviation of the rotation, rad: the errors of landmarks are
    correlated."""


@dataclass(frozen=True, eq=False)
class Poses:
    """Poses of B heads in the camera optical frame."""

    rotation: Array
    """(B, 3, 3) head -> camera."""
    translation: Array
    """(B, 3) m."""
    covariance: Array
    """(B, 6, 6) of (x, y, z, rotation about the fixed camera axes x, y, z): m², m·rad, rad²."""

    def __getitem__(self, chosen: Any) -> Poses:
        """Return the chosen poses (indices, a slice or a mask)."""
        return Poses(self.rotation[chosen], self.translation[chosen], self.covariance[chosen])

    @staticmethod
    def join(parts: list[Poses]) -> Poses:
        """Concatenate batches, at least one."""
        return Poses(*(np.concatenate([getattr(part, name) for part in parts])
                       for name in ('rotation', 'translation', 'covariance')))


def solve_poses(
    points: Array, rays: Array, sigma: Array, rotation: Array, centre: Array, depth: Array,
    noise: PoseNoise,
) -> Poses:
    """
    Fit rigid metric heads to their undistorted viewing rays.

    The result is always finite: where too few points are visible or the fit fails, it is the
    weak-perspective pose with a large covariance.

    :param points: (B, P, 3) m in the head frame.
    :param rays: (B, P, 2) x / z and y / z of each point; NaN excludes a point.
    :param sigma: (B, P) standard deviation of each ray coordinate.
    :param rotation: (B, 3, 3) weak-perspective rotation of each crop.
    :param centre: (B, 2) viewing ray of the centre of each crop.
    :param depth: (B,) m, weak-perspective depth of the head's origin, for the fallback.
    :param noise: what else is uncertain.
    :return: B poses.
    """
    start = viewing_ray_rotation(
        np.concatenate([centre, np.ones((len(centre), 1))], axis=1)) @ rotation
    if len(points) == 0:
        return weak_perspective_poses(start, centre, depth)
    seen = np.isfinite(rays).all(axis=-1) & np.isfinite(sigma) & (sigma > 0.0)
    rays = np.where(seen[..., None], rays, 0.0)
    inverse = np.where(seen, 1.0 / np.where(seen, sigma, 1.0), 0.0)
    with np.errstate(all='ignore'):
        points, rays = (np.ascontiguousarray(values.swapaxes(1, 2)) for values in (points, rays))
        fit = _refine(points, rays, inverse, start, _fit_translation(points, rays, inverse, start))
        covariance = _covariance(fit, seen, noise)
        good = ((seen.sum(axis=1) >= _MIN_POINTS) & fit.in_front
                & np.isfinite(fit.translation).all(axis=1)
                & np.isfinite(fit.rotation).all(axis=(1, 2))
                & np.isfinite(covariance).all(axis=(1, 2)))
        good &= np.linalg.eigvalsh(np.where(good[:, None, None], covariance, _IDENTITY))[:, 0] > 0.0
    if good.all():
        return Poses(fit.rotation, fit.translation, covariance)
    fallback = weak_perspective_poses(start, centre, depth)
    return Poses(
        np.where(good[:, None, None], fit.rotation, fallback.rotation),
        np.where(good[:, None], fit.translation, fallback.translation),
        np.where(good[:, None, None], covariance, fallback.covariance))


def weak_perspective_poses(rotation: Array, ray: Array, depth: Array) -> Poses:
    """
    Return poses of assumed depth, with standard deviations of 10° and half the depth.

    :param rotation: (B, 3, 3) head -> camera.
    :param ray: (B, 2) x / z and y / z of the head's origin.
    :param depth: (B,) m.
    :return: B poses.
    """
    translation = np.concatenate([ray, np.ones_like(ray[:, :1])], axis=1) * depth[:, None]
    covariance = np.zeros((len(depth), 6, 6))
    covariance[:, :3, :3] = 0.25 * translation[:, :, None] * translation[:, None, :]
    covariance[:, :3, :3] += (0.05 * depth[:, None, None]) ** 2 * np.eye(3)
    covariance[:, 3:, 3:] = np.deg2rad(10.0) ** 2 * np.eye(3)
    return Poses(rotation, translation, covariance)


@dataclass(frozen=True, eq=False)
class _Fit:
    """
    Poses of B heads, and the problem around them in linear form.

    Here and in the functions below, points are (B, 3, P) and rays (B, 2, P).
    """

    rotation: Array
    translation: Array
    cost: Array
    """(B,) Huber cost; infinite where a visible point lies behind the camera."""
    system: Array
    """(B, 7, 7) J Jᵀ for J (7, 2 P), the Jacobian with the residuals as a seventh row, both divided
    by sigma and multiplied by the square root of the Huber weight."""
    in_front: BoolArray
    """(B,) whether all points lie in front of the camera."""

    def where(self, chosen: BoolArray, other: _Fit) -> _Fit:
        """Return the chosen heads of this one, and the others of `other`."""
        if chosen.all():
            return self
        return _Fit(*(np.where(chosen.reshape(-1, *(1,) * (mine.ndim - 1)), mine, theirs)
                      for mine, theirs in zip(vars(self).values(), vars(other).values(),
                                              strict=True)))


def _fit_translation(points: Array, rays: Array, inverse: Array, rotation: Array) -> Array:
    """Return the translations (B, 3) that fit these rotations, by least squares of z ray = xy."""
    rotated = rotation @ points
    # For every point a row t_x - u t_z = u z_i - x_i, and the same for y.
    rows = np.zeros((len(points), 4, 2, points.shape[2]))
    rows[:, 0, 0] = rows[:, 1, 1] = inverse
    weighted = rays * inverse[:, None]
    np.negative(weighted, out=rows[:, 2])
    np.subtract(weighted * rotated[:, 2:], rotated[:, :2] * inverse[:, None], out=rows[:, 3])
    system = _gram(rows)
    return _solve(system[:, :3, :3], system[:, :3, 3])


def _refine(
    points: Array, rays: Array, inverse: Array, rotation: Array, translation: Array,
) -> _Fit:
    """Run Levenberg-Marquardt over the translation and the rotation about fixed axes."""
    damping = np.full(len(points), 1e-3)
    fit = _linearise(points, rays, inverse, rotation, translation)
    for _ in range(_MAX_ITERATIONS):
        damped = fit.system[:, :6, :6].copy()
        damped[:, _DIAGONAL, _DIAGONAL] *= 1.0 + damping[:, None]
        step = -_solve(damped, fit.system[:, :6, 6])
        size = np.abs(step)
        size[:, :3] /= np.maximum(np.abs(fit.translation[:, 2:]), _MIN_DEPTH)
        # A step that small hardly changes the linear form, and needs no trial.
        done = size.max(axis=1) < _LAST_STEP
        if (done | (damping > _MAX_DAMPING)).all():
            step = np.where(done[:, None], step, 0.0)
            return replace(fit, rotation=_rotate(step[:, 3:], fit.rotation),
                           translation=fit.translation + step[:, :3])
        trial = _linearise(points, rays, inverse, _rotate(step[:, 3:], fit.rotation),
                           fit.translation + step[:, :3])
        better = trial.cost <= fit.cost
        fit = trial.where(better, fit)
        damping = np.where(better, 0.1 * damping, 10.0 * damping)
    return fit


def _linearise(
    points: Array, rays: Array, inverse: Array, rotation: Array, translation: Array,
) -> _Fit:
    """Return the fit at a pose."""
    rotated = rotation @ points
    seen = rotated + translation[:, :, None]
    z = seen[:, 2:]
    behind = z < _MIN_DEPTH
    if behind.any():
        z = np.where(behind, _MIN_DEPTH, z)
    xy = seen[:, :2] / z
    residual = (xy - rays) * inverse[:, None]
    # The summand avoids 0 / 0, and disappears in any other length.
    size = np.hypot(residual[:, 0], residual[:, 1]) + 1e-300
    near = np.minimum(size, _HUBER_DELTA)
    cost = (near * (size - 0.5 * near)).sum(axis=1)
    if behind.any():
        cost = np.where((behind[:, 0] & (inverse > 0.0)).any(axis=1), np.inf, cost)
    # The square roots of the Huber weights.
    weight = np.sqrt(near / size)
    a, b, c = rotated[:, :1], rotated[:, 1:2], rotated[:, 2]
    per_metre = inverse * weight / z[:, 0]
    rows = np.zeros((len(points), 7, 2, points.shape[2]))
    rows[:, 0, 0] = rows[:, 1, 1] = per_metre
    along_z = np.multiply(xy, -per_metre[:, None], out=rows[:, 2])
    # A small rotation w about the fixed axes moves a point by w x (R p).
    np.multiply(along_z, b, out=rows[:, 3])
    np.multiply(along_z, -a, out=rows[:, 4])
    turned = per_metre * c
    rows[:, 3, 1] -= turned
    rows[:, 4, 0] += turned
    np.multiply(per_metre, -b[:, 0], out=rows[:, 5, 0])
    np.multiply(per_metre, a[:, 0], out=rows[:, 5, 1])
    np.multiply(residual, weight[:, None], out=rows[:, 6])
    return _Fit(rotation, translation, cost, _gram(rows), ~behind.any(axis=(1, 2)))


def _gram(rows: Array) -> Array:
    """Return the products (B, N, N) of the rows (B, N, 2, P) with one another."""
    flat = rows.reshape(*rows.shape[:2], -1)
    return flat @ flat.swapaxes(1, 2)


def _covariance(fit: _Fit, seen: BoolArray, noise: PoseNoise) -> Array:
    """Return covariances (B, 6, 6) from the Jacobian, the misfit and the noise."""
    freedom = np.maximum(2 * seen.sum(axis=1) - 6, 1)
    misfit = fit.system[:, 6, 6] / freedom
    # A poor fit increases the covariance; a good one does not reduce it.
    covariance = _solve(fit.system[:, :6, :6], np.tile(_IDENTITY, (len(misfit), 1, 1)))
    covariance = covariance * np.maximum(misfit, 1.0)[:, None, None]
    t = fit.translation
    distance = np.linalg.norm(t, axis=1)[:, None, None]
    # A head that is larger and farther away by the same factor looks the same.
    covariance[:, :3, :3] += noise.head_size ** 2 * t[:, :, None] * t[:, None, :]
    covariance[:, :3, :3] += (noise.position * distance) ** 2 * _IDENTITY[:3, :3]
    covariance[:, 3:, 3:] += noise.rotation ** 2 * _IDENTITY[:3, :3]
    return 0.5 * (covariance + covariance.swapaxes(-1, -2))


def _rotate(rotation_vector: Array, rotation: Array) -> Array:
    finite = np.where(np.isfinite(rotation_vector), rotation_vector, 0.0)
    return rotation_from_vector(finite) @ rotation


def _solve(matrix: Array, right: Array) -> Array:
    """Solve a batch of linear systems; singular ones give NaN instead of an exception for all."""
    vector = right.ndim == matrix.ndim - 1
    right = right[..., None] if vector else right
    try:
        solution = np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        solution = np.full(right.shape, np.nan)
        for i, (system, target) in enumerate(zip(matrix, right, strict=True)):
            try:
                solution[i] = np.linalg.solve(system, target)
            except np.linalg.LinAlgError:
                continue
    return solution[..., 0] if vector else solution
