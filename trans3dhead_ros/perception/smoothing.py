"""
Smoothing over time: the One-Euro filter (Casiez, Roussel, Vogel, CHI 2012) on vectors and on SO(3).

The cut-off frequency of its low-pass rises with speed: heads at rest do not jitter, fast ones do
not lag:

    cutoff = min_cutoff + beta * |speed|,    alpha = 1 / (1 + 1 / (2 pi cutoff dt)).

Speeds are normalised by a unit for each quantity, so that one `beta` fits all of them. Time is
image time, not wall time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import rotation_from_vector, rotation_vector
from trans3dhead_ros.perception.aligner import Alignments
from trans3dhead_ros.perception.metric_pose import Poses
from trans3dhead_ros.types import Array

UNIT_ROTATION = np.deg2rad(10.0)
"""Unit of the speed of rotations, per second."""

# Seconds; after a longer gap the previous values are outdated.
_MAX_GAP = 1.0
# Seconds, assumed between images without stamps or with equal ones.
_NOMINAL_PERIOD = 1.0 / 30.0
# Metres.
_FACE_HEIGHT = 0.15
# Units of speed, per second: a tenth of the height of a face, and coefficients.
_UNIT_TRANSLATION = 0.1
_UNIT_SHAPE, _UNIT_EXPRESSION = 10.0, 0.5
# The last rows of the vectors of `_pack`: the viewing ray and the depth of the pose.
_POSE_ROWS = slice(-2, None)


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


@dataclass(eq=False)
class HeadSmoother:
    """The state of the filters of one tracked head, which `smooth_heads` reads and writes."""

    stamp: float | None = None
    """Of the last image, s."""
    metric: bool = False
    """Whether the last pose was metric."""
    vectors: Array | None = None
    """(3, N, 3) last measurement, smoothed value and speed of the vectors of `_pack`."""
    rotations: Array | None = None
    """(2, 2, 3, 3) last measurement and smoothed value of the apparent rotation and the pose's."""
    turning: Array | None = None
    """(2, 3) speeds of both rotations."""

    def advance(
        self, stamp: float | None, smoothing: Smoothing, metric: bool,
    ) -> tuple[float, bool, bool]:
        """
        Move on to the next image.

        :param stamp: its time, s.
        :param smoothing: parameters.
        :param metric: whether its pose is metric.
        :return: seconds since the last one, whether all filters restart, and whether those of the
            pose do.
        """
        dt = _NOMINAL_PERIOD
        if stamp is not None and self.stamp is not None and stamp != self.stamp:
            dt = stamp - self.stamp
        restart = self.vectors is None or not smoothing.enabled or not 0.0 < dt <= _MAX_GAP
        restart_pose = restart or metric != self.metric
        self.stamp, self.metric = stamp, metric
        return dt if 0.0 < dt <= _MAX_GAP else _NOMINAL_PERIOD, restart, restart_pose


def smooth_heads(
    smoothers: Sequence[HeadSmoother], found: Alignments, poses: Poses, stamp: float | None,
    smoothing: Smoothing, metric: bool = False,
) -> tuple[Alignments, Poses]:
    """
    Smooth the alignments and the poses of the tracked heads of an image.

    :param smoothers: of these B heads; B > 0.
    :param found: B heads.
    :param poses: of the same heads.
    :param stamp: time of the image, s. Without one, or with the same one again, a thirtieth of
        a second is assumed; the filters restart when it goes back or more than a second on.
    :param smoothing: parameters.
    :param metric: whether the poses are metric; when that changes, as with the first camera info,
        the filters of the pose restart.
    :return: B smoothed heads and poses.
    """
    vectors, units = _pack(found, poses)
    rotations = np.stack([found.rotation, poses.rotation], axis=1)
    steps = [smoother.advance(stamp, smoothing, metric) for smoother in smoothers]
    for i, (smoother, (_, restart, restart_pose)) in enumerate(zip(smoothers, steps, strict=True)):
        # A filter whose last measurement and value are the present ones returns them.
        if restart:
            smoother.vectors = np.stack([vectors[i], vectors[i], np.zeros_like(vectors[i])])
            smoother.rotations = np.stack([rotations[i], rotations[i]])
            smoother.turning = np.zeros((2, 3))
        elif restart_pose:
            smoother.vectors[:2, _POSE_ROWS] = vectors[i, _POSE_ROWS]
            smoother.vectors[2, _POSE_ROWS] = 0.0
            smoother.rotations[:, 1], smoother.turning[1] = rotations[i, 1], 0.0
    dt = np.array([seconds for seconds, *_ in steps])[:, None, None]

    raw, value, speed = np.stack([smoother.vectors for smoother in smoothers], axis=1)
    speed = _low_pass(speed, (vectors - raw) / (dt * units), smoothing.derivative_cutoff, dt)
    value = _low_pass(value, vectors, _cutoff(speed, smoothing), dt)
    state = np.stack([vectors, value, speed], axis=1)

    before = np.stack([smoother.rotations for smoother in smoothers], axis=1)
    turned, remaining = rotation_vector(rotations @ before.swapaxes(-1, -2))
    turning = np.stack([smoother.turning for smoother in smoothers])
    turning = _low_pass(turning, turned / (dt * UNIT_ROTATION), smoothing.derivative_cutoff, dt)
    smooth = rotation_from_vector(_alpha(_cutoff(turning, smoothing), dt) * remaining) @ before[1]
    fresh = np.array([[restart, restart_pose] for _, restart, restart_pose in steps])
    smooth = np.where(fresh[..., None, None], rotations, smooth)

    for i, smoother in enumerate(smoothers):
        smoother.vectors = state[i]
        smoother.rotations = np.stack([rotations[i], smooth[i]])
        smoother.turning = turning[i]
    return _unpack(value, smooth, found, poses)


