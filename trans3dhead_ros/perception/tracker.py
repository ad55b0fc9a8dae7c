"""
Tracking: crops follow the landmarks of the last image, the detector finds new and lost heads.

A head that the network still confirms is followed without detection. The detector runs when there
are no tracks, when a score has dropped, and every few frames, and then only one pass of its search.
Its heads are assigned to lost tracks (Hungarian algorithm on overlap and distance) or start new
ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.perception.aligner import Alignments
from trans3dhead_ros.perception.batching import InferenceRequest, InferenceTask
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_ros.perception.detector import Detector, iou
from trans3dhead_ros.perception.head_finder import find_heads, plausible, same_head
from trans3dhead_ros.perception.smoothing import HeadSmoother
from trans3dhead_ros.types import Array, Image, IndexArray

# One counter for the process: ids are unique over all cameras and never used again.
_IDS = itertools.count(1)

# A detection this close to a lost track, in sides of its box, may belong to it.
_MAX_MATCH_DISTANCE = 1.0
# A crop moves when the landmark box has moved by more than this part of its side.
_MIN_CROP_SHIFT = 0.03


@dataclass(frozen=True)
class Tracking:
    """
    When tracks start, when the detector runs, and when tracks end.

    :raises UserError: for a number out of its range.
    """

    new_track_threshold: float = 0.7
    """Smallest score of a head that starts a track, 0 to 1."""
    keep_track_threshold: float = 0.15
    """A frame with a lower score counts as missed, 0 to 1."""
    max_missed_frames: int = 4
    """A track ends after more missed frames in a row than this."""
    search_interval: int = 10
    """Frames between searches for new heads while others are tracked."""

    def __post_init__(self) -> None:
        for name in ('new_track_threshold', 'keep_track_threshold'):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f'{name}: expected 0 to 1, got {getattr(self, name)!r}')
        for name, least in (('max_missed_frames', 0), ('search_interval', 1)):
            if getattr(self, name) < least:
                raise UserError(f'{name}: expected {least} or more, got {getattr(self, name)!r}')


@dataclass
class Track:
    """A tracked head."""

    id: int
    """Unique in the process."""
    box: Array
    """(4,) px, landmark box of the next crop."""
    missed_frames: int = 0
    """Missed frames in a row."""
    smoother: HeadSmoother = field(default_factory=HeadSmoother)
    """The filters of this head."""

    def move_to(self, box: Array) -> None:
        """Move the crop to a landmark box (4,); small shifts are ignored to reduce jitter."""
        side = np.max(self.box[2:] - self.box[:2])
        if np.abs(box - self.box).max() > _MIN_CROP_SHIFT * side:
            self.box = box


class Tracker:
    """The tracks of one camera, oldest first."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self._frame = 0
        self._next_pass = 0

    def reset(self) -> None:
        """Remove all tracks; their ids are not used again."""
        self.tracks.clear()
        self._frame = self._next_pass = 0

    def update(
        self, image: Image, detector: Detector, tracking: Tracking,
    ) -> Generator[InferenceRequest, Alignments, tuple[list[Track], Alignments | None]]:
        """
        Track the heads in the next image.

        :param image: (H, W, 3) uint8 BGR.
        :param detector: finds new and lost heads.
        :param tracking: settings.
        :return: the tracks that are visible in the image, oldest first, and their alignments in the
            same order; None without any.
        """
        visible: dict[int, Alignments] = {}
        if self.tracks:
            visible = yield from self._align_tracks(image, tracking)
        if not self.tracks or len(visible) < len(self.tracks) \
                or self._frame % tracking.search_interval == 0:
            yield from self._detect(image, detector, tracking, visible)
        self._frame += 1
        duplicates = self._remove_duplicates(visible)
        for i, track in enumerate(self.tracks):
            if i in visible:
                track.missed_frames = 0
                track.move_to(landmark_box(visible[i].landmarks[0]))
            else:
                track.missed_frames += 1
        order = sorted(visible)
        tracks = [self.tracks[i] for i in order]
        alignments = Alignments.join([visible[i] for i in order]) if order else None
        self.tracks = [track for i, track in enumerate(self.tracks)
                       if i not in duplicates and track.missed_frames <= tracking.max_missed_frames]
        return tracks, alignments

    def _align_tracks(
        self, image: Image, tracking: Tracking,
    ) -> InferenceTask[dict[int, Alignments]]:
        """Return the alignments of the tracks whose heads are at or near their last position."""
        boxes = np.stack([track.box for track in self.tracks])
        indices = np.arange(len(boxes))
        visible: dict[int, Alignments] = {}
        # A head that moved fast is off-centre in its crop. Landmarks with a low score still point
        # towards it, and a second crop made from them decides.
        for _ in range(2):
            found = yield InferenceRequest(image, boxes)
            valid = plausible(found, boxes, image)
            good = valid & (found.score >= tracking.keep_track_threshold)
            visible |= {int(index): found[row:row + 1]
                        for row, index in enumerate(indices) if good[row]}
            again = valid & ~good
            indices, boxes = indices[again], found.boxes[again]
            if len(indices) == 0:
                break
        return visible

    def _detect(
        self, image: Image, detector: Detector, tracking: Tracking,
        visible: dict[int, Alignments],
    ) -> InferenceTask[None]:
        """Assign detected heads to lost tracks, start tracks for the others; extend `visible`."""
        # The full search in the first image, one pass in later ones, which must not take long.
        pass_index = None if self._frame == 0 else self._next_pass
        self._next_pass += self._frame > 0
        known = np.concatenate([part.boxes for part in visible.values()]) if visible else None
        found = yield from find_heads(
            image, detector, tracking.new_track_threshold, pass_index, known)
        if found is None:
            return
        lost = [i for i in range(len(self.tracks)) if i not in visible]
        assigned: set[int] = set()
        for row, column in assign_boxes([self.tracks[i].box for i in lost], found.boxes):
            visible[lost[row]] = found[column:column + 1]
            assigned.add(column)
        for i in range(len(found)):
            if i not in assigned:
                self.tracks.append(Track(next(_IDS), found.boxes[i]))
                visible[len(self.tracks) - 1] = found[i:i + 1]

    @staticmethod
    def _remove_duplicates(visible: dict[int, Alignments]) -> set[int]:
        """Remove, from `visible`, younger tracks on the head of an older one; return them."""
        duplicates: set[int] = set()
        order = sorted(visible)
        for position, i in enumerate(order):
            for j in order[position + 1:]:
                if i in visible and j in visible \
                        and same_head(visible[i].boxes, visible[j].boxes)[0, 0]:
                    del visible[j]
                    duplicates.add(j)
        return duplicates


