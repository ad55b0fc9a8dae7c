"""
Prediction of where a tracked head is in the next image.

The centre of the landmark box moves, and its side grows, at a constant rate. The prediction is
damped, so that it does not overshoot a head that stops; a second crop in the same image makes up
for what is left (`tracker.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from trans3dhead_ros.types import Array

# Weight of the newest displacement in the velocity, and the part of the displacement that is
# predicted. At 0.2 of a box a frame, heads take 1.8 crops each with them, 2.2 with 0.5 and 0.8, and
# 4.4 without a prediction; with 1 and 1, heads at rest take 1.4 instead of 1.1.
_VELOCITY_GAIN, _DAMPING = 0.7, 0.9
# Seconds between images, beyond which a velocity says nothing of the next position.
_MAX_GAP = 0.5
# Largest displacement that is predicted: of the centre in sides of the box, and of the logarithm of
# the side.
_MAX_SHIFT, _MAX_GROWTH = 0.5, 0.2


@dataclass
class BoxMotion:
    """The motion of one landmark box in the image."""

    box: Array | None = None
    """(4,) px, in the last image; None after a reset."""
    velocity: Array = field(default_factory=lambda: np.zeros(3))
    """(3,) of the centre, px/s, and of the logarithm of the longer side, 1/s."""

    def reset(self) -> None:
        """Forget the motion, because the head is lost or was found elsewhere."""
        self.box, self.velocity = None, np.zeros(3)

    def observe(self, box: Array, elapsed: float) -> None:
        """
        Update the motion with where the head is.

        :param box: its landmark box (4,) px.
        :param elapsed: seconds since the last image.
        """
        if self.box is None or not 0.0 < elapsed <= _MAX_GAP:
            self.velocity = np.zeros(3)
        else:
            measured = (_centre_and_size(box) - _centre_and_size(self.box)) / elapsed
            self.velocity = self.velocity + _VELOCITY_GAIN * (measured - self.velocity)
        self.box = box

    def predict(self, elapsed: float, min_shift: float) -> Array | None:
        """
        Return where the box is after `elapsed` seconds.

        :param elapsed: seconds since the last image.
        :param min_shift: smallest shift that counts as motion, in sides of the box.
        :return: the box (4,) px; None if it is at rest.
        """
        if self.box is None or not 0.0 < elapsed <= _MAX_GAP:
            return None
        side = np.max(self.box[2:] - self.box[:2])
        shift = _DAMPING * elapsed * self.velocity
        distance = float(np.linalg.norm(shift[:2])) / side
        if max(distance, abs(shift[2])) <= min_shift:
            return None
        centre = 0.5 * (self.box[:2] + self.box[2:])
        centre = centre + shift[:2] * min(1.0, _MAX_SHIFT / max(distance, 1e-9))
        growth = np.exp(np.clip(shift[2], -_MAX_GROWTH, _MAX_GROWTH))
        half = 0.5 * growth * (self.box[2:] - self.box[:2])
        return np.concatenate([centre - half, centre + half])


def _centre_and_size(box: Array) -> Array:
    """Return the centre px and the logarithm of the longer side of a box (4,)."""
    size = np.log(max(float(np.max(box[2:] - box[:2])), 1e-9))
    return np.append(0.5 * (box[:2] + box[2:]), size)
