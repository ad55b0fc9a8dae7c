"""A calibrated camera: points in its optical frame (m) ↔ pixels, with lens distortion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import ArrayLike

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.types import Array

DistortionModel = Literal['plumb_bob', 'rational_polynomial', 'equidistant']

_COEFFICIENTS: dict[str, tuple[int, ...]] = {
    'plumb_bob': (0, 4, 5),
    'rational_polynomial': (0, 8, 12, 14),
    'equidistant': (0, 4),
}
_CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-10)


@dataclass(frozen=True, eq=False)
class Camera:
    """
    Intrinsics of a camera, named as in ROS `sensor_msgs/CameraInfo`.

    Pixel centres lie at integers. The optical frame is x right, y down, z forward.

    :raises ValueError: for a wrong shape or length, numbers that are not finite, a focal length
        that is not positive (an uncalibrated camera) or an unknown model.

    Example::

        camera = Camera([[600, 0, 319.5], [0, 600, 239.5], [0, 0, 1]],
                        D=[0.1, -0.2, 0, 0, 0], size=(640, 480))
        camera.project([0.1, 0.0, 1.0])  # px of a point 1 m in front of the camera
        webcam = Camera.from_fov((640, 480), 60)
    """

    K: Array
    """(3, 3) intrinsic matrix, px, without skew."""
    D: Array = field(default_factory=lambda: np.zeros(0))
    """Distortion coefficients in OpenCV's order: none, 4 or 5 for 'plumb_bob' (k1 k2 p1 p2 k3),
    none, 8, 12 or 14 for 'rational_polynomial', none or 4 for 'equidistant' (fisheye)."""
    size: tuple[int, int] | None = None
    """(width, height) px of the images that K belongs to; None if unknown."""
    model: DistortionModel = 'plumb_bob'
    """'plumb_bob', 'rational_polynomial' or 'equidistant'."""

    def __post_init__(self) -> None:
        if self.model not in get_args(DistortionModel):
            raise UserError(f'model: {self.model!r} is unknown; use one of '
                            + ', '.join(map(repr, get_args(DistortionModel))))
        object.__setattr__(self, 'K', _checked_intrinsics(self.K))
        object.__setattr__(self, 'D', _checked_distortion(self.D, self.model))
        if self.size is not None:
            object.__setattr__(self, 'size', _checked_size(self.size))

    @classmethod
    def from_fov(cls, size: Sequence[int], degrees: float) -> Camera:
        """
        Return a camera without distortion, with square pixels and its axis at the image's centre.

        :param size: (width, height) px.
        :param degrees: horizontal field of view between the outer edges of the image.
        :return: the camera.
        :raises ValueError: for a size that is not two positive integers or an angle outside 0…180.
        """
        width, height = _checked_size(size)
        if not isinstance(degrees, Real) or not 0.0 < degrees < 180.0:
            raise UserError(
                f'degrees: expected a field of view between 0 and 180, got {degrees!r}')
        focal = 0.5 * width / np.tan(0.5 * np.deg2rad(float(degrees)))
        centre_x, centre_y = 0.5 * (width - 1), 0.5 * (height - 1)
        return cls(np.array([[focal, 0.0, centre_x], [0.0, focal, centre_y], [0.0, 0.0, 1.0]]),
                   size=(width, height))

    def project(self, points: ArrayLike) -> Array:
        """
        Return the pixels (..., 2) of points (..., 3) m in the optical frame.

        Points that are not in front of the camera give NaN.
        """
        points = _checked_points(points, 3, 'points')
        in_front = points[..., 2] > 0.0
        # Any point in front avoids a division by zero; its pixel is overwritten below.
        safe = np.where(in_front[..., None], points, [0.0, 0.0, 1.0])
        if points.size == 0:
            return np.zeros((*points.shape[:-1], 2))
        if self.is_pinhole:
            pixels = safe[..., :2] / safe[..., 2:] * self.focal_lengths + self.principal_point
            return np.where(in_front[..., None], pixels, np.nan)
        flat = safe.reshape(-1, 1, 3)
        zero = np.zeros(3)
        if self.model == 'equidistant':
            pixels, _ = cv2.fisheye.projectPoints(flat, zero, zero, self.K, self._coefficients)
        else:
            pixels, _ = cv2.projectPoints(flat, zero, zero, self.K, self._coefficients)
        pixels = pixels.reshape(*points.shape[:-1], 2)
        return np.where(in_front[..., None], pixels, np.nan)

    def rays(self, pixels: ArrayLike) -> Array:
        """
        Return the undistorted viewing rays (..., 2) of pixels (..., 2): x / z and y / z.

        NaN where the distortion model cannot be inverted (far outside the calibrated image).
        """
        pixels = _checked_points(pixels, 2, 'pixels')
        if pixels.size == 0:
            return np.zeros(pixels.shape)
        if self.is_pinhole:
            return (pixels - self.principal_point) / self.focal_lengths
        flat = pixels.reshape(-1, 1, 2)
        if self.model == 'equidistant':
            # OpenCV 4.5 takes no criteria here; its ten iterations suffice for a polynomial in one
            # angle.
            rays = cv2.fisheye.undistortPoints(flat, self.K, self._coefficients)
        else:
            rays = cv2.undistortPointsIter(flat, self.K, self._coefficients, None, None, _CRITERIA)
        rays = rays.reshape(pixels.shape)
        # OpenCV does not report whether its iteration converged; projecting back does.
        back = self.project(np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1))
        good = np.linalg.norm(back - pixels, axis=-1) < 0.5
        return np.where(good[..., None], rays, np.nan)

    def unproject(self, pixels: ArrayLike, depth: ArrayLike = 1.0) -> Array:
        """
        Return the points (..., 3) m that project to `pixels` at `depth` (...) m, along z.

        NaN where `rays` is NaN.
        """
        rays = self.rays(pixels)
        depth = np.broadcast_to(np.asarray(depth, dtype=np.float64), rays.shape[:-1])[..., None]
        return np.concatenate([rays * depth, depth], axis=-1)

    def undistort(self, pixels: ArrayLike) -> Array:
        """Return the pixels (..., 2) of a camera with the same K and no distortion."""
        return self.rays(pixels) * self.focal_lengths + self.principal_point

    @cached_property
    def focal_lengths(self) -> Array:
        """(2,) fx and fy, px."""
        return self.K[[0, 1], [0, 1]]

    @cached_property
    def principal_point(self) -> Array:
        """(2,) cx and cy, px."""
        return self.K[:2, 2]

    @cached_property
    def is_pinhole(self) -> bool:
        """Whether the lens does not distort."""
        return self.model != 'equidistant' and not self.D.any()

    @property
    def _coefficients(self) -> Array:
        return self.D if self.D.size else np.zeros(4)


def _checked_intrinsics(matrix: ArrayLike) -> Array:
    matrix = _read_only(matrix, 'K')
    if matrix.shape != (3, 3):
        raise UserError(f'K: expected a (3, 3) matrix, got shape {matrix.shape}')
    if not np.isfinite(matrix).all():
        raise UserError('K: holds a number that is not finite')
    if matrix[0, 0] <= 0.0 or matrix[1, 1] <= 0.0:
        raise UserError('K: the focal lengths K[0, 0] and K[1, 1] must be positive; zero '
                        'means that the camera is not calibrated')
    expected = [matrix[0, 1], matrix[1, 0], matrix[2, 0], matrix[2, 1], matrix[2, 2] - 1.0]
    if np.abs(expected).max() > 1e-6 * matrix[0, 0]:
        raise UserError('K: expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]')
    return matrix


def _checked_distortion(coefficients: ArrayLike, model: str) -> Array:
    coefficients = _read_only([] if coefficients is None else coefficients, 'D').reshape(-1)
    if coefficients.size not in _COEFFICIENTS[model]:
        allowed = ', '.join(str(n) for n in _COEFFICIENTS[model])
        raise UserError(f'D: {model} takes {allowed} coefficients, got {coefficients.size}')
    if not np.isfinite(coefficients).all():
        raise UserError('D: holds a number that is not finite')
    return coefficients


def _checked_size(size: Sequence[int]) -> tuple[int, int]:
    size = _numbers(size, 'size')
    if size.shape != (2,) or not np.isfinite(size).all() or (size != np.round(size)).any() \
            or (size < 1).any():
        raise UserError(
            f'size: expected (width, height), two positive integers, got {size.tolist()}')
    return int(size[0]), int(size[1])


def _checked_points(points: ArrayLike, dimension: int, name: str) -> Array:
    points = _numbers(points, name)
    if points.ndim < 1 or points.shape[-1] != dimension:
        raise UserError(f'{name}: expected shape (..., {dimension}), got {points.shape}')
    return points


def _numbers(values: ArrayLike, name: str) -> Array:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f'{name}: expected numbers, got {values!r}') from None


def _read_only(values: ArrayLike, name: str) -> Array:
    """Return a copy."""
    numbers = _numbers(values, name).copy()
    numbers.setflags(write=False)
    return numbers
