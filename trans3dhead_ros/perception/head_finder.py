"""Verification of detections: the aligner looks at every head that a detector proposes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.boxes import containment, iou
from trans3dhead_ros.inference.head_detections import HeadDetections
from trans3dhead_ros.perception.aligner import Alignments
from trans3dhead_ros.perception.batching import InferenceRequest, InferenceTask
from trans3dhead_ros.perception.crop import crop_roll, roll_matrix, upright_box
from trans3dhead_ros.perception.head import LOCATED_SCORE
from trans3dhead_ros.types import Array, BoolArray, Image

NEW_HEAD_SCORE = 0.65
"""Smallest score of a detection for a new head, which the aligner then has to confirm."""
SURE_SCORE, SURE_TRACK_SCORE = 0.96, 0.5
"""
From these scores on the aligner need not confirm the detection of a new and of an established head.

Of heads from behind it cannot.
"""
UPRIGHT_UNCERTAINTY, DOUBTFUL_UNCERTAINTY = 0.024, 0.038
"""
Uncertainties of landmarks: below the first a head is upright in its crop, above the second it may
be turned another way.

Between them crops turned by quarters are compared, so that a head that is upside down is not taken
for an upright one. In 190 photographs, upright heads have a median of 0.014, 3 % more than 0.024,
none more than 0.030, small and blurred ones more. Of 570 quarter-turned ones in upright crops, 9
get wrong landmarks with a score above 0.5, all with more than 0.049; detected boxes that are off a
head that is upside down got them with 0.026.
"""
TURNED_HEAD_SCORE, TURNED_HEAD_UNCERTAINTY = 0.8, 0.03
"""
A new head in a turned image has a detection of at least this score, or landmarks this certain, and
none that are doubtful.

Turned images hold few heads, and as many things that look like one. Of 159 heads of people in
photographs that would be believed upright, 155 have either; of five false heads in 702 turned
images of rooms none has.
"""
MAX_LOOKS = 4
"""Largest number of crops of one head in one image."""
MAX_CROP_OFFSET, MAX_BELIEVED_OFFSET = 0.06, 0.12
"""
Offsets of a landmark box from that of its crop; see `crop_offset`.

