"""Random rotation of the shoulders relative to the head, within the limits of a neck."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from trans3dhead_ros.geometry import FACING_CAMERA
from trans3dhead_ros.types import Array

_NECK_LIMIT_DEG = 62.0


def sample_torso_rotation(
    generator: np.random.Generator, head: Array, tilt_with_head: bool = False,
) -> Array:
    """
    Return a random rotation of the shoulders: mostly upright, within the limits of a neck.

    :param generator: source of the choices.
    :param head: (3, 3) head → camera optical frame.
    :param tilt_with_head: tilt the body in the image plane by a part of the head's roll.
    :return: (3, 3) body → head frame; the identity is a head held straight.
    """
    ahead = head[:, 0]
    yaw = np.rad2deg(np.arctan2(-ahead[0], -ahead[2])) + np.clip(generator.normal(0, 24), -60, 60)
    lean, tilt = generator.normal(0, 8, 2)
    if tilt_with_head:
        # As with a rotated camera, or somebody who lies.
        up = head[:, 2]
        lean += np.rad2deg(np.arctan2(up[0], -up[1])) * generator.uniform(0.3, 1.0)
    upright = (Rotation.from_euler('xz', [tilt, lean], degrees=True).as_matrix()
               @ FACING_CAMERA @ Rotation.from_euler('z', -yaw, degrees=True).as_matrix())
    return limit_neck_rotation(head.T @ upright)


def limit_neck_rotation(body_to_head: Array) -> Array:
    """Return a rotation (3, 3) reduced to the largest angle of a neck."""
    turn = Rotation.from_matrix(body_to_head).as_rotvec()
    most = np.deg2rad(_NECK_LIMIT_DEG)
    return Rotation.from_rotvec(turn * min(1.0, most / max(np.linalg.norm(turn), 1e-9))).as_matrix()
