"""
From the proposals of a head detector to heads.

Several locations find the same head. The best of them names it, and all of them together say how
sure it is, and where.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trans3dhead_ros.boxes import iou
from trans3dhead_ros.model_files.detector_metadata import LOG_HEIGHT_RANGE, USUAL_HEIGHT
from trans3dhead_ros.types import Array

DEFAULT_SCORE = 0.5
"""Smallest score of a head, unless it is chosen otherwise."""
MAX_OVERLAP = 0.35
"""Two detections whose boxes overlap by more than this (IoU) are of one head."""

EVIDENCE = ('1', 'logit of the best proposal', 'log height', 'support')
"""What the score of a head is computed from, see `HeadProposalGroups`."""

_MAX_PROPOSALS = 1000
_MIN_PROPOSAL = 0.02
"""Weaker proposals say nothing about a head."""
_SAME_HEAD = 0.5
"""Proposals that overlap the best one of a head by more than this (IoU) support it."""
_SUPPORTERS = 4
_NO_SUPPORT = -5.0
_MAX_LOGIT = 13.8


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

    def turned_back(self, quarters: int, size: tuple[int, int]) -> HeadDetections:
        """
        Return the heads of an image that `np.rot90` has turned.

        :param quarters: turns by 90°, counter-clockwise.
        :param size: width and height of the image that was not turned, px.
        :return: the heads in px of that image.
        """
        # A point (x, y) of an image of width w lies at (y, w - 1 - x) after a turn.
        sides = [size[quarter % 2] for quarter in range(quarters % 4)]
        boxes = [self.head_box, self.landmark_box]
        for width in reversed(sides):
            boxes = [np.stack([width - 1 - box[:, 3], box[:, 0], width - 1 - box[:, 1], box[:, 2]],
                              axis=1) for box in boxes]
        roll = (self.roll_deg + 90.0 * quarters + 180.0) % 360.0 - 180.0
        return HeadDetections(self.score, self.face, roll, *boxes)


@dataclass(frozen=True, eq=False)
class HeadProposalGroups:
    """The proposals of one image, one group for each head, best first."""

    heads: HeadDetections
    """Score and face of the best proposal; boxes and roll are means over the group, by score."""
    evidence: Array
    """(N, 4) `EVIDENCE`: heights in 32 px, of at most 45 px; support is the mean logit of the next
    four proposals of the same head, -5 where there are none."""

    def fused(self, weights: Sequence[float] | None, min_score: float) -> HeadDetections:
        """
        Return the heads.

        :param weights: (4,) of the evidence, in the logit of the score; None: the score of a head
            is that of its best proposal.
        :param min_score: smallest score of a head.
        :return: the heads, best first.
        """
        heads = self.heads
        if weights is not None:
            logit = np.clip(self.evidence @ np.asarray(weights, float), -_MAX_LOGIT, _MAX_LOGIT)
            heads = replace(heads, score=1 / (1 + np.exp(-logit)))
        order = np.argsort(-heads.score, kind='stable')
        return heads[order[heads.score[order] >= min_score]]


def group_proposals(
    outputs: Mapping[str, Array], max_overlap: float = MAX_OVERLAP,
) -> list[HeadProposalGroups]:
    """
    Find out which proposals of a detector's graph are of the same head.

    :param outputs: `score` (B, L), `face` (B, L), `up` (B, L, 2), `head_box` and `landmark_box`
        (B, L, 4), as `detector_metadata.DETECTOR_OUTPUTS` describes them.
    :param max_overlap: see `MAX_OVERLAP`.
    :return: the groups of each image.
    """
    groups = []
    for number, score in enumerate(outputs['score']):
        chosen = np.flatnonzero(score >= _MIN_PROPOSAL)
        chosen = chosen[np.argsort(-score[chosen], kind='stable')][:_MAX_PROPOSALS]
        groups.append(_grouped({name: values[number][chosen].astype(np.float64)
                                for name, values in outputs.items()}, max_overlap))
    return groups


def _grouped(proposals: Mapping[str, Array], max_overlap: float) -> HeadProposalGroups:
    """Group the proposals of one image, best first."""
    score, boxes = proposals['score'], proposals['head_box']
    best = suppress_duplicates(boxes, max_overlap)
    logit = np.clip(np.log(score / np.maximum(1 - score, 1e-9)), -_MAX_LOGIT, _MAX_LOGIT)
    means, support = [], np.full(len(best), _NO_SUPPORT)
    for number, (proposal, overlaps) in enumerate(zip(best, iou(boxes[best], boxes), strict=True)):
        # Ascending, and the best proposals come first: the next best ones follow.
        same = np.flatnonzero(overlaps > _SAME_HEAD)
        weight = score[same] / score[same].sum()
        means.append([weight @ proposals[name][same]
                      for name in ('head_box', 'landmark_box', 'up')])
        others = logit[same[same != proposal]][:_SUPPORTERS]
        support[number] = (others.sum() + _NO_SUPPORT * (_SUPPORTERS - len(others))) / _SUPPORTERS
    head_box, landmark_box, up = (
        np.array([mean[part] for mean in means]).reshape(-1, size)
        for part, size in enumerate((4, 4, 2)))
    height = np.log(np.maximum(head_box[:, 3] - head_box[:, 1], 1e-3) / USUAL_HEIGHT)
    height = np.clip(height, *LOG_HEIGHT_RANGE)
    heads = HeadDetections(score[best], proposals['face'][best],
                           np.rad2deg(np.arctan2(up[:, 1], up[:, 0])), head_box, landmark_box)
    return HeadProposalGroups(heads, np.stack(
        [np.ones(len(best)), logit[best], height, support], axis=1))


def suppress_duplicates(boxes: Array, max_overlap: float) -> Array:
    """
    Return which boxes remain when those that overlap a better one are dropped.

    :param boxes: (N, 4) px, best first.
    :param max_overlap: IoU up to which two boxes are of two heads.
    :return: (M,) ascending numbers of boxes.
    """
    waiting, kept = np.arange(len(boxes)), []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        waiting = waiting[iou(boxes[[best]], boxes[waiting])[0] <= max_overlap]
    return np.array(kept, dtype=np.intp)
