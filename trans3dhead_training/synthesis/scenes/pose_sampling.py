"""Random head rotations over the full range, uniform in yaw or in all three angles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from trans3dhead_ros.geometry import FACING_CAMERA
from trans3dhead_ros.types import Array

_ATTEMPTS = 50


@dataclass(frozen=True)
class PoseDistribution:
    """
    Distribution of apparent rotations.

    A rotation is composed of nod and tilt on the neck, yaw about the vertical, elevation of the
    camera, and rotation in the image plane. Yaw as `euler_from_rotation` decodes it is uniform over
    `yaw_deg` for heads that face the camera; for heads seen from behind, which the decoding folds,
    the rotation about the vertical is sampled instead.
    """

    yaw_deg: float = 90.0
    """Limit of the uniform yaw."""
    behind_share: float = 0.12
    """Share of heads turned beyond it, up to 180 degrees."""
    nod_deg: float = 28.0
    """Limit of the uniform nod."""
    wide_nod_share: float = 0.2
    """Share of heads whose nod is normally distributed instead."""
    wide_nod_sigma_deg: float = 24.0
    """Standard deviation of that nod."""
    tilt_sigma_deg: float = 10.0
    """Standard deviation of the tilt on the neck, ear to shoulder."""
    elevation_sigma_deg: float = 10.0
    """Standard deviation of the camera's elevation."""
    in_plane_sigma_deg: float = 7.0
    """Standard deviation of the rotation in the image plane."""
    wide_in_plane_share: float = 0.12
    """Share of heads whose rotation in the image plane is uniform instead."""
    wide_in_plane_deg: float = 110.0
    """Limit of that rotation."""

    def sample(self, generator: np.random.Generator) -> Array:
        """Return one apparent rotation (3, 3), head → camera optical frame."""
        behind = generator.random() < self.behind_share
        if behind:
            turn = generator.uniform(self.yaw_deg, 180.0) * generator.choice([-1.0, 1.0])
            before, after = self._sample_neck_and_camera(generator)
            return after @ _yaw_rotation(np.deg2rad(turn)) @ before
        target = np.sin(np.deg2rad(generator.uniform(-self.yaw_deg, self.yaw_deg)))
        for _ in range(_ATTEMPTS):
            before, after = self._sample_neck_and_camera(generator)
            turn = _solve_yaw(target, before, after)
            if turn is not None:
                return after @ _yaw_rotation(turn) @ before
        # With nod and tilt an exact profile may be out of reach; yaw alone always reaches it.
        return _yaw_rotation(np.arcsin(target))

    def _sample_neck_and_camera(self, generator: np.random.Generator) -> tuple[Array, Array]:
        """Return the rotations before (head frame) and after (camera frame) the yaw."""
        wide = generator.random(2) < [self.wide_nod_share, self.wide_in_plane_share]
        nod = (generator.normal(0, self.wide_nod_sigma_deg) if wide[0]
               else generator.uniform(-self.nod_deg, self.nod_deg))
        turn = (generator.uniform(-self.wide_in_plane_deg, self.wide_in_plane_deg) if wide[1]
                else generator.normal(0, self.in_plane_sigma_deg))
        tilt = np.clip(generator.normal(0, self.tilt_sigma_deg), -38, 38)
        elevation = np.clip(generator.normal(0, self.elevation_sigma_deg), -35, 35)
        # The limit of a neck.
        nod = np.clip(nod, -62, 62)
        before = Rotation.from_euler('xy', [tilt, -nod], degrees=True).as_matrix()
        after = Rotation.from_euler('xz', [elevation, turn], degrees=True).as_matrix()
        return before, after


@dataclass(frozen=True)
class UniformPoses:
    """
    Apparent rotations that are uniform in the turn, the pitch and the tilt.

    The turn is about the vertical, after the nod, so that profiles nod as often as frontal faces.
    The pitch is partly a nod and partly the camera's elevation; last, the picture is tilted in its
    plane. Euler angles mix these (a profile tilted by 45 degrees decodes as a half profile), so the
    decoded yaw is uniform only up to about 60 degrees.
    """

    turn_deg: float = 90.0
    """Limit of the uniform turn."""
    behind_share: float = 0.16
    """Share of heads turned beyond it, up to 180 degrees."""
    pitch_deg: float = 45.0
    """Limit of the uniform pitch: nod and elevation of the camera together."""
    lean_sigma_deg: float = 6.0
    """Standard deviation of the lean on the neck, ear to shoulder."""
    tilt_deg: float = 45.0
    """Limit of the uniform tilt in the image plane."""
    upright_share: float = 0.35
    """Share of heads whose tilt is normally distributed instead."""
    upright_sigma_deg: float = 9.0
    """Standard deviation of that tilt."""
    any_tilt_share: float = 0.08
    """Share of heads whose tilt is uniform over the full circle instead."""

    def sample(self, generator: np.random.Generator) -> Array:
        """Return one apparent rotation (3, 3), head → camera optical frame."""
        chance = generator.random(2)
        turn = generator.uniform(-self.turn_deg, self.turn_deg)
        if chance[0] < self.behind_share:
            turn = generator.uniform(self.turn_deg, 180.0) * generator.choice([-1.0, 1.0])
        pitch = generator.uniform(-self.pitch_deg, self.pitch_deg)
        nod = pitch * generator.uniform(0.0, 1.0)
        lean = np.clip(generator.normal(0, self.lean_sigma_deg), -25, 25)
        tilt = generator.uniform(-self.tilt_deg, self.tilt_deg)
        if chance[1] < self.any_tilt_share:
            tilt = generator.uniform(-180.0, 180.0)
        elif chance[1] < self.any_tilt_share + self.upright_share:
            tilt = generator.normal(0, self.upright_sigma_deg)
        before = Rotation.from_euler('xy', [lean, -nod], degrees=True).as_matrix()
        # A rotation about the camera's x axis lowers the chin.
        after = Rotation.from_euler('xz', [nod - pitch, tilt], degrees=True).as_matrix()
        return after @ _yaw_rotation(np.deg2rad(turn)) @ before


@dataclass(frozen=True, eq=False)
class FixedPose:
    """The same rotation for every head, in place of a `PoseDistribution`, for figures."""

    rotation: Array
    """(3, 3) apparent, head → camera optical frame."""

    def sample(self, generator: np.random.Generator) -> Array:
        """Return the rotation."""
        return self.rotation


def _yaw_rotation(turn: float) -> Array:
    """Return the rotation of a head that faces the camera, after a yaw of `turn` rad."""
    return FACING_CAMERA @ Rotation.from_euler('z', -turn).as_matrix()


def _solve_yaw(target: float, before: Array, after: Array) -> float | None:
    """
    Return the yaw (rad) with -R[0, 0] = target and the face towards the camera.

    -R[0, 0] is a cosine + b sine + c of the yaw; None where no yaw reaches the target.
    """
    left = -(after @ FACING_CAMERA)[0]
    right = before[:, 0]
    cosine = left[0] * right[0] + left[1] * right[1]
    sine = left[0] * right[1] - left[1] * right[0]
    amplitude = np.hypot(cosine, sine)
    offset = target - left[2] * right[2]
    if abs(offset) > amplitude:
        return None
    phase, half = np.arctan2(sine, cosine), np.arccos(offset / amplitude)
    turns = [(phase + sign * half + np.pi) % (2 * np.pi) - np.pi for sign in (-1, 1)]
    towards = [-(after @ _yaw_rotation(turn) @ before)[2, 0] for turn in turns]
    return float(turns[int(np.argmax(towards))])
