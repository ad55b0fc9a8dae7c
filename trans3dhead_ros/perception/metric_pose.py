"""
Metric pose: where the head is in front of a calibrated camera, and how sure that is.

The network answers for a crop, under weak perspective. Here the *metric* head (the landmarks of the
head model with the predicted shape and expression) is fitted to its 2D evidence under true
perspective: minimise over R, t

    sum_i rho(|project(R p_i + t) - ray_i| / sigma_i),    rho = Huber

with rays free of lens distortion. The start is the crop's rotation turned to the viewing ray,
because a crop seen off-centre looks rotated. Everything is batched over heads in NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from trans3dhead_ros.geometry import viewing_ray_rotation
from trans3dhead_ros.types import Array

_MIN_POINTS = 6
#: Nearer than this, metres, a point cannot be seen by any lens that the models describe.
_NEAREST = 1e-3
_MAX_ITERATIONS = 25
#: Residuals beyond this many standard deviations count linearly.
_HUBER_DELTA = 2.5


@dataclass(frozen=True)
class PoseNoise:
    """What is uncertain about a metric pose besides the landmarks."""

    #: Standard deviation of people's head size relative to the model's: moves a head along its ray.
    head_size: float = 0.05
    #: Floor of the standard deviation of the position, relative to the distance.
    position: float = 0.002
    #: Floor of the standard deviation of the rotation, rad: landmarks do not err independently.
    rotation: float = np.deg2rad(1.0)


@dataclass(frozen=True, eq=False)
class Poses:
    """Poses of B heads in the camera optical frame."""

    #: (B, 3, 3) head -> camera.
    rotation: Array
    #: (B, 3) m.
    translation: Array
    #: (B, 6, 6) x y z, then rotation about the fixed camera axes: m², m rad, rad².
    covariance: Array

    def __getitem__(self, chosen: Any) -> Poses:
        """Return the chosen poses (indices, a slice or a mask)."""
        return Poses(self.rotation[chosen], self.translation[chosen], self.covariance[chosen])

    @staticmethod
    def join(parts: list[Poses]) -> Poses:
        """Return one batch of several, at least one."""
        return Poses(*(np.concatenate([getattr(part, name) for part in parts])
                       for name in ('rotation', 'translation', 'covariance')))


def solve_poses(
    points: Array, rays: Array, sigma: Array, rotation: Array, centre: Array, depth: Array,
    noise: PoseNoise,
) -> Poses:
    """
    Fit rigid metric heads to their undistorted viewing rays.

    Never answers with a number that is not finite: where the evidence does not carry a fit, the
    weak-perspective answer comes back with a wide covariance.

    :param points: (B, P, 3) m in the head frame.
    :param rays: (B, P, 2) x / z and y / z where each point is seen; NaN leaves a point out.
    :param sigma: (B, P) standard deviation of each ray coordinate.
    :param rotation: (B, 3, 3) weak-perspective rotation of each crop.
    :param centre: (B, 2) viewing ray of each crop's centre.
    :param depth: (B,) m, weak-perspective depth of the head's origin, to fall back on.
    """
    start = np.stack([
        viewing_ray_rotation([*ray, 1.0]) @ turn for ray, turn in zip(centre, rotation, strict=True)
    ]) if len(points) else np.zeros((0, 3, 3))
    seen = np.isfinite(rays).all(axis=-1) & np.isfinite(sigma) & (sigma > 0.0)
    rays = np.where(seen[..., None], rays, 0.0)
    inverse = np.where(seen, 1.0 / np.where(seen, sigma, 1.0), 0.0)
    with np.errstate(all='ignore'):
        fit = _refine(points, rays, inverse, start, _place(points, rays, inverse, start))
        covariance = _covariance(points, rays, inverse, fit, noise)
        good = (
            (seen.sum(axis=1) >= _MIN_POINTS)
            & np.isfinite(fit.translation).all(axis=1) & np.isfinite(fit.rotation).all(axis=(1, 2))
            & np.isfinite(covariance).all(axis=(1, 2))
            & (_camera_points(points, fit.rotation, fit.translation)[..., 2] > _NEAREST).all(axis=1)
        )
        good &= np.linalg.eigvalsh(np.where(good[:, None, None], covariance, np.eye(6)))[:, 0] > 0.0
    fallback = weak_perspective_poses(start, centre, depth)
    return Poses(
        np.where(good[:, None, None], fit.rotation, fallback.rotation),
        np.where(good[:, None], fit.translation, fallback.translation),
        np.where(good[:, None, None], covariance, fallback.covariance))


def weak_perspective_poses(rotation: Array, ray: Array, depth: Array) -> Poses:
    """
    Return poses that rest on an assumed depth; the covariance says so: 10° and half the depth.

    :param rotation: (B, 3, 3) head -> camera.
    :param ray: (B, 2) x / z and y / z of the head's origin.
    :param depth: (B,) m.
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


