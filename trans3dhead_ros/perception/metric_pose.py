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

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from trans3dhead_ros.geometry import viewing_ray_rotation
from trans3dhead_ros.types import Array

_MIN_POINTS = 6
# Metres; smaller depths count as behind the camera.
_MIN_DEPTH = 1e-3
_MAX_ITERATIONS = 25
# Standard deviations; larger residuals count linearly.
_HUBER_DELTA = 2.5


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
    start = np.stack([
        viewing_ray_rotation([*ray, 1.0]) @ apparent
        for ray, apparent in zip(centre, rotation, strict=True)
    ]) if len(points) else np.zeros((0, 3, 3))
    seen = np.isfinite(rays).all(axis=-1) & np.isfinite(sigma) & (sigma > 0.0)
    rays = np.where(seen[..., None], rays, 0.0)
    inverse = np.where(seen, 1.0 / np.where(seen, sigma, 1.0), 0.0)
    with np.errstate(all='ignore'):
        fit = _refine(points, rays, inverse, start, _fit_translation(points, rays, inverse, start))
        covariance = _covariance(points, rays, inverse, fit, noise)
        good = (
            (seen.sum(axis=1) >= _MIN_POINTS)
            & np.isfinite(fit.translation).all(axis=1) & np.isfinite(fit.rotation).all(axis=(1, 2))
            & np.isfinite(covariance).all(axis=(1, 2))
            & (_camera_points(points, fit.rotation, fit.translation)[..., 2] > _MIN_DEPTH).all(1)
        )
        good &= np.linalg.eigvalsh(np.where(good[:, None, None], covariance, np.eye(6)))[:, 0] > 0.0
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
    rotation: Array
    translation: Array


def _camera_points(points: Array, rotation: Array, translation: Array) -> Array:
    return points @ rotation.swapaxes(-1, -2) + translation[:, None, :]


def _fit_translation(points: Array, rays: Array, inverse: Array, rotation: Array) -> Array:
    """Return the translations (B, 3) that fit these rotations, by least squares of z ray = xy."""
    rotated = points @ rotation.swapaxes(-1, -2)
    # For every point a row t_x - u t_z = u z_i - x_i, and the same for y.
    weight = inverse ** 2
    u, v = rays[..., 0], rays[..., 1]
    right_x, right_y = (rays * rotated[..., 2:] - rotated[..., :2]).transpose(2, 0, 1)
    total, su, sv = weight.sum(1), (weight * u).sum(1), (weight * v).sum(1)
    zero = np.zeros_like(total)
    normal = np.stack([
        np.stack([total, zero, -su], -1), np.stack([zero, total, -sv], -1),
        np.stack([-su, -sv, (weight * (u ** 2 + v ** 2)).sum(1)], -1)], axis=1)
    target = np.stack([
        (weight * right_x).sum(1), (weight * right_y).sum(1),
        -(weight * (u * right_x + v * right_y)).sum(1)], axis=-1)
    return _solve(normal, target)


def _refine(
    points: Array, rays: Array, inverse: Array, rotation: Array, translation: Array,
) -> _Fit:
    """Run Levenberg-Marquardt over the translation and the rotation about fixed axes."""
    damping = np.full(len(points), 1e-3)
    cost, residual, jacobian = _linearise(points, rays, inverse, rotation, translation)
    for _ in range(_MAX_ITERATIONS):
        if len(points) == 0:
            break
        weighted = jacobian * _huber_weight(residual)[..., None, None]
        normal = np.einsum('bpki,bpkj->bij', weighted, jacobian)
        gradient = np.einsum('bpki,bpk->bi', weighted, residual)
        diagonal = np.einsum('bii->bi', normal)
        damped = normal + (damping[:, None] * diagonal)[:, :, None] * np.eye(6)
        step = -_solve(damped, gradient)
        new_translation = translation + step[:, :3]
        new_rotation = _rotate(step[:, 3:], rotation)
        trial = _linearise(points, rays, inverse, new_rotation, new_translation)
        better = trial[0] <= cost
        rotation = np.where(better[:, None, None], new_rotation, rotation)
        translation = np.where(better[:, None], new_translation, translation)
        cost = np.where(better, trial[0], cost)
        residual = np.where(better[:, None, None], trial[1], residual)
        jacobian = np.where(better[:, None, None, None], trial[2], jacobian)
        damping = np.where(better, 0.1 * damping, 10.0 * damping)
        relative = np.abs(step[:, :3]).max(1) / np.maximum(np.abs(translation[:, 2]), _MIN_DEPTH)
        done = better & (relative < 1e-5) & (np.abs(step[:, 3:]).max(1) < 1e-5)
        if (done | (damping > 1e6)).all():
            break
    return _Fit(rotation, translation)