def assign_boxes(lost: list[Array], found: Array) -> list[tuple[int, int]]:
    """
    Assign found boxes to lost tracks by overlap and distance.

    :param lost: landmark boxes (4,) of the tracks.
    :param found: (N, 4) landmark boxes.
    :return: pairs (index into `lost`, index into `found`), none too far apart.
    """
    if not lost:
        return []
    boxes = np.stack(lost)
    side = np.max(boxes[:, 2:] - boxes[:, :2], axis=1)
    centre, other = (0.5 * (b[:, :2] + b[:, 2:]) for b in (boxes, found))
    distance = np.linalg.norm(centre[:, None] - other[None], axis=-1) / side[:, None]
    rows, columns = _cheapest_pairs(distance + 1.0 - iou(boxes, found))
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True)
            if distance[r, c] < _MAX_MATCH_DISTANCE]


def _cheapest_pairs(cost: Array) -> tuple[IndexArray, IndexArray]:
    """Return the rows and the columns of the assignment of lowest cost (N, M)."""
    if min(cost.shape) == 1:
        cheapest = np.array([cost.argmin()])
        return (0 * cheapest, cheapest) if len(cost) == 1 else (cheapest, 0 * cheapest)
    # Takes a while to load, and is needed only where two heads are lost at once.
    from scipy.optimize import linear_sum_assignment
    return linear_sum_assignment(cost)