def _place(points: Array, rays: Array, inverse: Array, rotation: Array) -> Array:
    """Translations (B, 3) that fit best for these rotations: linear in t after `z * ray = xy`."""
    turned = points @ rotation.swapaxes(-1, -2)
    # Rows t_x - u t_z = u z_i - x_i and the same for y, for every point.
    weight = inverse ** 2
    u, v = rays[..., 0], rays[..., 1]
    right_x, right_y = (rays * turned[..., 2:] - turned[..., :2]).transpose(2, 0, 1)
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
    """Levenberg-Marquardt over (translation, rotation about the fixed axes through the sellion)."""
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
        new_rotation = _turn(step[:, 3:], rotation)
        trial = _linearise(points, rays, inverse, new_rotation, new_translation)
        better = trial[0] <= cost
        rotation = np.where(better[:, None, None], new_rotation, rotation)
        translation = np.where(better[:, None], new_translation, translation)
        cost = np.where(better, trial[0], cost)
        residual = np.where(better[:, None, None], trial[1], residual)
        jacobian = np.where(better[:, None, None, None], trial[2], jacobian)
        damping = np.where(better, 0.1 * damping, 10.0 * damping)
        relative = np.abs(step[:, :3]).max(1) / np.maximum(np.abs(translation[:, 2]), _NEAREST)
        done = better & (relative < 1e-5) & (np.abs(step[:, 3:]).max(1) < 1e-5)
        if (done | (damping > 1e6)).all():
            break
    return _Fit(rotation, translation)


def _linearise(
    points: Array, rays: Array, inverse: Array, rotation: Array, translation: Array,
) -> tuple[Array, Array, Array]:
    """
    Return the Huber cost (B,), residuals (B, P, 2) and their Jacobian (B, P, 2, 6), all over sigma.

    The cost is infinite where a point would lie behind the camera.
    """
    turned = points @ rotation.swapaxes(-1, -2)
    x, y, z = (turned + translation[:, None, :]).transpose(2, 0, 1)
    behind = z < _NEAREST
    z = np.where(behind, _NEAREST, z)
    residual = (np.stack([x / z, y / z], -1) - rays) * inverse[..., None]
    size = np.linalg.norm(residual, axis=-1)
    huber = np.where(size < _HUBER_DELTA, 0.5 * size ** 2, _HUBER_DELTA * (size - 0.5 * _HUBER_DELTA))
    cost = np.where((behind & (inverse > 0.0)).any(axis=1), np.inf, huber.sum(axis=1))
    jacobian = np.zeros((*residual.shape, 6))
    jacobian[..., 0, 0] = jacobian[..., 1, 1] = 1.0 / z
    jacobian[..., 0, 2] = -x / z ** 2
    jacobian[..., 1, 2] = -y / z ** 2
    # A small turn w about the fixed axes moves a point by w x (R p).
    a, b, c = turned.transpose(2, 0, 1)
    jx, jy = jacobian[..., 0, 2], jacobian[..., 1, 2]
    jacobian[..., 0, 3], jacobian[..., 1, 3] = jx * b, -c / z + jy * b
    jacobian[..., 0, 4], jacobian[..., 1, 4] = c / z - jx * a, -jy * a
    jacobian[..., 0, 5], jacobian[..., 1, 5] = -b / z, a / z
    return cost, residual, jacobian * inverse[..., None, None]


def _huber_weight(residual: Array) -> Array:
    return np.minimum(1.0, _HUBER_DELTA / np.maximum(np.linalg.norm(residual, axis=-1), 1e-12))


def _covariance(points: Array, rays: Array, inverse: Array, fit: _Fit, noise: PoseNoise) -> Array:
    """Covariance (B, 6, 6) from the Jacobian, the misfit, the head size and the floors."""
    _, residual, jacobian = _linearise(points, rays, inverse, fit.rotation, fit.translation)
    weight = _huber_weight(residual)
    weighted = jacobian * weight[..., None, None]
    normal = np.einsum('bpki,bpkj->bij', weighted, jacobian)
    freedom = np.maximum(2 * (inverse > 0.0).sum(axis=1) - 6, 1)
    misfit = (weight[..., None] * residual ** 2).sum(axis=(1, 2)) / freedom
    # A fit that is worse than the predicted scales say is less certain than they say, never more.
    covariance = _solve(normal, np.broadcast_to(np.eye(6), normal.shape))
    covariance = covariance * np.maximum(misfit, 1.0)[:, None, None]
    t = fit.translation
    distance = np.linalg.norm(t, axis=1)[:, None, None]
    # A head larger by a factor looks the same farther away by that factor.
    covariance[:, :3, :3] += noise.head_size ** 2 * t[:, :, None] * t[:, None, :]
    covariance[:, :3, :3] += (noise.position * distance) ** 2 * np.eye(3)
    covariance[:, 3:, 3:] += noise.rotation ** 2 * np.eye(3)
    return 0.5 * (covariance + covariance.swapaxes(-1, -2))


def _turn(rotation_vector: Array, rotation: Array) -> Array:
    finite = np.where(np.isfinite(rotation_vector), rotation_vector, 0.0)
    return Rotation.from_rotvec(finite).as_matrix() @ rotation


def _solve(matrix: Array, right: Array) -> Array:
    """Solve batched linear systems; NaN for a singular one instead of an exception for all."""
    vector = right.ndim == matrix.ndim - 1
    right = right[..., None] if vector else right
    try:
        solution = np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        solution = np.full(right.shape, np.nan)
        for i, (one, target) in enumerate(zip(matrix, right, strict=True)):
            try:
                solution[i] = np.linalg.solve(one, target)
            except np.linalg.LinAlgError:
                continue
    return solution[..., 0] if vector else solution
