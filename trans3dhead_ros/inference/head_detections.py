"""From the proposals of a head detector to heads: thresholds and suppression of duplicates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trans3dhead_ros.types import Array

DEFAULT_SCORE = 0.5
"""Smallest score of a head, unless it is chosen otherwise."""
MAX_OVERLAP = 0.35
"""Two detections whose boxes overlap by more than this (IoU) are of one head."""

_MAX_PROPOSALS = 1000


@dataclass(frozen=True, eq=False)
class HeadDetections:
    """N heads of one image, best first; boxes are px, x0 y0 x1 y1, pixel centres at integers."""

    score: Array
    """(N,) probability of a head."""
    face: Array
    """(N,) probability that its face is seen."""
    roll_deg: Array
    """(N,) turn in the image, clockwise, -180..180, 0 for an upright head."""
    head_box: Array
    """(N, 4) the whole head with its hair."""
    landmark_box: Array
    """(N, 4) the 68 landmarks, seen or not."""

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, chosen: Any) -> HeadDetections:
        """Return the chosen heads (indices, a slice or a mask)."""
        return HeadDetections(**{name: value[chosen] for name, value in vars(self).items()})

    def mapped(self, scale: Array, offset: Array) -> HeadDetections:
        """
        Return the heads of an image that was scaled and moved.

        :param scale: (2,) factor on x and y.
        :param offset: (2,) px, added to x and y afterwards.
        :return: the heads in px of the other image.
        """
        scale, offset = np.tile(scale, 2), np.tile(offset, 2)
        return HeadDetections(self.score, self.face, self.roll_deg,
                              self.head_box * scale + offset, self.landmark_box * scale + offset)


def select_heads(
    outputs: Mapping[str, Array], min_score: float = DEFAULT_SCORE,
    max_overlap: float = MAX_OVERLAP,
) -> list[HeadDetections]:
    """
    Turn the outputs of a detector's graph into heads.

    :param outputs: `score` (B, L), `face` (B, L), `up` (B, L, 2), `head_box` and `landmark_box`
        (B, L, 4), as `detector_metadata.DETECTOR_OUTPUTS` describes them.
    :param min_score: smallest score of a head.
    :param max_overlap: see `MAX_OVERLAP`.
    :return: the heads of each image.
    """
    heads = []
    for number, score in enumerate(outputs['score']):
        chosen = np.flatnonzero(score >= min_score)
        chosen = chosen[np.argsort(-score[chosen], kind='stable')][:_MAX_PROPOSALS]
        boxes = outputs['head_box'][number][chosen].astype(np.float64)
        chosen, boxes = (values[kept] for kept in [suppress_duplicates(boxes, max_overlap)]
                         for values in (chosen, boxes))
        up = outputs['up'][number][chosen]
        heads.append(HeadDetections(
            score=score[chosen].astype(np.float64),
            face=outputs['face'][number][chosen].astype(np.float64),
            roll_deg=np.rad2deg(np.arctan2(up[:, 1], up[:, 0]).astype(np.float64)),
            head_box=boxes,
            landmark_box=outputs['landmark_box'][number][chosen].astype(np.float64)))
    return heads


def suppress_duplicates(boxes: Array, max_overlap: float) -> Array:
    """
    Return which boxes remain when those that overlap a better one are dropped.

    :param boxes: (N, 4) px, best first.
    :param max_overlap: IoU up to which two boxes are of two heads.
    :return: (M,) ascending numbers of boxes.
    """
    area = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1)
    waiting, kept = np.arange(len(boxes)), []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[waiting, :2])
        high = np.minimum(boxes[best, 2:], boxes[waiting, 2:])
        overlap = np.prod(np.maximum(high - low, 0.0), axis=1)
        union = area[best] + area[waiting] - overlap
        waiting = waiting[overlap <= max_overlap * np.maximum(union, 1e-9)]
    return np.array(kept, dtype=np.intp)
