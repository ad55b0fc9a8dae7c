"""Detection of heads: proposals of a detector, verified and refined by the network."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.perception.aligner import Alignments, uncertainty
from trans3dhead_ros.perception.batching import InferenceRequest
from trans3dhead_ros.perception.detector import Detector, containment, iou
from trans3dhead_ros.types import Array, BoolArray, Image

# Proposals are inaccurate, so the first pass accepts heads from this fraction of the threshold.
_FIRST_PASS_FACTOR = 0.5
# Landmark boxes that overlap more than this show one head.
_SAME_HEAD_IOU = 0.35
# A landmark box of which this much lies in a larger one is a part of that face: an ear, an eye.
_SAME_HEAD_CONTAINMENT = 0.7
# Bounds the time for images in which a cascade detects many false positives.
_MAX_PROPOSALS = 32
# Landmark boxes with a shorter longer side, px, show no recognisable face.
_MIN_HEAD_SIDE = 6.0
# A head does not differ more than by this factor in size from the box of its crop.
_MAX_SIZE_RATIO = 2.0


def find_heads(
    image: Image, detector: Detector, score_threshold: float, pass_index: int | None = None,
    known: Array | None = None,
) -> Generator[InferenceRequest, Alignments, Alignments | None]:
    """
    Find the heads that the detector proposes and the network confirms.

    Every proposal is aligned twice: the second crop is made from the landmarks of the first, as in
    tracking, so that every reported head can be tracked.

    :param image: (H, W, 3) uint8 BGR.
    :param detector: makes the proposals.
    :param score_threshold: smallest score of a head.
    :param pass_index: see `Detector.detect`.
    :param known: (N, 4) landmark boxes of heads that need not be found.
    :return: the heads, the one with the most certain landmarks first; None without any.
    """
    boxes, scores = detector.detect(image, pass_index)
    if known is not None and len(known) and len(boxes):
        is_new = iou(boxes, known).max(axis=1) < _SAME_HEAD_IOU
        boxes, scores = boxes[is_new], scores[is_new]
    boxes = boxes[:_MAX_PROPOSALS]
    if len(boxes) == 0:
        return None
    found = yield InferenceRequest(image, boxes)
    good = (found.score > _FIRST_PASS_FACTOR * score_threshold) & plausible(found, boxes, image)
    if not good.any():
        return None
    boxes = found[good].boxes
    found = yield InferenceRequest(image, boxes)
    found = found[(found.score >= score_threshold) & plausible(found, boxes, image)]
    if len(found) == 0:
        return None
    return found[suppress_duplicates(found)]


def plausible(found: Alignments, requested: Array, image: Image) -> BoolArray:
    """
    Check that heads have their centre in the image and about the size of the box of their crop.

    :param found: B heads.
    :param requested: (B, 4) px, the landmark boxes that the crops were made from.
    :param image: (H, W, 3).
    :return: (B,).
    """
    height, width = image.shape[:2]
    boxes = found.boxes
    centre = 0.5 * (boxes[:, :2] + boxes[:, 2:])
    side, expected = ((b[:, 2:] - b[:, :2]).max(axis=1) for b in (boxes, requested))
    inside = ((centre >= 0.0) & (centre <= [width - 1, height - 1])).all(axis=1)
    fits = (side > expected / _MAX_SIZE_RATIO) & (side < expected * _MAX_SIZE_RATIO)
    return inside & fits & (side >= _MIN_HEAD_SIDE)


def suppress_duplicates(found: Alignments) -> NDArray[np.intp]:
    """
    Return the indices of the heads without duplicates, those with the most certain landmarks first.

    Of duplicates the most certain one is kept: half a face can score as high as a whole one.
    """
    order = np.argsort(uncertainty(found.landmark_scale, found.boxes), kind='stable')
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
