"""
Tracking: crops follow the landmarks, the detector finds new and lost heads.

The crop of a head is where its motion takes it. While the landmarks are off their crop, another one
is made from them; a track whose landmarks stay off, or cannot be located any more, is detected anew
in the same image.

The detector searches every few images, and whenever nothing is tracked or a track is lost. What it
finds is assigned to the tracks (Hungarian algorithm on overlap and distance): a detection confirms
its track, moves it when the two disagree, or starts a new one. A track that is not confirmed for
a while ends, whatever the aligner says of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import geodesic_distance_deg
from trans3dhead_ros.inference.head_detections import HeadDetections
from trans3dhead_ros.perception.aligner import Alignments
from trans3dhead_ros.perception.batching import InferenceRequest, InferenceTask
from trans3dhead_ros.perception.box_assignment import assign_boxes
from trans3dhead_ros.perception.box_motion import BoxMotion
from trans3dhead_ros.perception.crop import crop_roll
from trans3dhead_ros.perception.detector import Detector, iou
from trans3dhead_ros.perception.head import LOCATED_SCORE
from trans3dhead_ros.perception.head_finder import (
    MAX_BELIEVED_OFFSET,
    MAX_CROP_OFFSET,
    MAX_LOOKS,
    NEW_HEAD_SCORE,
    SURE_SCORE,
    SURE_TRACK_SCORE,
    align_detections,
    crop_offset,
    plausible,
    same_head,
    suppress_duplicates,
)
from trans3dhead_ros.perception.smoothing import HeadSmoother
from trans3dhead_ros.types import Array, Image

# One counter for the process: ids are unique over all cameras and never used again.
_IDS = itertools.count(1)

# A detection this close to a track, in sides of the larger box, may belong to it.
_MAX_DISTANCE_LOST, _MAX_DISTANCE_LOCATED = 1.0, 0.5
# A track whose box overlaps less than this (IoU) with that of its detection is looked at again:
# of heads at rest, the boxes overlap by 0.54 to 0.93, of tracks on a chin by 0.4.
_MIN_AGREEMENT = 0.5
# What is found then is the same as the track from this overlap (IoU) on.
_SAME_BOX_IOU = 0.7
# A head that is off a crop by more than this part of its side, or that turns by more than this,
# degrees a frame, is compared with a detection.
_MAX_SURPRISE, _MAX_TURN = 0.12, 25.0
# A crop moves when the landmark box has moved by more than this part of its side.
_MIN_CROP_SHIFT = 0.03
# Seconds, assumed between images without stamps.
_NOMINAL_PERIOD = 1.0 / 30.0
# Seconds that one search counts for at most, so that several must miss a head to end its track.
_MAX_SEARCH_PERIOD = 0.35


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
    search_interval: int = 2
    """Frames between searches of the whole image while all tracks are followed."""
    max_unconfirmed_time: float = 0.8
    """A track ends when the detector has not found its head for longer than this, seconds."""

    def __post_init__(self) -> None:
        for name in ('new_track_threshold', 'keep_track_threshold'):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f'{name}: expected 0 to 1, got {getattr(self, name)!r}')
        for name, least in (('max_missed_frames', 0), ('search_interval', 1),
                            ('max_unconfirmed_time', 0.0)):
            if not getattr(self, name) >= least:
                raise UserError(f'{name}: expected {least} or more, got {getattr(self, name)!r}')


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
    missed_frames: int = 0
    """Missed frames in a row."""
    unconfirmed: float = 0.0
    """Seconds of searches in which the detector did not find the head."""
    smoother: HeadSmoother = field(default_factory=HeadSmoother)
    """The filters of this head."""
    motion: BoxMotion = field(default_factory=BoxMotion)
    """Where its landmark box moves."""

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

    def confirm(self, score: float, face: float) -> None:
        """Take over what a detection of this head says."""
        self.unconfirmed, self.face = 0.0, face
        self.sure = score >= SURE_TRACK_SCORE

    def shows(self, score: float, threshold: float) -> bool:
        """
        Return whether an alignment shows the head: by its score, or as the detector said.

        A head whose landmarks were located until now may be gone: the detector has to say again.
        """
        return score >= threshold or (
            self.sure and not self.located and self.missed_frames == 0)


class Tracker:
    """The tracks of one camera, oldest first."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self.reset()

    def reset(self) -> None:
        """Remove all tracks; their ids are not used again."""
        self.tracks.clear()
        self._frame, self._since_search = 0, 0.0
        self._stamp: float | None = None

    def update(
        self, image: Image, stamp: float | None, detector: Detector, tracking: Tracking,
    ) -> Generator[InferenceRequest, Alignments, tuple[list[Track], Alignments | None]]:
        """
        Track the heads in the next image.

        :param image: (H, W, 3) uint8 BGR.
        :param stamp: time of the image, s; without stamps, 30 images a second are assumed.
        :param detector: finds new and lost heads.
        :param tracking: settings.
        :return: the tracks that are visible in the image, oldest first, and their alignments in the
            same order; None without any.
        """
        elapsed = _NOMINAL_PERIOD if stamp is None or self._stamp is None else stamp - self._stamp
        self._stamp, self._since_search = stamp, self._since_search + max(elapsed, 0.0)
        visible: dict[int, Alignments] = {}
        doubtful: set[int] = set()
        if self.tracks:
            visible, doubtful = yield from self._align_tracks(image, elapsed, tracking)
        if doubtful or len(visible) < max(len(self.tracks), 1) \
                or self._frame % tracking.search_interval == 0 \
                or any(track.restarted == self._frame - 1 for track in self.tracks):
            yield from self._search(image, detector.detect(image), tracking, visible, doubtful)
        self._frame += 1
        duplicates = self._remove_duplicates(visible)
        for i, track in enumerate(self.tracks):
            if i in visible:
                track.missed_frames = 0
                if not track.sure or self._is_located(i, visible):
                    (box,), (roll,) = visible[i].crops
                    track.follow(box, roll, elapsed)
                else:
                    track.motion.reset()
            else:
                track.missed_frames += 1
                track.motion.reset()
            track.rotation = visible[i].rotation[0] if self._is_located(i, visible) else None
        order = sorted(visible)
        tracks = [self.tracks[i] for i in order]
        alignments = Alignments.join([visible[i] for i in order]) if order else None
        self.tracks = [track for i, track in enumerate(self.tracks)
                       if i not in duplicates and track.missed_frames <= tracking.max_missed_frames
                       and track.unconfirmed <= tracking.max_unconfirmed_time]
        return tracks, alignments

    def _align_tracks(
        self, image: Image, elapsed: float, tracking: Tracking,
    ) -> InferenceTask[tuple[dict[int, Alignments], set[int]]]:
        """
        Align the heads of the tracks at or near where they should be.

        Return them, and the tracks to be detected anew, because a crop showed the head far from
        where it should be, turned suddenly, or without landmarks that can be located. Those whose
        landmarks stay off their crop are not among the former.
        """
        boxes = np.stack([track.next_box(elapsed) for track in self.tracks])
        rolls = np.array([track.roll for track in self.tracks])
        indices = np.arange(len(boxes))
        visible: dict[int, Alignments] = {}
        doubtful: set[int] = set()
        offset = np.zeros(len(self.tracks))
        # A head that moved fast is off-centre in its crop. Its landmarks still point towards it,
        # even with a low score, and another crop made from them decides.
        for look in range(MAX_LOOKS):
            found = yield InferenceRequest(image, boxes, rolls)
            valid = plausible(found, boxes, image)
            tracks = [self.tracks[index] for index in indices]
            good = valid & [track.shows(score, tracking.keep_track_threshold)
                            for track, score in zip(tracks, found.score, strict=True)]
            # Where no landmarks can be located, as from behind, where they are says nothing.
            located = (found.score >= LOCATED_SCORE) | [track.located for track in tracks]
            moved = crop_offset(found, boxes)
            offset[indices] = np.where(good & located, moved, 0.0)
            doubtful |= set(indices[located & (
                (moved > _MAX_SURPRISE) | (found.score < LOCATED_SCORE)
                | [track.turns_suddenly(rotation)
                   for track, rotation in zip(tracks, found.rotation, strict=True)])].tolist())
            for row, index in enumerate(indices):
                visible.pop(int(index), None)
                if good[row]:
                    visible[int(index)] = found[row:row + 1]
            again = (offset[indices] > MAX_CROP_OFFSET) | (
                valid & ~good & ((look == 0) | (moved > MAX_CROP_OFFSET)))
            indices, (boxes, rolls) = indices[again], found[again].crops
            if len(indices) == 0:
                break
        visible = {i: heads for i, heads in visible.items() if offset[i] <= MAX_BELIEVED_OFFSET}
        return visible, doubtful

    def _search(
        self, image: Image, detections: HeadDetections, tracking: Tracking,
        visible: dict[int, Alignments], doubtful: set[int],
    ) -> InferenceTask[None]:
        """Assign detections to the tracks, start tracks for the others; update `visible`."""
        boxes = detections.landmark_box
        owner = self._owners(boxes, visible)
        confirmed = {i: row for row, i in owner.items()}
        disagreeing = set(doubtful)
        for i, track in enumerate(self.tracks):
            if i in confirmed:
                row = confirmed[i]
                disagreeing |= {i} if self._disagrees(i, boxes[row], visible) else set()
                track.confirm(float(detections.score[row]), float(detections.face[row]))
                if track.sure and not self._is_located(i, visible):
                    roll = crop_roll(detections.roll_deg[row], track.roll)
                    track.move_to(boxes[row], float(roll))
            else:
                track.unconfirmed += min(self._since_search, _MAX_SEARCH_PERIOD)
                if i in visible and visible[i].score[0] < tracking.keep_track_threshold:
                    del visible[i]
        self._since_search = 0.0

        known = np.array([self._box(i, visible) for i in visible]).reshape(-1, 4)
        is_new = (detections.score >= NEW_HEAD_SCORE) & ~same_head(boxes, known).any(axis=1)
        looks = [row for row in range(len(detections)) if (
            (owner[row] not in visible or owner[row] in disagreeing) if row in owner
            else is_new[row])]
        owned = np.array([row in owner for row in looks], bool)
        found, rows = yield from align_detections(
            image, detections[looks],
            np.where(owned, tracking.keep_track_threshold, tracking.new_track_threshold),
            np.where(owned, SURE_TRACK_SCORE, SURE_SCORE))
        rows = [looks[row] for row in rows]
        for k, row in enumerate(rows):
            if row in owner and not self._is_confirmed(owner[row], found[k:k + 1], visible):
                visible[owner[row]] = found[k:k + 1]
                self.tracks[owner[row]].restart(self._frame)
        fresh = np.array([k for k, row in enumerate(rows) if row not in owner], np.intp)
        for k in fresh[suppress_duplicates(found[fresh])]:
            visible[len(self.tracks)] = found[k:k + 1]
            row = rows[k]
            self.tracks.append(Track(
                next(_IDS), boxes[row], float(crop_roll(detections.roll_deg[row]))))
            self.tracks[-1].confirm(float(detections.score[row]), float(detections.face[row]))

    def _owners(self, boxes: Array, visible: dict[int, Alignments]) -> dict[int, int]:
        """Return the track of each detection that belongs to one; located tracks choose first."""
        owner: dict[int, int] = {}
        for chosen, distance in ((True, _MAX_DISTANCE_LOCATED), (False, _MAX_DISTANCE_LOST)):
            tracks = [i for i in range(len(self.tracks))
                      if self._is_located(i, visible) is chosen]
            rows = [row for row in range(len(boxes)) if row not in owner]
            owner |= {rows[column]: tracks[place] for place, column in assign_boxes(
                [self._box(i, visible) for i in tracks], boxes[rows], distance)}
        return owner

    def _box(self, i: int, visible: dict[int, Alignments]) -> Array:
        """Return where a track is: at its landmarks, where these can be located."""
        return visible[i].boxes[0] if self._is_located(i, visible) else self.tracks[i].box

    @staticmethod
    def _is_located(i: int, visible: dict[int, Alignments]) -> bool:
        return i in visible and bool(visible[i].score[0] >= LOCATED_SCORE)

    def _disagrees(self, i: int, box: Array, visible: dict[int, Alignments]) -> bool:
        return bool(iou(self._box(i, visible)[None], box[None])[0, 0] < _MIN_AGREEMENT)

    def _is_confirmed(self, i: int, found: Alignments, visible: dict[int, Alignments]) -> bool:
        """Return whether what was found from a detection does not tell against a track."""
        return self._is_located(i, visible) and bool(
            found.score[0] < LOCATED_SCORE
            or iou(visible[i].boxes, found.boxes)[0, 0] >= _SAME_BOX_IOU)

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
