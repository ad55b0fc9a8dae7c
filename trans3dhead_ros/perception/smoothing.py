"""
Smoothing over time: the One-Euro filter (Casiez, Roussel, Vogel, CHI 2012) on vectors and on SO(3).

The cut-off frequency of its low-pass rises with speed: heads at rest do not jitter, fast ones do
not lag:

    cutoff = min_cutoff + beta * |speed|,    alpha = 1 / (1 + 1 / (2 pi cutoff dt)).

Speeds are normalised by a unit for each quantity, so that one `beta` fits all of them. Time is
image time, not wall time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.perception.aligner import Alignments
from trans3dhead_ros.perception.metric_pose import Poses
from trans3dhead_ros.types import Array

# Seconds; after a longer gap the previous values are outdated.
_MAX_GAP = 1.0
# Seconds, assumed between images without stamps or with equal ones.
_NOMINAL_PERIOD = 1.0 / 30.0
# Metres.
_FACE_HEIGHT = 0.15
# Units of speed, per second: a tenth of the height of a face, and 10°.
_UNIT_TRANSLATION = 0.1
_UNIT_ROTATION = np.deg2rad(10.0)


@dataclass(frozen=True)
class Smoothing:
    """
    Parameters of the One-Euro filters that smooth tracked heads.

    :raises UserError: for a frequency that is not positive, or a negative `beta`.
    """

    enabled: bool = True
    """Whether to smooth pose and landmarks over time (One-Euro filter)."""
    min_cutoff: float = 0.5
    """Cut-off frequency for a head at rest, Hz; lower values smooth more."""
    beta: float = 1.0
    """Increase of the cut-off frequency with speed; higher values follow faster."""
    derivative_cutoff: float = 2.0
    """Cut-off frequency of the speed, Hz."""

    def __post_init__(self) -> None:
        for name in ('min_cutoff', 'derivative_cutoff'):
            if not 0.0 < getattr(self, name) < np.inf:
                raise UserError(f'{name}: expected a positive frequency in Hz, '
                                f'got {getattr(self, name)!r}')
        if not 0.0 <= self.beta < np.inf:
            raise UserError(f'beta: expected a number that is not negative, got {self.beta!r}')


def _alpha(cutoff: Array | float, dt: float) -> Array:
    return 1.0 / (1.0 + 1.0 / (2.0 * np.pi * np.asarray(cutoff) * dt))


class VectorFilter:
    """One-Euro filter of vectors (..., C); the components of a vector share their speed."""

    def __init__(self) -> None:
        self._raw: Array | None = None
        self._value = self._speed = np.zeros(0)

    def __call__(self, value: Array, unit: float, dt: float, smoothing: Smoothing) -> Array:
        """Return the smoothed value `dt` s after the last one; `unit` per second is speed 1."""
        if self._raw is None:
            self._raw, self._value, self._speed = value, value, np.zeros_like(value)
            return value
        change = (value - self._raw) / (dt * unit)
        self._speed = self._speed + _alpha(smoothing.derivative_cutoff, dt) * (change - self._speed)
        speed = np.linalg.norm(self._speed, axis=-1, keepdims=True)
        alpha = _alpha(smoothing.min_cutoff + smoothing.beta * speed, dt)
        self._raw, self._value = value, self._value + alpha * (value - self._value)
        return self._value


class RotationFilter:
    """One-Euro filter of rotations (3, 3), along the geodesics of SO(3)."""

    def __init__(self) -> None:
        self._raw: Array | None = None
        self._value = np.eye(3)
        self._speed = np.zeros(3)

    def __call__(self, value: Array, unit: float, dt: float, smoothing: Smoothing) -> Array:
        """Return the smoothed rotation `dt` s after the last one; `unit` rad/s is speed 1."""
        if self._raw is None:
            self._raw, self._value = value, value
            return value
        change = _log(value @ self._raw.T) / (dt * unit)
        self._speed = self._speed + _alpha(smoothing.derivative_cutoff, dt) * (change - self._speed)
        alpha = _alpha(smoothing.min_cutoff + smoothing.beta * np.linalg.norm(self._speed), dt)
        self._raw, self._value = value, _exp(alpha * _log(value @ self._value.T)) @ self._value
        return self._value


class HeadSmoother:
    """The filters of one tracked head."""

    def __init__(self) -> None:
        self._stamp: float | None = None
        self._metric = False
        self._reset()

    def _reset(self) -> None:
        self._points, self._origin, self._scale = (VectorFilter() for _ in range(3))
        self._shape, self._expression = VectorFilter(), VectorFilter()
        self._apparent = RotationFilter()
        self._reset_pose()

    def _reset_pose(self) -> None:
        self._ray, self._depth, self._rotation = VectorFilter(), VectorFilter(), RotationFilter()

    def __call__(
        self, found: Alignments, poses: Poses, stamp: float | None, smoothing: Smoothing,
        metric: bool = False,
    ) -> tuple[Alignments, Poses]:
        """
        Smooth the alignment and the pose of this head.

        :param found: a batch of one.
        :param poses: a batch of one.
        :param stamp: time of the image, s. Without one, or with the same one again, a thirtieth of
            a second is assumed; the filters restart when it goes back or more than a second on.
        :param smoothing: parameters.
        :param metric: whether the pose is metric; when that changes, as with the first camera info,
            the filters of the pose restart.
        :return: smoothed batches of one.
        """
        dt = _NOMINAL_PERIOD
        if stamp is not None and self._stamp is not None and stamp != self._stamp:
            dt = stamp - self._stamp
        self._stamp = stamp
        if not smoothing.enabled or not 0.0 < dt <= _MAX_GAP:
            self._reset()
            dt = _NOMINAL_PERIOD
        if metric != self._metric:
            self._metric = metric
            self._reset_pose()

        def smooth(value: Array, filter_: VectorFilter | RotationFilter, unit: float) -> Array:
            return filter_(value, unit, dt, smoothing)

        # Lengths are relative to the face, in the image and in space, whatever its distance.
        face_px = _FACE_HEIGHT * float(found.scale[0])
        flat = np.pad(found.contour[0], ((0, 0), (0, 1)))
        points = np.concatenate([found.landmarks[0], flat])
        points = smooth(points, self._points, _UNIT_TRANSLATION * face_px)
        count = len(flat)
        smoothed = replace(
            found,
            landmarks=points[None, :count],
            contour=points[None, count:, :2],
            rotation=smooth(found.rotation[0], self._apparent, _UNIT_ROTATION)[None],
            origin=smooth(found.origin, self._origin, _UNIT_TRANSLATION * face_px),
            scale=np.exp(smooth(np.log(found.scale), self._scale, _UNIT_TRANSLATION)),
            shape=smooth(found.shape[0, :, None], self._shape, 10.0)[None, :, 0],
            expression=smooth(found.expression[0, :, None], self._expression, 0.5)[None, :, 0],
        )
        depth = poses.translation[:, 2:]
        ray = poses.translation[:, :2] / depth
        ray = smooth(ray, self._ray, _UNIT_TRANSLATION * _FACE_HEIGHT / float(depth[0, 0]))
        depth = np.exp(smooth(np.log(depth), self._depth, _UNIT_TRANSLATION))
        rotation = smooth(poses.rotation[0], self._rotation, _UNIT_ROTATION)[None]
        translation = np.concatenate([ray, np.ones_like(depth)], axis=1) * depth
        return smoothed, replace(poses, rotation=rotation, translation=translation)


def _log(rotation: Array) -> Array:
    return Rotation.from_matrix(rotation).as_rotvec()


def _exp(vector: Array) -> Array:
    return Rotation.from_rotvec(vector).as_matrix()
