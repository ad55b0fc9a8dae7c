"""
Gaze direction and pupils, from the eyeLook expressions of the head model.

The gaze frame is an optical frame: z along the gaze, x to the person's right, y down. The head
frame and the camera optical frame are those of `geometry`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trans3dhead_ros.geometry import rotation_from_vector
from trans3dhead_ros.perception.head import Head
from trans3dhead_ros.types import Array

AHEAD = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Rotation gaze frame -> head frame of eyes that look straight ahead."""
MAX_EYE_ROTATION_DEG = {'Out': 32.0, 'In': 32.0, 'Up': 22.0, 'Down': 28.0}
"""Rotation of an eyeball at an eyeLook coefficient of 1, as in the synthetic training data."""
RIGHT_EYE, LEFT_EYE = slice(36, 42), slice(42, 48)
"""The rims of the eyes among the 68 landmarks; left and right are the person's own."""

# From the centre of an eyeball to its pupil, m.
_PUPIL_RADIUS = 0.011


def gaze_rotation(expression: Array, names: Sequence[str]) -> Array:
    """
    Return the mean gaze direction of both eyes.

    :param expression: (E,) coefficients.
    :param names: their names.
    :return: (3, 3) rotation gaze frame -> head frame; `AHEAD` where the head model has no eyeLook
        expressions.
    """
    value = dict(zip(names, np.asarray(expression, float).tolist(), strict=True))

    def angle(direction: str, side: str) -> float:
        return MAX_EYE_ROTATION_DEG[direction] * value.get(f'eyeLook{direction}_{side}', 0.0)

    left = 0.5 * (angle('Out', 'L') - angle('In', 'L') + angle('In', 'R') - angle('Out', 'R'))
    up = 0.5 * sum(angle('Up', side) - angle('Down', side) for side in 'LR')
    return (rotation_from_vector(np.deg2rad([0.0, 0.0, left]))
            @ rotation_from_vector(np.deg2rad([0.0, -up, 0.0])) @ AHEAD)


def pupils(head: Head, gaze: Array) -> Array:
    """
    Return where the pupils are in the image.

    They are not detected: each lies at the centre of the rim of its eye, moved by the rotation of
    the eyeball.

    :param head: with vertices.
    :param gaze: (3, 3) from `gaze_rotation`.
    :return: (2, 2) px, the person's right pupil and the left one.
    """
    centres = np.stack([head.landmarks[eye, :2].mean(0) for eye in (RIGHT_EYE, LEFT_EYE)])
    px_per_m = np.sqrt(head.vertices_px.var(0).sum() / head.vertices[:, :2].var(0).sum())
    shift = head.rotation @ (_PUPIL_RADIUS * (gaze[:, 2] - AHEAD[:, 2]))
    return centres + px_per_m * shift[:2]
