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

from trans3dhead_ros.geometry import cayley_rotation, rotation_to_ray
from trans3dhead_ros.types import Array, BoolArray, IndexArray

_MIN_POINTS = 6
# Metres; smaller depths count as behind the camera.
_MIN_DEPTH = 1e-3
_MAX_ITERATIONS = 25
# Standard deviations of the pose: how far it may be from the minimum.
_TOLERANCE = 1e-3
_FIRST_DAMPING, _MAX_DAMPING = 1e-5, 1e6
# Standard deviations; larger residuals count linearly.
_HUBER_DELTA = 2.5
_IDENTITY = np.eye(6)


def _jacobian_of_features() -> Array:
    """
    Return by how much each feature of a point enters the Jacobian.

    A point R p = (a, b, c) that is seen at (x, y) with residuals e has the features 1 a b c, x xa
    xb xc, y ya yb yc, z e_x, z e_y. A small rotation w about the fixed axes moves it by w x (R p).

    :return: (14, 14): tx, ty, tz, wx, wy, wz, residual, each for x and y; times z.
    """
    rows = np.zeros((7, 2, 14))
    one, a, b, c, x, xa, xb, _, y, ya, yb, _, ex, ey = range(14)
    for row, entries in enumerate((
            ({one: 1}, {}), ({}, {one: 1}), ({x: -1}, {y: -1}),
            ({xb: -1}, {yb: -1, c: -1}), ({xa: 1, c: 1}, {ya: 1}), ({b: -1}, {a: 1}),
            ({ex: 1}, {ey: 1}))):
        for axis, terms in enumerate(entries):
            rows[row, axis, list(terms)] = list(terms.values())
    return rows.reshape(14, 14)


_JACOBIAN = _jacobian_of_features()


@dataclass(frozen=True)
class PoseNoise:
    """Sources of uncertainty of a metric pose besides independent errors of the landmarks."""

    head_size: float = 0.05
    """Relative standard deviation of the size of heads; it shifts them along their viewing ray."""
    position: float = 0.002
    """Lower bound of the standard deviation of the position, relative to the distance."""
    rotation: float = np.deg2rad(1.0)
    """Lower bound of the standard deviation of the rotation, rad."""
    landmark_correlation: float = 9.0
    """Factor on the covariance that independent errors of the landmarks would cause. Those of one
    head are alike: with 1, 33 % of the rotation errors of 288 turned photographs are inside their
    95 % ellipsoids and 58 % of those of 149 photographs, with 9 it is 93 and 97 %."""


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
    start = rotation_to_ray(centre) @ rotation
    if len(points) == 0:
        return weak_perspective_poses(start, centre, depth)
    with np.errstate(all='ignore'):
        landmarks = _Landmarks.of(points, rays, sigma)
        fit = _refine(landmarks, start, _fit_translation(landmarks, start))
        covariance = _covariance(fit, landmarks.count, noise)
        # What is not finite in a pose is not finite in its covariance either.
        good = ((landmarks.count >= _MIN_POINTS) & fit.in_front
                & _is_positive_definite(covariance))
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
class _Landmarks:
    """P landmarks of B heads."""

    points: Array
    """(B, 3, P) m in the head frame."""
    rays: Array
    """(B, 2, P)."""
    inverse: Array
    """(B, P) one over the standard deviations; 0 excludes a point."""
    count: IndexArray
    """(B,) number of points that are not excluded."""
    features: Array
    """(B, 14, P) what the Jacobian is made of, see `_JACOBIAN`; the ones are filled in."""

    @staticmethod
    def of(points: Array, rays: Array, sigma: Array) -> _Landmarks:
        """Prepare the arguments of `solve_poses`."""
        points, rays, inverse = points.swapaxes(1, 2), rays.swapaxes(1, 2), 1.0 / sigma
        seen = np.isfinite(rays.sum(axis=1) + inverse) & (inverse > 0.0)
        if not seen.all():
            rays, inverse = np.where(seen[:, None], rays, 0.0), np.where(seen, inverse, 0.0)
        features = np.empty((len(points), _JACOBIAN.shape[1], points.shape[2]))
        features[:, 0] = 1.0
        return _Landmarks(points, rays, inverse, seen.sum(axis=1), features)


@dataclass(frozen=True, eq=False)
class _Fit:
    """Poses of B heads, and the problem around them in linear form."""

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


def _fit_translation(landmarks: _Landmarks, rotation: Array) -> Array:
    """Return the translations (B, 3) that fit these rotations, by least squares of z ray = xy."""
    rotated = rotation @ landmarks.points
    # For every point a row t_x - u t_z = u z_i - x_i, and the same for y.
    rows = np.zeros((len(rotated), 4, 2, rotated.shape[2]))
    rows[:, 0, 0] = rows[:, 1, 1] = 1.0
    np.negative(landmarks.rays, out=rows[:, 2])
    np.subtract(landmarks.rays * rotated[:, 2:], rotated[:, :2], out=rows[:, 3])
    system = _gram(rows, landmarks.inverse ** 2)
    return _solve(system[:, :3, :3], system[:, :3, 3])


