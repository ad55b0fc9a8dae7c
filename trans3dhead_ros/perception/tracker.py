"""
Tracking: crops follow the landmarks, the detector finds new and lost heads.

The crop of a head is where its motion takes it. While the landmarks are off their crop, another one
is made from them; a head whose landmarks stay off, or can no longer be located, is detected again
in the same image.

The detector searches every few images, and whenever nothing is tracked or a track is lost. What it
finds is assigned to the tracks (Hungarian algorithm on overlap and distance): a detection confirms
its track, moves it when the two disagree, or starts a new one. A track that is not confirmed for
a while ends, whatever its score.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from trans3dhead_ros.boxes import iou
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.perception.aligner import Alignments
from trans3dhead_ros.perception.batching import InferenceRequest, InferenceTask
from trans3dhead_ros.perception.box_assignment import assign_boxes
from trans3dhead_ros.perception.crop import crop_roll
from trans3dhead_ros.perception.detector import QUARTER_TURNS, Detector, detect_turned
from trans3dhead_ros.perception.head import LOCATED_SCORE
from trans3dhead_ros.perception.head_finder import (
    MAX_BELIEVED_OFFSET,
    MAX_CROP_OFFSET,
    MAX_LOOKS,
    NEW_HEAD_SCORE,
    align_detections,
    crop_offset,
    plausible,
    same_head,
    shown_in_turned_image,
    suppress_duplicates,
    sure_score,
)
from trans3dhead_ros.perception.head_track import Track
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
# A head that is off a crop by more than this part of its side is compared with a detection.
_MAX_SURPRISE = 0.12
# Seconds, assumed between images without stamps.
_NOMINAL_PERIOD = 1.0 / 30.0
# While nothing is tracked, every other search is of the image turned.
_TURNS_WITHOUT_TRACKS = [turn for quarters in QUARTER_TURNS for turn in (0, quarters)]
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


class Tracker:
    """The tracks of one camera, oldest first."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self.reset()

    def reset(self) -> None:
        """Remove all tracks; their ids are not used again."""
        self.tracks.clear()
        self._frame, self._searches, self._since_search = 0, 0, 0.0
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
            yield from self._search(image, detector, tracking, visible, doubtful)
        self._frame += 1
        duplicates = self._remove_duplicates(visible)
        for i, track in enumerate(self.tracks):
            located = self._is_located(i, visible)
            if i in visible:
                track.missed_frames = 0
                if not track.sure or located:
                    (box,), (roll,) = visible[i].crops
                    track.follow(box, roll, elapsed)
                else:
                    track.motion.reset()
            else:
                track.missed_frames += 1
                track.motion.reset()
            track.rotation = visible[i].rotation[0] if located else None
            track.located_time += max(elapsed, 0.0) if located else 0.0
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

        Return them, and the tracks to be detected again, because a crop showed the head far from
        where it should be, suddenly turned, or without landmarks that can be located. Those whose
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
        self, image: Image, detector: Detector, tracking: Tracking,
        visible: dict[int, Alignments], doubtful: set[int],
    ) -> InferenceTask[None]:
        """Assign detections to the tracks, start tracks for the others; update `visible`."""
        turns = self._turns()
        quarters = turns[self._searches % len(turns)]
        self._searches += 1
        detections = detect_turned(detector, image, quarters)
        boxes = detections.landmark_box
        owner = self._owners(boxes, visible)
        confirmed = {i: row for row, i in owner.items()}
        disagreeing = set(doubtful)
        for i, track in enumerate(self.tracks):
            if i in confirmed:
                row = confirmed[i]
                disagreeing |= {i} if self._disagrees(i, boxes[row], visible) else set()
                track.confirm(float(detections.score[row]), float(detections.face[row]), quarters)
                if track.sure and not self._is_located(i, visible):
                    roll = crop_roll(detections.roll_deg[row], track.roll)
                    track.move_to(boxes[row], float(roll))
            elif track.quarters == quarters:
                track.unconfirmed += min(len(turns) * self._since_search, _MAX_SEARCH_PERIOD)
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
            np.array([self.tracks[owner[row]].sure_score(quarters) if row in owner
                      else sure_score(quarters) for row in looks]))
        rows = [looks[row] for row in rows]
        for k, row in enumerate(rows):
            if row in owner and not self._is_confirmed(owner[row], found[k:k + 1], visible):
                visible[owner[row]] = found[k:k + 1]
                self.tracks[owner[row]].restart(self._frame)
        fresh = np.array([k for k, row in enumerate(rows) if row not in owner], np.intp)
        if quarters:
            fresh = fresh[shown_in_turned_image(
                detections[[rows[k] for k in fresh]], found[fresh])]
        for k in fresh[suppress_duplicates(found[fresh])]:
            visible[len(self.tracks)] = found[k:k + 1]
            row = rows[k]
            self.tracks.append(Track(
                next(_IDS), boxes[row], float(crop_roll(detections.roll_deg[row]))))
            self.tracks[-1].confirm(
                float(detections.score[row]), float(detections.face[row]), quarters)

    def _turns(self) -> Sequence[int]:
        """
        Return the turns of the image in which heads are sought, one a search.

        Upright heads always are; those that are turned are found best in the image turned back.
        """
        if not self.tracks:
            return _TURNS_WITHOUT_TRACKS
        return sorted({0} | {track.quarters for track in self.tracks})

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
        """Return whether a track is located and a detection does not contradict it."""
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
