"""
Rotations and the conventions of frames, to which every other module refers.

* **Image**: pixel centres at integers, x right, y down.
* **Camera optical frame**: x right, y down, z forward, metres.
* **Head frame**: origin at the sellion (landmark 27 of the mean head; it moves with identity, not
  with expression), x out of the face, y to the head's left, z up, metres.
* **Pose**: `p_camera = R @ p_head + t`. A head that faces the camera has head x = -optical z,
  head y = +optical x, head z = -optical y: that rotation is `FACING_CAMERA`.
* **Euler angles** are for reports only and follow `Pose_Para` of AFLW2000-3D / 300W-LP, in degrees
  and in the order (yaw, pitch, roll). With Q = diag(1, -1, -1) @ R @ [[0,0,1],[1,0,0],[0,1,0]] and
  Q = (Rz(roll) Ry(yaw) Rx(pitch))^T:
  yaw > 0: nose to the image's left (to the person's own right); pitch > 0: chin up; roll > 0: crown
  to the image's right. REP-103 yaw has the opposite sign. Beyond +-90 degrees of yaw the decode
  folds: use the rotation or the quaternion there.
* **Quaternions** are (x, y, z, w).

Parameters described as "array" take NumPy arrays or torch tensors, and the result is of the same
kind; torch itself is never imported here.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

Array = TypeVar('Array', np.ndarray, 'torch.Tensor')

FACING_CAMERA = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]])
"""Head -> camera optical frame rotation of a head that looks straight into the camera."""

AXIS_LENGTH = 0.10
"""Length of the axes of a head in drawings, m."""

_IDENTITY = np.eye(3)
# Of the axes x, y and z, each a (3, 3) matrix row by row.
_CROSS_PRODUCTS = np.array([[0, 0, 0, 0, 0, -1, 0, 1, 0], [0, 0, 1, 0, 0, 0, -1, 0, 0],
                            [0, -1, 0, 1, 0, 0, 0, 0, 0]], float)
# The cross product of the optical axis (0, 0, 1) with a row (x, y, 1).
_AXIS_CROSS_RAY = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])


def _quaternion_products() -> np.ndarray:
    """
    Return how the entries of a rotation make the products of a quaternion's components.

    :return: (9, 16): four times the products (4, 4), less the identity, of the matrix row by row.
    """
    products = np.zeros((3, 3, 4, 4))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        products[i, i] = -np.eye(4)
        products[i, i, i, i] = products[i, i, 3, 3] = 1.0
        products[i, j, i, j] = products[i, j, j, i] = 1.0
        products[j, i, i, j] = products[j, i, j, i] = 1.0
        products[j, i, 3, k] = products[j, i, k, 3] = 1.0
        products[i, j, 3, k] = products[i, j, k, 3] = -1.0
    return products.reshape(9, 16)


_QUATERNION_PRODUCTS = _quaternion_products()


def _library(array: Array) -> ModuleType:
    """Return the module of `array`, numpy or torch; the functions used here have the same names."""
    torch = sys.modules.get('torch')
    return torch if torch is not None and isinstance(array, torch.Tensor) else np


def _require_matrices(rotation: Array, name: str = 'rotation') -> None:
    if rotation.ndim < 2 or tuple(rotation.shape[-2:]) != (3, 3):
        raise ValueError(f'{name}: expected shape (..., 3, 3), got {tuple(rotation.shape)}')


def euler_from_rotation(rotation: Array) -> Array:
    """
    Return yaw, pitch and roll.

    :param rotation: (..., 3, 3), head -> camera optical frame, array.
    :return: (..., 3) yaw, pitch, roll in degrees, in the convention of this module.
    :raises ValueError: for another shape.
    """
    _require_matrices(rotation)
    xp = _library(rotation)
    yaw = xp.arcsin(xp.clip(-rotation[..., 0, 0], -1.0, 1.0))
    pitch = xp.arctan2(-rotation[..., 1, 0], -rotation[..., 2, 0])
    roll = xp.arctan2(rotation[..., 0, 2], rotation[..., 0, 1])
    return xp.rad2deg(xp.stack([yaw, pitch, roll], axis=-1))


def rotation_from_euler(euler_deg: Array) -> Array:
    """
    Return the rotation of yaw, pitch and roll, the inverse of `euler_from_rotation`.

    :param euler_deg: (..., 3) yaw, pitch, roll in degrees, array.
    :return: (..., 3, 3) head -> camera optical frame.
    :raises ValueError: for another shape.
    """
    if euler_deg.ndim < 1 or euler_deg.shape[-1] != 3:
        raise ValueError(f'euler_deg: expected shape (..., 3), got {tuple(euler_deg.shape)}')
    xp = _library(euler_deg)
    yaw, pitch, roll = (xp.deg2rad(euler_deg[..., i]) for i in range(3))
    cy, sy, cp, sp = xp.cos(yaw), xp.sin(yaw), xp.cos(pitch), xp.sin(pitch)
    cr, sr = xp.cos(roll), xp.sin(roll)
    # R = diag(1, -1, -1) (Rz(roll) Ry(yaw) Rx(pitch))^T [[0,1,0],[0,0,1],[1,0,0]], multiplied out.
    rows = [
        xp.stack([-sy, cr * cy, sr * cy], axis=-1),
        xp.stack([-sp * cy, -(cr * sy * sp - sr * cp), -(sr * sy * sp + cr * cp)], axis=-1),
        xp.stack([-cp * cy, -(cr * sy * cp + sr * sp), -(sr * sy * cp - cr * sp)], axis=-1),
    ]
    return xp.stack(rows, axis=-2)


def rotation_to_6d(rotation: Array) -> Array:
    """Return the first two columns of (..., 3, 3) as (..., 6), array."""
    _require_matrices(rotation)
    return _library(rotation).concatenate([rotation[..., 0], rotation[..., 1]], axis=-1)


def geodesic_distance_deg(first: Array, second: Array) -> Array:
    """
    Return the angle between rotations.

    It is computed from the chord, which keeps the precision of small angles.

    :param first: (..., 3, 3), array.
    :param second: (..., 3, 3), array.
    :return: (...) degrees, 0..180.
    :raises ValueError: for other shapes.
    """
    _require_matrices(first, 'first')
    _require_matrices(second, 'second')
    xp = _library(first)
    chord = xp.sqrt(((first - second) ** 2).sum(-1).sum(-1))
    return xp.rad2deg(2.0 * xp.arcsin(xp.clip(chord / (2.0 * 2.0 ** 0.5), 0.0, 1.0)))


def turned_in_image(rotation: Array, degrees: float) -> Array:
    """
    Return the rotation of a head whose image is rotated, under weak perspective.

    :param rotation: (..., 3, 3) head -> camera optical frame, array.
    :param degrees: as in OpenCV, positive is counter-clockwise on the screen, about any point.
    :return: (..., 3, 3).
    :raises ValueError: for another shape.
    """
    _require_matrices(rotation)
    xp = _library(rotation)
    c, s = float(np.cos(np.deg2rad(degrees))), float(np.sin(np.deg2rad(degrees)))
    first, second, third = rotation[..., 0, :], rotation[..., 1, :], rotation[..., 2, :]
    return xp.stack([c * first + s * second, -s * first + c * second, third], axis=-2)


def mirrored(rotation: Array) -> Array:
    """Return the rotation (..., 3, 3), array, of a head whose image is mirrored left-right."""
    _require_matrices(rotation)
    signs = np.outer([-1.0, 1.0, 1.0], [1.0, -1.0, 1.0])
    if _library(rotation) is not np:
        return rotation * rotation.new_tensor(signs)
    return rotation * signs


def quaternion_from_rotation(rotation: np.ndarray) -> np.ndarray:
    """
    Return the quaternions of rotations, by Shepperd's method (1978).

    :param rotation: (..., 3, 3).
    :return: (..., 4), (x, y, z, w) with w >= 0.
    :raises ValueError: for another shape.
    """
    _require_matrices(rotation)
    products = rotation.reshape(-1, 9) @ _QUATERNION_PRODUCTS + np.eye(4).ravel()
    # Every row is a multiple of the quaternion, and that of its largest component loses no digits.
    largest = products[:, ::5].argmax(axis=-1)
    row = products.reshape(-1, 4, 4)[np.arange(len(products)), largest]
    row /= np.copysign(np.sqrt((row * row).sum(axis=-1)), row[:, 3])[:, None]
    return row.reshape(*rotation.shape[:-2], 4)


def rotation_from_quaternion(quaternion: np.ndarray) -> np.ndarray:
    """
    Return the rotations of quaternions.

    :param quaternion: (..., 4), (x, y, z, w), of non-zero norm.
    :return: (..., 3, 3).
    :raises ValueError: for another shape, or a norm of zero.
    """
    quaternion = np.asarray(quaternion, dtype=float)
    if quaternion.ndim < 1 or quaternion.shape[-1] != 4:
        raise ValueError(f'quaternion: expected shape (..., 4), got {quaternion.shape}')
    norm = np.linalg.norm(quaternion, axis=-1, keepdims=True)
    if (norm == 0.0).any():
        raise ValueError('quaternion: its norm is zero')
    quaternion = quaternion / norm
    vector, scalar = quaternion[..., :3], quaternion[..., 3]
    return _axis_rotation(2.0 * vector[..., :, None] * vector[..., None, :],
                          2.0 * scalar[..., None] * vector, 2.0 * scalar ** 2 - 1.0)


def rotation_from_vector(vector: np.ndarray) -> np.ndarray:
    """
    Return rotations about fixed axes, by Rodrigues' formula.

    :param vector: (..., 3), along the axis, as long as the angle in rad.
    :return: (..., 3, 3).
    """
    angle = np.maximum(np.sqrt((vector * vector).sum(axis=-1)), 1e-150)  # avoids 0 / 0
    sine, half = np.sin(angle) / angle, np.sin(0.5 * angle) / angle
    versine = 2.0 * half * half  # (1 - cos(a)) / a^2
    return _axis_rotation((versine[..., None] * vector)[..., :, None] * vector[..., None, :],
                          sine[..., None] * vector, np.cos(angle))


def cayley_rotation(vector: np.ndarray) -> np.ndarray:
    """
    Return rotations by Cayley's formula, which for small angles is `rotation_from_vector`.

    :param vector: (..., 3), along the axis, as long as twice the tangent of half the angle.
    :return: (..., 3, 3).
    """
    skew = _cross_product_matrix(0.5 * vector)
    scale = 2.0 / (1.0 + 0.25 * (vector * vector).sum(axis=-1))
    return _IDENTITY + scale[..., None, None] * (skew + skew @ skew)


def rotation_vector(rotation: np.ndarray) -> np.ndarray:
    """Return the vectors (..., 3), of a length up to pi, of `rotation_from_vector`."""
    quaternion = quaternion_from_rotation(rotation)
    vector, scalar = quaternion[..., :3], quaternion[..., 3:]
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    half = np.arctan2(length, scalar)
    return vector * np.divide(2.0 * half, length, out=np.full_like(length, 2.0), where=length > 0.0)


def _axis_rotation(symmetric: np.ndarray, antisymmetric: np.ndarray, cos: np.ndarray) -> np.ndarray:
    """Return `symmetric` (..., 3, 3) + the cross product with `antisymmetric` (..., 3) + cos 1."""
    return symmetric + _cross_product_matrix(antisymmetric) + cos[..., None, None] * _IDENTITY


def _cross_product_matrix(vector: np.ndarray) -> np.ndarray:
    """Return the matrices (..., 3, 3) of the cross product with vectors (..., 3)."""
    return (vector @ _CROSS_PRODUCTS).reshape(*vector.shape, 3)


def axis_points(
    rotation: np.ndarray, translation: np.ndarray, length: float = AXIS_LENGTH,
) -> np.ndarray:
    """
    Return the origin of a frame and the end points of its x, y and z axes, for drawing.

    :param rotation: (3, 3) from the frame to that of the drawing; for an affine camera its (2, 3)
        matrix times the rotation.
    :param translation: (3,) or (2,), the origin in the frame of the drawing.
    :param length: of the axes, m.
    :return: (4, 3) or (4, 2).
    """
    return translation + length * np.vstack([np.zeros(3), np.eye(3)]) @ rotation.T


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """Return the rotations nearest (Frobenius norm) to (..., 3, 3), by SVD."""
    _require_matrices(matrix, 'matrix')
    u, _, vt = np.linalg.svd(matrix)
    sign = np.sign(np.linalg.det(u @ vt))
    u = u.copy()
    u[..., :, 2] *= sign[..., None]
    return u @ vt


def viewing_ray_rotation(ray: np.ndarray) -> np.ndarray:
    """
    Return the smallest rotation that takes the optical axis (0, 0, 1) to a viewing ray.

    A head away from the image's centre appears rotated in its crop:
    `R_camera = viewing_ray_rotation(ray) @ R_crop`.

    :param ray: (..., 3) direction in the camera optical frame, z > 0, any length.
    :return: (..., 3, 3).
    :raises ValueError: for a ray that does not point forward.
    """
    ray = np.asarray(ray, dtype=float)
    if ray.shape[-1:] != (3,) or not np.isfinite(ray).all() or (ray[..., 2] <= 0).any():
        raise ValueError(f'ray: expected three finite numbers with z > 0, got {ray}')
    return rotation_to_ray(ray[..., :2] / ray[..., 2:])


def rotation_to_ray(ray: np.ndarray) -> np.ndarray:
    """
    Return what `viewing_ray_rotation` does, for finite rays x / z and y / z.

    :param ray: (..., 2).
    :return: (..., 3, 3).
    """
    # About the cross product of the optical axis and the ray.
    axis = ray @ _AXIS_CROSS_RAY
    length = np.sqrt(1.0 + (ray * ray).sum(axis=-1))
    return cayley_rotation((2.0 / (1.0 + length))[..., None] * axis)


def angle_to_camera_deg(rotation: np.ndarray, position: np.ndarray) -> float:
    """
    Return the angle between where a face points and where the camera is, as seen from the head.

    Unlike yaw it does not fold: 0° is a face that looks into the camera, 180° the back of a head.

    :param rotation: (3, 3), head -> camera optical frame.
    :param position: (3,) of the head in the camera optical frame, any length.
    :return: 0…180 degrees.
    """
    cosine = -np.dot(rotation[:, 0], position) / np.linalg.norm(position)
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
