"""
Smoothing over time: the One-Euro filter (Casiez, Roussel, Vogel, CHI 2012) on vectors and on SO(3).

Its low-pass opens with speed: a still head does not shake, a fast one does not lag,

    cutoff = min_cutoff + beta * |speed|,    alpha = 1 / (1 + 1 / (2 pi cutoff dt)).

Speeds are in units of their kind per second, so that one `beta` fits all of them. Time is the
images', never the clock's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.perception.aligner import Alignments
from trans3dhead_ros.perception.metric_pose import Poses
from trans3dhead_ros.types import Array

#: A gap this long, seconds, says nothing about how the head moved meanwhile.
_LONGEST_GAP = 1.0
#: Assumed between images without stamps, or with the same one.
_NOMINAL_PERIOD = 1.0 / 30.0
#: About the height of a face, metres.
_HEAD = 0.15
#: Speeds that open the filter by `beta`, per second: a tenth of a head, 10°.
_STEP = 0.1
_TURN = np.deg2rad(10.0)


@dataclass(frozen=True)
class Smoothing:
    """
    How strongly tracked heads are smoothed.

    :raises ValueError: for numbers that are not positive (beta: not negative).
    """

    enabled: bool = True
    #: Hz, for a head that does not move. Lower is calmer.
    min_cutoff: float = 0.5
    #: How fast the filter opens with speed. Higher follows faster.
    beta: float = 1.0
    #: Hz, low-pass of the speed itself.
    derivative_cutoff: float = 2.0

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
    """One-Euro on vectors (..., C): the components of one vector share their speed."""

    def __init__(self) -> None:
        self._raw: Array | None = None
        self._value = self._speed = np.zeros(0)

    def __call__(self, value: Array, unit: float, dt: float, smoothing: Smoothing) -> Array:
        """Return the smoothed value, `dt` seconds after the last; `unit` a second is speed 1."""
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
    """One-Euro along the geodesics of SO(3), (3, 3): no Euler angles, no folds."""

    def __init__(self) -> None:
        self._raw: Array | None = None
        self._value = np.eye(3)
        self._speed = np.zeros(3)

    def __call__(self, value: Array, unit: float, dt: float, smoothing: Smoothing) -> Array:
        """Return the smoothed rotation; `unit` radians a second is speed 1."""
        if self._raw is None:
            self._raw, self._value = value, value
            return value
        change = _log(value @ self._raw.T) / (dt * unit)
        self._speed = self._speed + _alpha(smoothing.derivative_cutoff, dt) * (change - self._speed)
        alpha = _alpha(smoothing.min_cutoff + smoothing.beta * np.linalg.norm(self._speed), dt)
        self._raw, self._value = value, _exp(alpha * _log(value @ self._value.T)) @ self._value
        return self._value


class HeadSmoother:
    """Everything that is smoothed of one tracked head."""

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
        Smooth the alignment and the pose of this head (batches of one).

        :param stamp: of the image, s. Without one, or with the last one again, a thirtieth of a
            second is assumed; backwards or more than a second on, smoothing starts afresh.
        :param metric: whether the pose is in true metres; when that changes, as with the first
            camera info, the poses before say nothing about those after.
        """
        dt = _NOMINAL_PERIOD
        if stamp is not None and self._stamp is not None and stamp != self._stamp:
            dt = stamp - self._stamp
        self._stamp = stamp
        if not smoothing.enabled or not 0.0 < dt <= _LONGEST_GAP:
            self._reset()
            dt = _NOMINAL_PERIOD
        if metric != self._metric:
            self._metric = metric
            self._reset_pose()

        def smooth(value: Array, of: VectorFilter | RotationFilter, unit: float) -> Array:
            return of(value, unit, dt, smoothing)

        # Lengths count in heads, in the image and in space, so that near and far ones are alike.
        head_px = _HEAD * float(found.scale[0])
        flat = np.pad(found.contour[0], ((0, 0), (0, 1)))
        points = np.concatenate([found.landmarks[0], flat])
        points = smooth(points, self._points, _STEP * head_px)
        count = len(flat)
        smoothed = replace(
            found,
            landmarks=points[None, :count],
            contour=points[None, count:, :2],
            rotation=smooth(found.rotation[0], self._apparent, _TURN)[None],
            origin=smooth(found.origin, self._origin, _STEP * head_px),
            scale=np.exp(smooth(np.log(found.scale), self._scale, _STEP)),
            shape=smooth(found.shape[0, :, None], self._shape, 10.0)[None, :, 0],
            expression=smooth(found.expression[0, :, None], self._expression, 0.5)[None, :, 0],
        )
        depth = poses.translation[:, 2:]
        ray = poses.translation[:, :2] / depth
        ray = smooth(ray, self._ray, _STEP * _HEAD / float(depth[0, 0]))
        depth = np.exp(smooth(np.log(depth), self._depth, _STEP))
        rotation = smooth(poses.rotation[0], self._rotation, _TURN)[None]
        translation = np.concatenate([ray, np.ones_like(depth)], axis=1) * depth
        return smoothed, replace(poses, rotation=rotation, translation=translation)


def _log(rotation: Array) -> Array:
    return Rotation.from_matrix(rotation).as_rotvec()


def _exp(vector: Array) -> Array:
    return Rotation.from_rotvec(vector).as_matrix()
