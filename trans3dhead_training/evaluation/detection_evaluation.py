"""Detectors on pictures with labelled heads: which heads they find, and what else they report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from trans3dhead_ros.boxes import iou
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.inference.head_search import resized
from trans3dhead_training.detection.detection_metrics import (
    HEIGHT_BINS,
    PictureMatches,
    RecallCurve,
    bin_name,
    match_heads,
)
from trans3dhead_training.detection.labelled_picture import LabelledPicture
from trans3dhead_training.detection.picture_sources import (
    read_face_boxes,
    read_head_boxes,
    read_rooms,
    read_scenes,
)
from trans3dhead_training.predictors.head_detectors import FoundHeads, PeerDetector

SIDE = 640
"""Longer side of the evaluated pictures, px."""

DETECTION_SETS: dict[str, Callable[[Path, bool | None], list[LabelledPicture]]] = {
    'heads': read_head_boxes, 'masks': read_face_boxes, 'rooms': read_rooms,
    'scenes': read_scenes}
"""Kinds of sets, and their readers."""

RATES = (0.1, 1.0)
"""False detections a picture at which heads are counted."""

_DARK = 0.1
_CUT, _MIN_CUT_PX = 0.3, 24.0
"""Share of a face beyond a border, and heights of the faces that are cut."""
_MIN_SHOWN = 0.5


@dataclass(frozen=True, eq=False)
class EvaluatedPicture:
    """A picture, what was found in it, and how that matches its labels."""

    picture: LabelledPicture
    """As it was searched."""
    found: FoundHeads
    """The detections."""
    matches: PictureMatches
    """Of the detections and the labelled heads."""
    verified: PictureMatches
    """The same where a detection of a head that labellers missed is not counted as false."""


@dataclass(frozen=True, eq=False)
class DetectionResult:
    """One detector on one set."""

    metrics: Mapping[str, Any]
    """Figures by name, for JSON."""
    pictures: Sequence[EvaluatedPicture]
    """Without a variant of light or turn."""

    @property
    def curve(self) -> RecallCurve:
        """The matches of all pictures."""
        return RecallCurve([entry.matches for entry in self.pictures])


def read_detection_set(kind: str, folder: Path, validation: bool | None,
                       limit: int | None) -> list[LabelledPicture]:
    """
    Read the pictures of a set at the size of the evaluation.

    :param kind: one of `DETECTION_SETS`.
    :param folder: of the set.
    :param validation: the held-out pictures, or the others; None: all.
    :param limit: at most so many, evenly spread; None: all.
    :return: the pictures.
    :raises UserError: there are none.
    """
    pictures = DETECTION_SETS[kind](folder, validation)
    if not pictures:
        raise UserError(f'data: {folder} has no pictures of this split')
    if limit is not None and limit < len(pictures):
        pictures = [pictures[i] for i in np.linspace(0, len(pictures) - 1, limit).astype(int)]
    return [_resized(picture) for picture in pictures]


def evaluate_detector(
    detector: PeerDetector, kind: str, pictures: Sequence[LabelledPicture],
    variants: bool = True,
) -> DetectionResult:
    """
    Search pictures and compare with their labels.

    :param detector: the detector.
    :param kind: of the set, one of `DETECTION_SETS`.
    :param pictures: as `read_detection_set` returns them.
    :param variants: also search the pictures of heads in a tenth of the light and turned, and the
        faces of masks cut by a border.
    :return: the figures. Of heads: recall by height at 0.1 and at 1 false detections a picture,
        both as labelled and without counting detections of heads that labellers missed as false,
        and what is kept of it in the variants at the score of 0.1. Of masks and scenes, whose
        other heads are not labelled or that have few: recall by height at the default score; of
        masks also that of faces of at least 24 px of which a border cuts 30 %. Of rooms: false
        heads a picture at the default score.
    """
    entries = [_evaluated(picture, detector, kind) for picture in pictures]
    curve = RecallCurve([entry.matches for entry in entries])
    metrics: dict[str, Any] = {'pictures': len(entries)}
    if kind == 'rooms':
        metrics['false_at_default'] = len(curve.false_scores[
            curve.false_scores >= detector.default_score]) / len(entries)
        metrics['score_of_0.02_false'] = curve.threshold(0.02)
    elif kind == 'heads':
        verified = RecallCurve([entry.verified for entry in entries])
        metrics['heads'] = {bin_name(heights): curve.count(heights) for heights in HEIGHT_BINS}
        for rate in RATES:
            threshold = curve.threshold(rate)
            metrics[f'recall_at_{rate:g}'] = _by_height(curve, threshold)
            metrics[f'score_of_{rate:g}_false'] = threshold
            metrics[f'verified_recall_at_{rate:g}'] = _by_height(
                verified, verified.threshold(rate))
        at_default = np.nextafter(detector.default_score, -np.inf)
        metrics['recall_at_default'] = _by_height(curve, at_default)
        metrics['false_at_default'] = float((
            curve.false_scores >= detector.default_score).mean() * len(curve.false_scores)
            / len(entries)) if len(curve.false_scores) else 0.0
        if variants:
            threshold = curve.threshold(RATES[0])
            usual = curve.recall(threshold)
            for name, change in VARIANTS.items():
                changed = RecallCurve([_evaluated(change(picture), detector, kind).matches
                                       for picture in pictures])
                metrics[f'kept_{name}'] = changed.recall(threshold) / max(usual, 1e-9)
    else:
        at_default = np.nextafter(detector.default_score, -np.inf)
        metrics['heads'] = {bin_name(heights): curve.count(heights) for heights in HEIGHT_BINS}
        metrics['recall_at_default'] = _by_height(curve, at_default)
        if kind == 'masks' and variants:
            cut = RecallCurve([_evaluated(part, detector, kind).matches
                               for number, picture in enumerate(pictures)
                               for part in _cut_faces(picture, number)])
            metrics['recall_cut'] = cut.recall(at_default)
        if kind == 'scenes':
            metrics['false_at_default'] = float(
                (curve.false_scores >= detector.default_score).sum() / len(entries))
            metrics.update(_of_scenes(entries, at_default))
    return DetectionResult(metrics, entries)


def _by_height(curve: RecallCurve, threshold: float) -> dict[str, float]:
    return {bin_name(heights): curve.recall(threshold, heights)
            for heights in HEIGHT_BINS if curve.count(heights)}


def _evaluated(picture: LabelledPicture, detector: PeerDetector, kind: str) -> EvaluatedPicture:
    found = detector.find(picture.image)
    heads, centre = picture.heads, found.centre
    box = heads.head_box
    if kind == 'masks':
        # Labelled are faces, which the centre of a head may lie above.
        box, marks = heads.landmark_box, found.landmark_box
        centre = 0.5 * (marks[:, :2] + marks[:, 2:])
    hidden = heads.shown < _MIN_SHOWN
    matches = match_heads(centre, found.score, box[~hidden], box[hidden])
    excused = np.concatenate([box[hidden], picture.missed.head_box])
    verified = match_heads(centre, found.score, box[~hidden], excused)
    return EvaluatedPicture(picture, found, matches, verified)


def _of_scenes(entries: Sequence[EvaluatedPicture], threshold: float) -> dict[str, Any]:
    """Return recall by whether the face is seen, and errors of the roll and of the boxes."""
    found_of, face, rolls, overlaps = [], [], [], []
    for entry in entries:
        heads = entry.picture.heads[entry.picture.heads.shown >= _MIN_SHOWN]
        high = entry.matches.height >= HEIGHT_BINS[0][0]
        face.append(heads.face[high])
        found_of.append(entry.matches.head_score[high] > threshold)
        if entry.found.roll_deg is None:
            continue
        for head, score in enumerate(entry.matches.head_score):
            if score > threshold:
                number = int(np.flatnonzero(entry.matches.is_true
                                            & (entry.found.score == score))[0])
                if heads.up_weight[head] > 0.5:
                    true = np.rad2deg(np.arctan2(heads.up[head, 0], -heads.up[head, 1]))
                    rolls.append(abs((entry.found.roll_deg[number] - true + 180) % 360 - 180))
                overlaps.append(iou(entry.found.landmark_box[[number]],
                                    heads.landmark_box[[head]])[0, 0])
    found, seen = np.concatenate(found_of), np.concatenate(face)
    result: dict[str, Any] = {
        f'recall_face_{name}': float(found[seen == value].mean())
        for name, value in (('seen', 1.0), ('unseen', 0.0)) if (seen == value).any()}
    if rolls:
        result['roll_median_deg'] = float(np.median(rolls))
        result['landmark_box_iou'] = float(np.mean(overlaps))
    return result


def _resized(picture: LabelledPicture) -> LabelledPicture:
    image = resized(picture.image, SIDE)
    linear = np.diag(np.divide(image.shape[1::-1], picture.image.shape[1::-1]))
    matrix = np.column_stack([linear, 0.5 * np.diag(linear) - 0.5])
    return replace(picture, image=image, heads=picture.heads.moved(matrix),
                   missed=picture.missed.moved(matrix))


def _darkened(picture: LabelledPicture) -> LabelledPicture:
    image = np.round(_DARK * picture.image.astype(np.float32)).astype(np.uint8)
    return replace(picture, image=image)


def _cut_faces(picture: LabelledPicture, number: int) -> Iterator[LabelledPicture]:
    """Yield a picture for each face, cropped so that one of its sides cuts the face."""
    height, width = picture.image.shape[:2]
    for head, (x0, y0, x1, y1) in enumerate(picture.heads.landmark_box):
        if y1 - y0 < _MIN_CUT_PX:
            continue
        across, down = _CUT * (x1 - x0), _CUT * (y1 - y0)
        left, top, right, bottom = (
            (x0 + across, 0, width, height), (0, y0 + down, width, height),
            (0, 0, x1 - across, height), (0, 0, width, y1 - down))[(number + head) % 4]
        left, top, right, bottom = (round(float(value)) for value in (left, top, right, bottom))
        heads = picture.heads[np.arange(len(picture.heads)) == head]
        yield LabelledPicture(
            np.ascontiguousarray(picture.image[max(top, 0):bottom, max(left, 0):right]),
            heads.moved(np.array([[1.0, 0, -max(left, 0)], [0, 1.0, -max(top, 0)]])), False)


def _turned(picture: LabelledPicture, quarters: int) -> LabelledPicture:
    """Turn a picture clockwise."""
    for _ in range(quarters):
        matrix = np.array([[0.0, -1.0, picture.image.shape[0] - 1.0], [1.0, 0.0, 0.0]])
        picture = replace(picture, image=np.ascontiguousarray(np.rot90(picture.image, -1)),
                          heads=picture.heads.moved(matrix), missed=picture.missed.moved(matrix))
    return picture


VARIANTS: dict[str, Callable[[LabelledPicture], LabelledPicture]] = {
    'dark': _darkened, 'turned_90': lambda picture: _turned(picture, 1),
    'turned_180': lambda picture: _turned(picture, 2)}
"""Changed pictures, by the name of the figure that says what is still found."""