Beyond the first, another crop is made; beyond the second, the landmarks of the last crop are
rejected. For a head that is off-centre in its crop, the network's landmarks and rotation are off
too, yet its score is high.
"""

# Another turn of the crop is taken where it brings the uncertainty below this part of what it was.
_MUCH_MORE_CERTAIN = 0.8
_QUARTER_TURNS = (90.0, 180.0, 270.0)
# Boxes of detections are inaccurate, so the first pass accepts heads from this fraction of the
# threshold.
_FIRST_PASS_FACTOR = 0.5
# Landmark boxes that overlap more than this show one head.
_SAME_HEAD_IOU = 0.35
# A landmark box of which this much lies in a larger one is a part of that face: an ear, an eye.
_SAME_HEAD_CONTAINMENT = 0.7
# Bounds the time for a crowd.
_MAX_DETECTIONS = 32
# Landmark boxes with a shorter longer side, px, show no recognisable face.
_MIN_HEAD_SIDE = 6.0
# A head does not differ more than by this factor in size from the box of its crop.
_MAX_SIZE_RATIO = 2.0


def align_detections(
    image: Image, detections: HeadDetections, threshold: Array | float,
    sure_score: Array | float = SURE_SCORE,
) -> InferenceTask[tuple[Alignments, NDArray[np.intp]]]:
    """
    Align the heads that a detector has found, and drop those that show none.

    Each is aligned twice: the second crop is made from the landmarks of the first, as in tracking,
    so that every reported head can be tracked; more follow while the landmarks are off their crop.
    If the first landmarks are doubtful, crops that are turned another way are tried too. If the
    landmarks cannot be located, as from behind, a sure detection is accepted without them, and both
    crops are its own.

    :param image: (H, W, 3) uint8 BGR.
    :param detections: in the image.
    :param threshold: (N,) smallest score of an alignment, where the detection is not sure.
    :param sure_score: (N,) from which on a detection is.
    :return: the heads, and which detections (N,) they are of.
    """
    rows = np.arange(min(len(detections), _MAX_DETECTIONS))
    threshold = np.broadcast_to(threshold, len(detections))
    boxes, rolls = detections.landmark_box.copy(), crop_roll(detections.roll_deg)
    sure = detections.score >= sure_score
    done = []
    for look in range(MAX_LOOKS):
        found = yield InferenceRequest(image, boxes[rows], rolls[rows])
        if look < 2:
            pivots = _centre(boxes[rows] if look else detections.head_box[rows])
            found = yield from _turned_where_doubtful(image, boxes[rows], pivots, found)
        factor = _FIRST_PASS_FACTOR if look == 0 else 1.0
        kept = plausible(found, boxes[rows], image) & (
            (found.score >= factor * threshold[rows]) | sure[rows])
        found, rows = found[kept], rows[kept]
        located = found.score >= LOCATED_SCORE
        again = (located & (crop_offset(found, boxes[rows]) > MAX_CROP_OFFSET)) | (look == 0)
        again &= look < MAX_LOOKS - 1
        done.append((found[~again], rows[~again]))
        followed = again & (located | ~sure[rows])
        boxes[rows[followed]], rolls[rows[followed]] = (
            values[followed] for values in found.crops)
        rows = rows[again]
        if len(rows) == 0:
            break
    rows = np.concatenate([numbers for _, numbers in done])
    order = np.argsort(rows)
    return Alignments.join([heads for heads, _ in done])[order], rows[order]


def sure_score(quarters: int, established: bool = False) -> float:
    """
    Return from which score on a detection shows a head without its landmarks.

    :param quarters: turn of the searched image by 90°; in a turned image no detection is enough.
    :param established: whether it is of a head that was seen for a while, of which less is enough.
    :return: the score, inf where none is enough.
    """
    if established:
        return SURE_TRACK_SCORE
    return np.inf if quarters else SURE_SCORE


def shown_in_turned_image(detections: HeadDetections, found: Alignments) -> BoolArray:
    """
    Check that what was found in a turned image is a head.

    :param detections: B, in that image.
    :param found: what the aligner says of them.
    :return: (B,) whether its landmarks can be located, and the detector or the aligner is sure.
    """
    return (found.score >= LOCATED_SCORE) & (found.uncertainty <= DOUBTFUL_UNCERTAINTY) & (
        (detections.score >= TURNED_HEAD_SCORE) | (found.uncertainty < TURNED_HEAD_UNCERTAINTY))


def align_boxes(image: Image, boxes: Array) -> InferenceTask[Alignments]:
    """
    Align the head in each box, whichever way it is turned in the image.

    An upright head takes one crop; one that leans far, or whose answer is doubtful, takes more.

    :param image: (H, W, 3) uint8 BGR.
    :param boxes: (N, 4) px, landmark boxes.
    :return: N heads.
    """
    first = yield InferenceRequest(image, boxes)
    found = yield from _turned_where_doubtful(image, boxes, _centre(boxes), first)
    turned = np.flatnonzero(found.crops[1] != 0.0)
    if len(turned) == 0:
        return found
    again = yield InferenceRequest(image, *found[turned].crops)
    better = again.uncertainty < found.uncertainty[turned]
    return found.replaced(turned[better], again[better])


def _turned_where_doubtful(
    image: Image, boxes: Array, pivots: Array, found: Alignments,
) -> InferenceTask[Alignments]:
    """
    Align the heads with uncertain landmarks again, in crops turned by quarters.

    The network takes a head that is upside down in its crop for an upright one, and is sure of
    some of them. In the crop in which a head is upright, its landmarks are the most certain.

    :param image: (H, W, 3) uint8 BGR.
    :param boxes: (N, 4) px, that the crops of the heads were made from.
    :param pivots: (N, 2) px, about which the boxes turn with the heads: a face that is taken for
        an upright one lies on the other side of the head.
    :param found: N heads.
    :return: N heads, each in the crop in which it is the most certain.
    """
    doubtful = np.flatnonzero(found.uncertainty > UPRIGHT_UNCERTAINTY)
    if len(doubtful) == 0:
        return found
    half, pivots = 0.5 * (boxes[doubtful, 2:] - boxes[doubtful, :2]), pivots[doubtful]
    centres = pivots + (_centre(boxes[doubtful]) - pivots) @ roll_matrix(
        np.array(_QUARTER_TURNS)).swapaxes(1, 2)
    rolls = found.crop_roll[doubtful] + np.array(_QUARTER_TURNS)[:, None]
    rolls = (rolls + 180.0) % 360.0 - 180.0
    others = yield InferenceRequest(image, np.concatenate(
        [centres - half, centres + half], axis=2).reshape(-1, 4), rolls.ravel())
    values = np.where(others.score >= LOCATED_SCORE, others.uncertainty, np.inf)
    values = values.reshape(len(_QUARTER_TURNS), -1)
    best, columns = values.argmin(axis=0), np.arange(len(doubtful))
    better = values[best, columns] < _MUCH_MORE_CERTAIN * found.uncertainty[doubtful]
    return found.replaced(doubtful[better], others[(best * len(doubtful) + columns)[better]])


def _centre(boxes: Array) -> Array:
    """Return the centres (N, 2) of boxes (N, 4)."""
    return 0.5 * (boxes[:, :2] + boxes[:, 2:])


def plausible(found: Alignments, requested: Array, image: Image) -> BoolArray:
    """
    Check that heads have their centre in the image and about the size of the box of their crop.

    :param found: B heads.
    :param requested: (B, 4) px, the landmark boxes that the crops were made from.
    :param image: (H, W, 3).
    :return: (B,).
    """
    height, width = image.shape[:2]
    boxes = upright_box(found.landmarks, found.crop_roll)
    centre = 0.5 * (boxes[:, :2] + boxes[:, 2:])
    side, expected = ((b[:, 2:] - b[:, :2]).max(axis=1) for b in (boxes, requested))
    inside = ((centre >= 0.0) & (centre <= [width - 1, height - 1])).all(axis=1)
    fits = (side > expected / _MAX_SIZE_RATIO) & (side < expected * _MAX_SIZE_RATIO)
    return inside & fits & (side >= _MIN_HEAD_SIDE)


def crop_offset(found: Alignments, requested: Array) -> Array:
    """
    Return how far landmarks are off their crop.

    :param found: B heads.
    :param requested: (B, 4) px, the landmark boxes that the crops were made from.
    :return: (B,) difference in centre or longer side, in longer sides of `requested`.
    """
    boxes = upright_box(found.landmarks, found.crop_roll)
    shift = 0.5 * (boxes - requested).reshape(-1, 2, 2).sum(axis=1)
    side, expected = ((b[:, 2:] - b[:, :2]).max(axis=1) for b in (boxes, requested))
    return np.maximum(np.linalg.norm(shift, axis=1), np.abs(side - expected)) / expected


def suppress_duplicates(found: Alignments) -> NDArray[np.intp]:
    """
    Return the indices of the heads without duplicates, those with the most certain landmarks first.

    Of duplicates the most certain one is kept: half a face can score as high as a whole one.
    """
    order = np.argsort(found.uncertainty, kind='stable')
    kept: list[int] = []
    overlaps = same_head(found.boxes, found.boxes)
    for i in order:
        if not overlaps[i, kept].any():
            kept.append(int(i))
    return np.array(kept, dtype=np.intp)


def same_head(boxes: Array, others: Array) -> BoolArray:
    """
    Return (N, M) whether landmark boxes (N, 4) and (M, 4) show the same head.

    A box inside the other one counts as well: a head that was found on a part of a face.
    """
    centre, other = (0.5 * (b[:, :2] + b[:, 2:]) for b in (boxes, others))
    side, other_side = ((b[:, 2:] - b[:, :2]).max(axis=1) for b in (boxes, others))
    apart = np.linalg.norm(centre[:, None] - other[None], axis=-1)
    near = apart < 0.3 * np.maximum(side[:, None], other_side[None])
    return (near | (iou(boxes, others) > _SAME_HEAD_IOU)
            | (containment(boxes, others) > _SAME_HEAD_CONTAINMENT))
