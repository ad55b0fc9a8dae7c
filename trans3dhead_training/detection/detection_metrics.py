"""How many labelled heads a detector finds, against how many false ones it reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trans3dhead_ros.types import Array, BoolArray

HEIGHT_BINS = ((8.0, 12.0), (12.0, 24.0), (24.0, 48.0), (48.0, np.inf))
"""Heights of heads that are measured apart, px."""


@dataclass(frozen=True, eq=False)
class PictureMatches:
    """The detections and the labelled heads of one picture."""

    score: Array
    """(D,) of the detections."""
    is_true: BoolArray
    """(D,) whether a detection is the best one of a labelled head."""
    is_excused: BoolArray
    """(D,) whether a detection that is not true is not counted as false either."""
    head_score: Array
    """(N,) score of the detection that found a head; -inf where none did."""
    height: Array
    """(N,) px."""


def match_heads(
    centres: Array, scores: Array, boxes: Array, excused: Array | None = None,
) -> PictureMatches:
    """
    Match detections with labelled heads.

    A detection finds the head whose box its centre lies in, relative to the box's size nearest to
    the middle; better detections choose first, and a head is found once.

    :param centres: (D, 2) px, of the detections.
    :param scores: (D,).
    :param boxes: (N, 4) px, of the heads.
    :param excused: (M, 4) px; a detection in one of them that finds no head is not counted.
    :return: the matches, detections in the order in which they were given.
    """
    is_true = np.zeros(len(scores), bool)
    head_score = np.full(len(boxes), -np.inf)
    middle, half = 0.5 * (boxes[:, :2] + boxes[:, 2:]), 0.5 * (boxes[:, 2:] - boxes[:, :2])
    for number in np.argsort(-scores, kind='stable'):
        distance = (np.abs(centres[number] - middle) / np.maximum(half, 1e-9)).max(axis=1)
        distance[np.isfinite(head_score)] = np.inf
        if len(distance) and distance.min() <= 1.0:
            is_true[number] = True
            head_score[distance.argmin()] = scores[number]
    is_excused = np.zeros(len(scores), bool)
    if excused is not None and len(excused):
        inside = ((centres[:, None] >= excused[None, :, :2])
                  & (centres[:, None] <= excused[None, :, 2:])).all(axis=-1)
        is_excused = inside.any(axis=1) & ~is_true
    return PictureMatches(scores, is_true, is_excused, head_score, boxes[:, 3] - boxes[:, 1])


@dataclass(frozen=True, eq=False)
class RecallCurve:
    """All pictures of a set."""

    pictures: Sequence[PictureMatches]

    @property
    def false_scores(self) -> Array:
        """Scores of all false detections, best first."""
        scores = [match.score[~match.is_true & ~match.is_excused] for match in self.pictures]
        return np.sort(np.concatenate([np.zeros(0), *scores]))[::-1]

    def threshold(self, false_per_picture: float) -> float:
        """
        Return the smallest score at which at most so many false detections remain.

        :param false_per_picture: mean over the pictures.
        :return: a score above which detections count.
        """
        allowed = int(np.floor(false_per_picture * len(self.pictures)))
        scores = self.false_scores
        return float(scores[allowed]) if allowed < len(scores) else -np.inf

    def recall(self, threshold: float, heights: tuple[float, float] = (8.0, np.inf)) -> float:
        """
        Return the share of the heads that are found.

        :param threshold: score above which a detection counts.
        :param heights: of the heads that are measured, px.
        :return: 0..1; nan where there are no such heads.
        """
        found = [match.head_score[(match.height >= heights[0]) & (match.height < heights[1])]
                 > threshold for match in self.pictures]
        all_found = np.concatenate([np.zeros(0, bool), *found])
        return float(all_found.mean()) if len(all_found) else np.nan

    def count(self, heights: tuple[float, float]) -> int:
        """Return the number of heads of a range of heights."""
        return sum(int(((match.height >= heights[0]) & (match.height < heights[1])).sum())
                   for match in self.pictures)

    def precision_recall(self, heights: tuple[float, float] = (8.0, np.inf),
                         ) -> tuple[Array, Array]:
        """
        Return precision and recall from the highest threshold to the lowest.

        :param heights: of the heads whose recall is measured, px; precision is of all detections.
        :return: (K,) and (K,), 0..1.
        """
        true = np.concatenate([np.zeros(0), *(match.score[match.is_true]
                                              for match in self.pictures)])
        false = self.false_scores
        thresholds = np.unique(np.concatenate([true, false]))[::-1]
        true, false = np.sort(true), np.sort(false)
        trues = len(true) - np.searchsorted(true, thresholds)
        falses = len(false) - np.searchsorted(false, thresholds)
        heads = np.sort(np.concatenate([np.zeros(0), *(
            match.head_score[(match.height >= heights[0]) & (match.height < heights[1])]
            for match in self.pictures)]))
        recall = (len(heads) - np.searchsorted(heads, thresholds)) / max(len(heads), 1)
        return trues / np.maximum(trues + falses, 1), recall


def bin_name(heights: tuple[float, float]) -> str:
    """Return `12-24`, or `48+` for a range without an end."""
    low, high = heights
    return f'{low:.0f}+' if np.isinf(high) else f'{low:.0f}-{high:.0f}'


def missed_percent(curve: RecallCurve, rates: Mapping[str, float]) -> dict[str, float]:
    """
    Return the share of heads that are missed, by height.

    :param curve: of a set.
    :param rates: false detections a picture, by the prefix of the metric's name.
    :return: such as `missed_24-48_percent`.
    """
    result = {}
    for prefix, rate in rates.items():
        threshold = curve.threshold(rate)
        for heights in HEIGHT_BINS:
            if curve.count(heights):
                result[f'{prefix}_{bin_name(heights)}_percent'] = 100 * (
                    1 - curve.recall(threshold, heights))
    return result
