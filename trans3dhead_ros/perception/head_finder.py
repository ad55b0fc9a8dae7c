"""Detection: proposals of a detector, verified and refined by the network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.perception.aligner import Alignments, uncertainty
from trans3dhead_ros.perception.batching import Looks
from trans3dhead_ros.perception.detector import Detector, contained, iou
from trans3dhead_ros.types import Array, BoolArray, Image

#: A proposal may be a little off, so its first look needs less than the last word.
_FIRST_LOOK = 0.5
#: Heads whose landmark boxes overlap more than this are one head.
SAME_HEAD_IOU = 0.35
#: So much of a smaller landmark box in a larger one makes it a part of that face: an ear, an eye.
_PART = 0.7
#: Proposals that the network looks at; cascades can fire at every shelf.
_MOST_PROPOSALS = 32
#: Landmark boxes with a longer side below this, px, show no face.
_SMALLEST_HEAD = 6.0
#: From one crop to the next a head does not change its size by more than this factor.
_MOST_RESIZED = 2.0


def find_heads(
    image: Image, detector: Detector, score_threshold: float, share: int | None = None,
    known: Array | None = None,
) -> Looks[Alignments | None]:
    """
    Find the heads that the detector proposes and the network confirms, best first.

    Every proposal is aligned twice: the second crop is made from the first one's landmarks, as a
    tracker would, so what is reported is what can be tracked.

    :param image: (H, W, 3) uint8 BGR.
    :param share: see `Detector.detect`.
    :param known: (N, 4) landmark boxes of heads that need no finding.
    :return: None when there are none.
    """
    boxes, scores = detector.detect(image, share)
    if known is not None and len(known) and len(boxes):
        fresh = iou(boxes, known).max(axis=1) < SAME_HEAD_IOU
        boxes, scores = boxes[fresh], scores[fresh]
    boxes = boxes[:_MOST_PROPOSALS]
    if len(boxes) == 0:
        return None
    found = yield image, boxes
    good = (found.score > _FIRST_LOOK * score_threshold) & plausible(found, boxes, image)
    if not good.any():
        return None
    boxes = found[good].boxes
    found = yield image, boxes
    found = found[(found.score >= score_threshold) & plausible(found, boxes, image)]
    if len(found) == 0:
        return None
    return found[suppress_heads(found)]


def plausible(found: Alignments, asked: Array, image: Image) -> BoolArray:
    """
    (B,) whether a head has its centre in the image and about the size that its crop was made for.

    :param asked: (B, 4) px, the landmark boxes that the crops were made from.
    """
    height, width = image.shape[:2]
    boxes = found.boxes
    centre = 0.5 * (boxes[:, :2] + boxes[:, 2:])
    side, expected = ((b[:, 2:] - b[:, :2]).max(axis=1) for b in (boxes, asked))
    inside = ((centre >= 0.0) & (centre <= [width - 1, height - 1])).all(axis=1)
    fits = (side > expected / _MOST_RESIZED) & (side < expected * _MOST_RESIZED)
    return inside & fits & (side >= _SMALLEST_HEAD)


def suppress_heads(found: Alignments) -> NDArray[np.intp]:
    """
    Indices of the heads that remain, best first, when heads seen twice count once.

    The best is the one whose landmarks are surest: half a face scores as high as a whole one.
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
    (N, M) whether landmark boxes (N, 4) and (M, 4) show one head.

    One inside the other counts too: a head that was found on a part of a face.
    """
    centre, other = (0.5 * (b[:, :2] + b[:, 2:]) for b in (boxes, others))
    side, other_side = ((b[:, 2:] - b[:, :2]).max(axis=1) for b in (boxes, others))
    apart = np.linalg.norm(centre[:, None] - other[None], axis=-1)
    near = apart < 0.3 * np.maximum(side[:, None], other_side[None])
    return near | (iou(boxes, others) > SAME_HEAD_IOU) | (contained(boxes, others) > _PART)