def _pack(found: Alignments, poses: Poses) -> tuple[Array, Array]:
    """
    Return the smoothed quantities of B heads but their rotations, and their units of speed.

    :param found: B heads.
    :param poses: of the same heads.
    :return: vectors (B, N, 3), of which the components share their speed: landmarks, contour,
        origin, logarithm of the scale, coefficients, viewing ray, logarithm of the depth, with
        zeros where one has fewer components; and units (B, N, 1).
    """
    count, coefficients = len(found), found.shape.shape[1] + found.expression.shape[1]
    points = found.landmarks.shape[1] + found.contour.shape[1]
    vectors = np.zeros((count, points + 2 + coefficients + 2, 3))
    units = np.full((*vectors.shape[:2], 1), _UNIT_TRANSLATION)
    landmarks = found.landmarks.shape[1]
    vectors[:, :landmarks] = found.landmarks
    vectors[:, landmarks:points, :2] = found.contour
    vectors[:, points, :2] = found.origin
    # Lengths are relative to the face, in the image and in space, whatever its distance.
    units[:, :points + 1] *= _FACE_HEIGHT * found.scale[:, None, None]
    vectors[:, points + 1, 0] = np.log(found.scale)
    at = points + 2 + found.shape.shape[1]
    vectors[:, points + 2:at, 0], units[:, points + 2:at] = found.shape, _UNIT_SHAPE
    vectors[:, at:-2, 0], units[:, at:-2] = found.expression, _UNIT_EXPRESSION
    depth = poses.translation[:, 2:]
    vectors[:, -2, :2] = poses.translation[:, :2] / depth
    units[:, -2] *= _FACE_HEIGHT / depth
    vectors[:, -1, 0] = np.log(depth[:, 0])
    return vectors, units


def _unpack(
    vectors: Array, rotations: Array, found: Alignments, poses: Poses,
) -> tuple[Alignments, Poses]:
    """Return the heads with the quantities of `_pack`, and the rotations (B, 2, 3, 3)."""
    landmarks = found.landmarks.shape[1]
    points = landmarks + found.contour.shape[1]
    at = points + 2 + found.shape.shape[1]
    ray, depth = vectors[:, -2, :2], np.exp(vectors[:, -1, :1])
    return replace(
        found, landmarks=vectors[:, :landmarks], contour=vectors[:, landmarks:points, :2],
        origin=vectors[:, points, :2], scale=np.exp(vectors[:, points + 1, 0]),
        shape=vectors[:, points + 2:at, 0], expression=vectors[:, at:-2, 0],
        rotation=rotations[:, 0],
    ), replace(
        poses, rotation=rotations[:, 1],
        translation=np.concatenate([ray, np.ones_like(depth)], axis=1) * depth)


def _alpha(cutoff: Array | float, dt: Array) -> Array:
    return 1.0 / (1.0 + 1.0 / (2.0 * np.pi * cutoff * dt))


def _low_pass(before: Array, measured: Array, cutoff: Array | float, dt: Array) -> Array:
    return before + _alpha(cutoff, dt) * (measured - before)


def _cutoff(speed: Array, smoothing: Smoothing) -> Array:
    """Return the cut-off frequencies (..., 1), Hz, of vectors with speeds (..., 3)."""
    return smoothing.min_cutoff + smoothing.beta * np.sqrt(
        (speed * speed).sum(axis=-1, keepdims=True))
