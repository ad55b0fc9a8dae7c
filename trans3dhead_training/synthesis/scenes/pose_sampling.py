"""How heads are held: rotations over the full range, flat in yaw between the two profiles."""

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
    Apparent rotations of heads.

    A head nods and tilts on its neck, turns about the vertical, is looked at from above or below,
    by a camera that is turned in its plane. Yaw as `euler_from_rotation` decodes it is flat over
    `yaw_deg` for the heads whose face is towards the camera; what the decode folds (the head seen
    from behind) is drawn by its turn about the vertical.
    """

    yaw_deg: float = 90.0
    """Limit of the flat part."""
    behind_share: float = 0.12
    """Heads turned beyond it, up to 180."""
    nod_deg: float = 28.0
    """Evenly up to this;."""
    wide_nod_share: float = 0.2
    """Of them, a normal tail instead with."""
    wide_nod_sigma_deg: float = 24.0
    """."""
    tilt_sigma_deg: float = 10.0
    """Of the head on its neck, ear to shoulder."""
    elevation_sigma_deg: float = 10.0
    """Of the camera above or below the head."""
    in_plane_sigma_deg: float = 7.0
    """In the picture's plane."""
    wide_in_plane_share: float = 0.12
    """Evenly up to."""
    wide_in_plane_deg: float = 110.0
    """Instead."""

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
        # Nods and tilts can keep a head from an exact profile; a bare turn always reaches it.
        return _yaw_rotation(np.arcsin(target))

    def _sample_neck_and_camera(self, generator: np.random.Generator) -> tuple[Array, Array]:
        """Return the rotations before (head frame) and after (camera frame) the turn."""
        wide = generator.random(2) < [self.wide_nod_share, self.wide_in_plane_share]
        nod = (generator.normal(0, self.wide_nod_sigma_deg) if wide[0]
               else generator.uniform(-self.nod_deg, self.nod_deg))
        turn = (generator.uniform(-self.wide_in_plane_deg, self.wide_in_plane_deg) if wide[1]
                else generator.normal(0, self.in_plane_sigma_deg))
        tilt = np.clip(generator.normal(0, self.tilt_sigma_deg), -38, 38)
        elevation = np.clip(generator.normal(0, self.elevation_sigma_deg), -35, 35)
        # A neck goes no farther, whatever the tail says.
        nod = np.clip(nod, -62, 62)
        before = Rotation.from_euler('xy', [tilt, -nod], degrees=True).as_matrix()
        after = Rotation.from_euler('xz', [elevation, turn], degrees=True).as_matrix()
        return before, after


@dataclass(frozen=True, eq=False)
class FixedPose:
    """One rotation for every head, in place of a `PoseDistribution`: for figures."""

    rotation: Array
    """(3, 3) apparent, head → camera optical frame."""

    def sample(self, generator: np.random.Generator) -> Array:
        """Return the rotation; nothing is drawn."""
        return self.rotation


def _yaw_rotation(turn: float) -> Array:
    """Return a head that faces the camera after a turn of yaw `turn` rad about its vertical."""
    return FACING_CAMERA @ Rotation.from_euler('z', -turn).as_matrix()


def _solve_yaw(target: float, before: Array, after: Array) -> float | None:
    """
    Return the turn (rad) with -R[0, 0] = target, the one that leaves the face to the camera.

    -R[0, 0] is a cosine + b sine + c of the turn; None where no turn reaches the target.
    """
    left = -(after @ FACING_CAMERA)[0]
    right = before[:, 0]
    cosine = left[0] * right[0] + left[1] * right[1]
    sine = left[0] * right[1] - left[1] * right[0]
    size = np.hypot(cosine, sine)
    wanted = target - left[2] * right[2]
    if abs(wanted) > size:
        return None
    phase, half = np.arctan2(sine, cosine), np.arccos(wanted / size)
    turns = [(phase + sign * half + np.pi) % (2 * np.pi) - np.pi for sign in (-1, 1)]
    towards = [-(after @ _yaw_rotation(turn) @ before)[2, 0] for turn in turns]
    return float(turns[int(np.argmax(towards))])
