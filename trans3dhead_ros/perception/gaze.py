"""
Where eyes look, from the eyeLook expressions of the head model, and where their pupils appear.

The gaze frame is an optical frame: z along the gaze, x to the person's right, y down. Head frame
and camera optical frame are those of `geometry`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from trans3dhead_ros.perception.head import Head
from trans3dhead_ros.types import Array

AHEAD = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Gaze -> head rotation of eyes that look straight out of the face."""
FULL_LOOK_DEG = {'Out': 32.0, 'In': 32.0, 'Up': 22.0, 'Down': 28.0}
"""Turn of an eyeball at a full eyeLook expression, as in the synthetic people."""
RIGHT_EYE, LEFT_EYE = slice(36, 42), slice(42, 48)
"""The rims of the person's own eyes among the 68 landmarks."""

# From the centre of an eyeball to its pupil, m.
_PUPIL_DISTANCE = 0.011


def gaze_rotation(expression: Array, names: Sequence[str]) -> Array:
    """
    Return the rotation gaze frame -> head frame, the mean of both eyes.

    `AHEAD` where the head model has no eyeLook expressions or the network leaves them at rest.

    :param expression: (E,) coefficients named by `names`.
    """
    value = dict(zip(names, np.asarray(expression, float).tolist(), strict=True))

    def turn(where: str, side: str) -> float:
        return FULL_LOOK_DEG[where] * value.get(f'eyeLook{where}_{side}', 0.0)

    left = 0.5 * (turn('Out', 'L') - turn('In', 'L') + turn('In', 'R') - turn('Out', 'R'))
    up = 0.5 * sum(turn('Up', side) - turn('Down', side) for side in 'LR')
    return Rotation.from_euler('ZY', [left, -up], degrees=True).as_matrix() @ AHEAD


def pupils(head: Head, gaze: Array) -> Array:
    """
    Return the pupils (2, 2) px: the person's right one, then the left one.

    They lie in the middle of the rim of their eye, and the turn of the eyeball moves them from
    there; nobody looks for them in the picture.

    :param gaze: (3, 3) of `gaze_rotation`.
    """
    middles = np.stack([head.landmarks[eye, :2].mean(0) for eye in (RIGHT_EYE, LEFT_EYE)])
    px_per_m = np.sqrt(head.vertices_px.var(0).sum() / head.vertices[:, :2].var(0).sum())
    shift = head.rotation @ (_PUPIL_DISTANCE * (gaze[:, 2] - AHEAD[:, 2]))
    return middles + px_per_m * shift[:2]
