"""
Identity over time: crops follow the last landmarks, the detector finds who is new or lost.

A head that the network still sees is followed without detection. The detector runs when nobody is
tracked, when a score has dropped, and every few frames, and then only a share of its search; what
it finds is assigned to the tracks that lost their head (Hungarian, by overlap and distance) or
starts new ones.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.perception.aligner import Alignments
from trans3dhead_ros.perception.batching import Looks
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_ros.perception.detector import Detector, iou
from trans3dhead_ros.perception.head_finder import find_heads, plausible, same_head
from trans3dhead_ros.perception.smoothing import HeadSmoother
from trans3dhead_ros.types import Array, Image

# One counter for the process: no two cameras share an id, and none is used again.
_IDS = itertools.count(1)

#: A head counts as found again by a detection whose centre is within this many box sides.
_REACH = 1.0
#: A crop stays where it is until the landmark box left it by this share of its side.
_STILL = 0.03
#: Missed frames that end a track at once.
_GONE = 10 ** 6


@dataclass(frozen=True)
class Tracking:
    """
    When tracks begin, are searched for and end.

    :raises ValueError: for a number out of its range.
    """

    #: Head probability that a new track needs.
    new_track_threshold: float = 0.7
    #: Head probability below which a frame counts as missed.
    keep_track_threshold: float = 0.15
    #: A track ends after this many missed frames in a row.
    max_missed_frames: int = 4
    #: Frames between searches for new heads while some are tracked.
    search_interval: int = 10

    def __post_init__(self) -> None:
        for name in ('new_track_threshold', 'keep_track_threshold'):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f'{name}: expected 0 to 1, got {getattr(self, name)!r}')
        for name, least in (('max_missed_frames', 0), ('search_interval', 1)):
            if getattr(self, name) < least:
                raise UserError(f'{name}: expected {least} or more, got {getattr(self, name)!r}')


@dataclass
class Track:
    """One head that is followed."""

    #: Unique in the process.
    id: int
    #: (4,) px, landmark box that the next crop is made from.
    box: Array
    #: Frames in a row in which it was not seen.
    missed: int = 0
    smoother: HeadSmoother = field(default_factory=HeadSmoother)

    def follow(self, box: Array) -> None:
        """Move the crop, but not for less than a crop needs: a still head keeps a still crop."""
        side = np.max(self.box[2:] - self.box[:2])
        if np.abs(box - self.box).max() > _STILL * side:
            self.box = box


class Tracker:
    """The tracks of one camera."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self._frame = 0
        self._search = 0

    def reset(self) -> None:
        """Forget every head; ids are not used again."""
        self.tracks.clear()
        self._frame = self._search = 0

    def step(
        self, image: Image, detector: Detector, tracking: Tracking,
    ) -> Looks[tuple[list[Track], Alignments | None]]:
        """
        Follow the heads into this image.

        :return: the tracks that are seen in it, oldest first, and their alignments in the same
            order; None for no track.
        """
        seen: dict[int, Alignments] = {}
        if self.tracks:
            seen = yield from self._follow(image, tracking)
        if not self.tracks or len(seen) < len(self.tracks) \
                or self._frame % tracking.search_interval == 0:
            yield from self._search_heads(image, detector, tracking, seen)
        self._frame += 1
        self._drop_duplicates(seen)
        for i, track in enumerate(self.tracks):
            if i in seen:
                track.missed = 0
                track.follow(landmark_box(seen[i].landmarks[0]))
            else:
                track.missed += 1
        answer = [self.tracks[i] for i in sorted(seen)]
        joined = Alignments.join([seen[i] for i in sorted(seen)]) if seen else None
        self.tracks = [track for track in self.tracks if track.missed <= tracking.max_missed_frames]
        return answer, joined

    def _follow(self, image: Image, tracking: Tracking) -> Looks[dict[int, Alignments]]:
        """Return the tracks that the network sees where they were, or close by."""
        boxes = np.stack([track.box for track in self.tracks])
        which = np.arange(len(boxes))
        seen: dict[int, Alignments] = {}
        # A head that moved fast is off-centre in its crop. Doubtful landmarks still point to it,
        # and a second crop made from them shows whether it is there.
        for _ in range(2):
            found = yield image, boxes
            sane = plausible(found, boxes, image)
            good = sane & (found.score >= tracking.keep_track_threshold)
            seen |= {int(i): found[at:at + 1]
                     for at, i in enumerate(which) if good[at]}
            again = sane & ~good
            which, boxes = which[again], found.boxes[again]
            if len(which) == 0:
                break
        return seen

    def _search_heads(
        self, image: Image, detector: Detector, tracking: Tracking, seen: dict[int, Alignments],
    ) -> Looks[None]:
        """Let the detector look; what it finds goes to lost tracks, the rest starts new ones."""
        # The first look is thorough; later ones cost one share, so that no frame waits for all.
        share = None if self._frame == 0 else self._search
        self._search += self._frame > 0
        known = np.concatenate([part.boxes for part in seen.values()]) if seen else None
        found = yield from find_heads(image, detector, tracking.new_track_threshold, share, known)
        if found is None:
            return
        lost = [i for i in range(len(self.tracks)) if i not in seen]
        taken: set[int] = set()
        for row, column in self._assign([self.tracks[i].box for i in lost], found.boxes):
            seen[lost[row]] = found[column:column + 1]
            taken.add(column)
        for i in range(len(found)):
            if i not in taken:
                self.tracks.append(Track(next(_IDS), found.boxes[i]))
                seen[len(self.tracks) - 1] = found[i:i + 1]

    @staticmethod
    def _assign(boxes: list[Array], found: Array) -> list[tuple[int, int]]:
        """Pair lost boxes with found ones (N, 4), the nearest overall, none beyond reach."""
        if not boxes:
            return []
        lost = np.stack(boxes)
        side = np.max(lost[:, 2:] - lost[:, :2], axis=1)
        centre, other = (0.5 * (b[:, :2] + b[:, 2:]) for b in (lost, found))
        distance = np.linalg.norm(centre[:, None] - other[None], axis=-1) / side[:, None]
        rows, columns = linear_sum_assignment(distance + 1.0 - iou(lost, found))
        return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True)
                if distance[r, c] < _REACH]

    def _drop_duplicates(self, seen: dict[int, Alignments]) -> None:
        """Two tracks that slid onto one head become the older one."""
        order = sorted(seen)
        for at, i in enumerate(order):
            for j in order[at + 1:]:
                if i in seen and j in seen and same_head(seen[i].boxes, seen[j].boxes)[0, 0]:
                    del seen[j]
                    self.tracks[j].missed = _GONE