def _refine(landmarks: _Landmarks, rotation: Array, translation: Array) -> _Fit:
    """Run Levenberg-Marquardt over the translation and the rotation about fixed axes."""
    damping = np.full(len(rotation), _FIRST_DAMPING)
    before = np.full(len(rotation), _TOLERANCE ** 2)
    fit = _linearise(landmarks, rotation, translation)
    for _ in range(_MAX_ITERATIONS):
        gradient = fit.system[:, :6, 6]
        step = _solve(fit.system[:, :6, :6] * (1.0 + damping[:, None, None] * _IDENTITY), -gradient)
        # Squares of lengths in standard deviations of the pose. Steps shrink at about one rate,
        # so the next one tells the error of this one, which needs no trial where that is small.
        squared = -(step * gradient).sum(axis=1)
        done = squared * squared < _TOLERANCE ** 2 * before
        if (done | (damping > _MAX_DAMPING)).all():
            step = np.where(done[:, None], step, 0.0)
            return replace(fit, rotation=cayley_rotation(step[:, 3:]) @ fit.rotation,
                           translation=fit.translation + step[:, :3])
        trial = _linearise(landmarks, cayley_rotation(step[:, 3:]) @ fit.rotation,
                           fit.translation + step[:, :3])
        better = trial.cost <= fit.cost
        fit = trial.where(better, fit)
        damping = damping * np.where(better, 0.1, 10.0)
        before = np.where(better, squared, _TOLERANCE ** 2)
    return fit


def _linearise(landmarks: _Landmarks, rotation: Array, translation: Array) -> _Fit:
    """Return the fit at a pose."""
    features, inverse = landmarks.features, landmarks.inverse
    rotated = np.matmul(rotation, landmarks.points, out=features[:, 1:4])
    seen = rotated + translation[:, :, None]
    z = seen[:, 2:]
    in_front = np.ones(len(seen), bool)
    if behind := z.min() < _MIN_DEPTH:
        hidden = z[:, 0] < _MIN_DEPTH
        in_front, z = ~hidden.any(axis=1), np.maximum(z, _MIN_DEPTH)
    xy = seen[:, :2] / z
    residual = xy - landmarks.rays
    np.multiply(residual, z, out=features[:, 12:])
    np.multiply(xy[:, :, None], features[:, None, :4],
                out=features[:, 4:12].reshape(len(xy), 2, 4, -1))
    size = np.hypot(residual[:, 0], residual[:, 1]) * inverse
    huber_weight = _HUBER_DELTA / np.maximum(size, _HUBER_DELTA)
    system = _gram((_JACOBIAN @ features).reshape(len(xy), 7, 2, -1),
                   (inverse / z[:, 0]) ** 2 * huber_weight)
    # The sum of near (size - near / 2), where near = huber_weight size.
    cost = system[:, 6, 6] - 0.5 * ((huber_weight * size) ** 2).sum(axis=1)
    if behind:
        cost = np.where((hidden & (inverse > 0.0)).any(axis=1), np.inf, cost)
    return _Fit(rotation, translation, cost, system, in_front)


def _gram(rows: Array, weight: Array) -> Array:
    """Return the products (B, N, N) of the rows (B, N, 2, P), with weights (B, P) of points."""
    weighted = (rows * weight[:, None, None]).reshape(*rows.shape[:2], -1)
    return weighted @ rows.reshape(weighted.shape).swapaxes(1, 2)


def _covariance(fit: _Fit, count: IndexArray, noise: PoseNoise) -> Array:
    """Return covariances (B, 6, 6) from the Jacobian, the misfit of the points and the noise."""
    misfit = fit.system[:, 6, 6] / np.maximum(2 * count - 6, 1)
    # A poor fit increases the covariance; a good one does not reduce it.
    covariance = _solve(fit.system[:, :6, :6], np.tile(_IDENTITY, (len(misfit), 1, 1)))
    covariance *= (noise.landmark_correlation * np.maximum(misfit, 1.0))[:, None, None]
    t = fit.translation
    # A head that is larger and farther away by the same factor looks the same.
    covariance[:, :3, :3] += noise.head_size ** 2 * t[:, :, None] * t[:, None, :]
    covariance[:, :3, :3] += (
        noise.position ** 2 * (t * t).sum(axis=1))[:, None, None] * _IDENTITY[:3, :3]
    covariance[:, 3:, 3:] += noise.rotation ** 2 * _IDENTITY[:3, :3]
    return 0.5 * (covariance + covariance.swapaxes(-1, -2))


def _is_positive_definite(matrices: Array) -> BoolArray:
    """Return (B,) which of the symmetric (B, N, N) are."""
    try:
        return np.isfinite(np.linalg.cholesky(matrices)).all(axis=(1, 2))
    except np.linalg.LinAlgError:
        finite = np.isfinite(matrices).all(axis=(1, 2))
        matrices = np.where(finite[:, None, None], matrices, np.eye(matrices.shape[1]))
        return finite & (np.linalg.eigvalsh(matrices)[:, 0] > 0.0)


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