def _linearise(
    points: Array, rays: Array, inverse: Array, rotation: Array, translation: Array,
) -> tuple[Array, Array, Array]:
    """
    Return the Huber cost (B,), residuals (B, P, 2) and Jacobian (B, P, 2, 6), divided by sigma.

    The cost is infinite where a point lies behind the camera.
    """
    rotated = points @ rotation.swapaxes(-1, -2)
    x, y, z = (rotated + translation[:, None, :]).transpose(2, 0, 1)
    behind = z < _MIN_DEPTH
    z = np.where(behind, _MIN_DEPTH, z)
    residual = (np.stack([x / z, y / z], -1) - rays) * inverse[..., None]
    size = np.linalg.norm(residual, axis=-1)
    huber = np.where(
        size < _HUBER_DELTA, 0.5 * size ** 2, _HUBER_DELTA * (size - 0.5 * _HUBER_DELTA))
    cost = np.where((behind & (inverse > 0.0)).any(axis=1), np.inf, huber.sum(axis=1))
    jacobian = np.zeros((*residual.shape, 6))
    jacobian[..., 0, 0] = jacobian[..., 1, 1] = 1.0 / z
    jacobian[..., 0, 2] = -x / z ** 2
    jacobian[..., 1, 2] = -y / z ** 2
    # A small rotation w about the fixed axes moves a point by w x (R p).
    a, b, c = rotated.transpose(2, 0, 1)
    jx, jy = jacobian[..., 0, 2], jacobian[..., 1, 2]
    jacobian[..., 0, 3], jacobian[..., 1, 3] = jx * b, -c / z + jy * b
    jacobian[..., 0, 4], jacobian[..., 1, 4] = c / z - jx * a, -jy * a
    jacobian[..., 0, 5], jacobian[..., 1, 5] = -b / z, a / z
    return cost, residual, jacobian * inverse[..., None, None]


def _huber_weight(residual: Array) -> Array:
    return np.minimum(1.0, _HUBER_DELTA / np.maximum(np.linalg.norm(residual, axis=-1), 1e-12))


def _covariance(points: Array, rays: Array, inverse: Array, fit: _Fit, noise: PoseNoise) -> Array:
    """Return covariances (B, 6, 6) from the Jacobian, the misfit and the noise."""
    _, residual, jacobian = _linearise(points, rays, inverse, fit.rotation, fit.translation)
    weight = _huber_weight(residual)
    weighted = jacobian * weight[..., None, None]
    normal = np.einsum('bpki,bpkj->bij', weighted, jacobian)
    freedom = np.maximum(2 * (inverse > 0.0).sum(axis=1) - 6, 1)
    misfit = (weight[..., None] * residual ** 2).sum(axis=(1, 2)) / freedom
    # A poor fit increases the covariance; a good one does not reduce it.
    covariance = _solve(normal, np.broadcast_to(np.eye(6), normal.shape))
    covariance = covariance * np.maximum(misfit, 1.0)[:, None, None]
    t = fit.translation
    distance = np.linalg.norm(t, axis=1)[:, None, None]
    # A head that is larger and farther away by the same factor looks the same.
    covariance[:, :3, :3] += noise.head_size ** 2 * t[:, :, None] * t[:, None, :]
    covariance[:, :3, :3] += (noise.position * distance) ** 2 * np.eye(3)
    covariance[:, 3:, 3:] += noise.rotation ** 2 * np.eye(3)
    return 0.5 * (covariance + covariance.swapaxes(-1, -2))


def _rotate(rotation_vector: Array, rotation: Array) -> Array:
    finite = np.where(np.isfinite(rotation_vector), rotation_vector, 0.0)
    return Rotation.from_rotvec(finite).as_matrix() @ rotation


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
