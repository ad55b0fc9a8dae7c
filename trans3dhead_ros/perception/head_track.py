"""The state of one tracked head: its crop, its motion, its filters, and what confirms it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from trans3dhead_ros.geometry import geodesic_distance_deg
from trans3dhead_ros.perception.box_motion import BoxMotion
from trans3dhead_ros.perception.head_finder import sure_score
from trans3dhead_ros.perception.smoothing import HeadSmoother
from trans3dhead_ros.types import Array

# A head that turns by more than this, degrees a frame, is compared with a detection.
_MAX_TURN = 25.0
# Seconds with located landmarks, after which a weaker detection shows the head without them.
_ESTABLISHED_AFTER = 0.5
# A crop moves when the landmark box has moved by more than this part of its side.
_MIN_CROP_SHIFT = 0.03


@dataclass
class Track:
    """A tracked head."""

    id: int
    """Unique in the process."""
    box: Array
    """(4,) px, landmark box of the next crop."""
    roll: float = 0.0
    """Turn of the next crop, degrees clockwise."""
    face: float = 1.0
    """Probability that the face is seen, as the detector said last."""
    sure: bool = False
    """Whether the detector is sure of the head, so that it is shown whatever its score."""
    rotation: Array | None = None
    """(3, 3) of the head in the last image, where its landmarks were located."""
    restarted: int = -2
    """Frame in which it was last found elsewhere."""
    located_time: float = 0.0
    """Seconds for which its landmarks were located."""
    missed_frames: int = 0
    """Missed frames in a row."""
    unconfirmed: float = 0.0
    """Seconds of searches in which the detector did not find the head."""
    smoother: HeadSmoother = field(default_factory=HeadSmoother)
    """The filters of this head."""
    motion: BoxMotion = field(default_factory=BoxMotion)
    """Where its landmark box moves."""

    @property
    def quarters(self) -> int:
        """Turns of the image by 90°, counter-clockwise, in which the head is the most upright."""
        return round(self.roll / 90.0) % 4

    def sure_score(self, quarters: int) -> float:
        """
        Return from which score on a detection shows this head without its landmarks.

        It is that of a new head until the head was seen for a while: things without a face would
        else be tracked for as long as the detector takes them for heads.

        :param quarters: turn of the searched image.
        :return: the score, inf where none is enough.
        """
        return sure_score(quarters, self.located_time >= _ESTABLISHED_AFTER)

    @property
    def located(self) -> bool:
        """Whether the aligner located its landmarks in the last image."""
        return self.rotation is not None

    def turns_suddenly(self, rotation: Array) -> bool:
        """Return whether a rotation (3, 3) is far from that in the last image."""
        return self.rotation is not None and bool(
            geodesic_distance_deg(rotation, self.rotation) > _MAX_TURN)

    def next_box(self, elapsed: float) -> Array:
        """Return the landmark box (4,) of the crop, `elapsed` seconds after the last image."""
        box = self.motion.predict(elapsed, _MIN_CROP_SHIFT)
        return self.box if box is None else box

    def follow(self, box: Array, roll: float, elapsed: float) -> None:
        """Take over the landmark box (4,) and the turn that were found in this image."""
        if roll != self.roll:
            self.motion.reset()
        self.motion.observe(box, elapsed)
        self.move_to(box, roll)

    def restart(self, frame: int) -> None:
        """Forget the filters: the head was not where the track was in this frame."""
        self.restarted, self.smoother = frame, HeadSmoother()

    def move_to(self, box: Array, roll: float = 0.0) -> None:
        """Move the crop to a landmark box (4,); small shifts are ignored to reduce jitter."""
        side = np.max(self.box[2:] - self.box[:2])
        if roll != self.roll or np.abs(box - self.box).max() > _MIN_CROP_SHIFT * side:
            self.box, self.roll = box, roll

    def confirm(self, score: float, face: float, quarters: int) -> None:
        """Note that the detector has found this head, and how sure it is, in an image turned so."""
        self.unconfirmed, self.face = 0.0, face
        self.sure = score >= self.sure_score(quarters)

    def shows(self, score: float, threshold: float) -> bool:
        """
        Return whether an alignment shows the head: by its score, or because the detector is sure.

        A head whose landmarks were located until now may be gone: the detector must find it again.
        """
        return score >= threshold or (
            self.sure and not self.located and self.missed_frames == 0)
