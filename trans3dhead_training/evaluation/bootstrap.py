"""
Statistics of faces and their bootstrap confidence intervals.

A statistic is a function of how often each face counts, so that one definition gives both the value
(every face once) and its interval (faces drawn with replacement): it takes weights (B, N), whole
numbers, and returns (B,); nan where a draw has nothing to measure. Values are (N,), or (N, K) with
K repeats per face; nan where nothing can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trans3dhead_ros.types import Array
from trans3dhead_training.core import metrics

Statistic = Callable[[Array], Array]

CONFIDENCE_LEVEL = 0.95

_CHUNK = 4_000_000  # weights at once, 32 MB


def mean(values: Array) -> Statistic:
    """Return the mean of the known values (N,) or (N, K)."""
    values = values.reshape(len(values), -1)
    known = ~np.isnan(values)
    sums, counts = np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1).astype(float)

    def statistic(weights: Array) -> Array:
        return _divide(_weighted_sum(weights, sums), weights @ counts)
    return statistic


def ratio(numerator: Array, denominator: Array) -> Statistic:
    """Return the ratio of the sums of values (N,), over the faces where both are known."""
    known = ~(np.isnan(numerator) | np.isnan(denominator))
    numerator, denominator = (np.where(known, values, 0.0) for values in (numerator, denominator))

    def statistic(weights: Array) -> Array:
        return _divide(_weighted_sum(weights, numerator), _weighted_sum(weights, denominator))
    return statistic


def slope(true: Array, answered: Array) -> Statistic:
    """Return the slope of the regression line of answers (N,) over true values (N,)."""
    known = ~(np.isnan(true) | np.isnan(answered))
    true, answered = (np.where(known, values, 0.0) for values in (true, answered))

    def statistic(weights: Array) -> Array:
        count = weights @ known.astype(float)
        mean_true = _divide(weights @ true, count)
        mean_answered = _divide(weights @ answered, count)
        return _divide(weights @ (true * answered) - count * mean_true * mean_answered,
                       weights @ true ** 2 - count * mean_true ** 2)
    return statistic


def quantile(values: Array, share: float) -> Statistic:
    """
    Return the smallest value that at least a share of the values do not exceed.

    :param values: (N,) or (N, K).
    :param share: 0…1.
    :return: the statistic.
    """
    values = values.reshape(len(values), -1)
    face, _ = np.nonzero(~np.isnan(values))
    values = values[~np.isnan(values)]
    order = np.argsort(values, kind='stable')
    face, values = face[order], values[order]

    def statistic(weights: Array) -> Array:
        if not len(values):
            return np.full(len(weights), np.nan)
        total = np.cumsum(weights[:, face], axis=1)
        reached = total >= share * total[:, -1:] - 1e-9
        return np.where(total[:, -1] > 0, values[reached.argmax(axis=1)], np.nan)
    return statistic


def unweighted_mean(parts: Sequence[Statistic]) -> Statistic:
    """Return the mean of statistics, all with the same weight."""
    return lambda weights: np.mean([part(weights) for part in parts], axis=0)


def roc_auc(positive: Array, negative: Array) -> Statistic:
    """
    Return the area under the ROC curve.

    :param positive: (N,) or (N, K) scores of the positives of each face; nan where it has none.
    :param negative: (N,) or (N, K) scores of its negatives.
    :return: the statistic.
    """
    scores = np.column_stack([positive, negative])
    is_positive = np.zeros(scores.shape, bool)
    is_positive[:, :scores.shape[1] - negative.reshape(len(negative), -1).shape[1]] = True
    face, column = np.nonzero(~np.isnan(scores))
    scores, is_positive = scores[face, column], is_positive[face, column]

    def area(weights: Array) -> float:
        counts = weights[face].astype(int)
        drawn = np.repeat(is_positive, counts)
        if drawn.all() or not drawn.any():
            return float('nan')
        return metrics.roc_auc(np.repeat(scores, counts), drawn)
    return lambda weights: np.array([area(row) for row in weights])


def _weighted_sum(weights: Array, values: Array) -> Array:
    """`weights @ values`, where an infinite value with weight 0 adds nothing."""
    infinite = np.isinf(values)
    total = weights @ np.where(infinite, 0.0, values)
    if infinite.any():
        total[weights[:, infinite].any(axis=1)] = np.inf
    return total


def _divide(numerator: Array, denominator: Array) -> Array:
    return np.divide(numerator, denominator, out=np.full(len(numerator), np.nan),
                     where=denominator > 0)


def bootstrap_weights(groups: Sequence[str], draws: int, seed: int = 0) -> Iterator[Array]:
    """
    Yield how often each face counts in each bootstrap draw, in chunks that fit into memory.

    Whole groups are drawn, because the faces of one photograph or person are not independent. The
    same groups and seed give the same draws, so that predictors can be compared in pairs.

    :param groups: (N,) name of each face's group.
    :param draws: number of draws.
    :param seed: of the random generator.
    :yield: weights (B, N), `draws` rows in all.
    """
    names, group_of_face = np.unique(np.asarray(groups), return_inverse=True)
    generator = np.random.default_rng(seed)
    share = np.full(len(names), 1 / len(names))
    step = max(_CHUNK // max(len(groups), 1), 1)
    for start in range(0, draws, step):
        counts = generator.multinomial(len(names), share, size=min(step, draws - start))
        yield counts[:, group_of_face].astype(float)


@dataclass(frozen=True, eq=False)
class Estimate:
    """The value of a statistic and its bootstrap draws."""

    value: float
    draws: Array
    """(B,); empty without a bootstrap."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """Confidence interval of the draws, see `percentile_interval`."""
        return percentile_interval(self.draws)


def percentile_interval(draws: Array) -> tuple[float, float] | None:
    """Return the central `CONFIDENCE_LEVEL` of draws (B,); None if empty or not all finite."""
    if not len(draws) or not np.isfinite(draws).all():
        return None
    low, high = np.quantile(draws, [(1 - CONFIDENCE_LEVEL) / 2, (1 + CONFIDENCE_LEVEL) / 2])
    return float(low), float(high)


def estimate(
    statistics: Mapping[str, Statistic], groups: Sequence[str], draws: int = 0, seed: int = 0,
) -> dict[str, Estimate]:
    """
    Evaluate statistics on all faces and on bootstrap draws of them.

    :param statistics: by name.
    :param groups: (N,) name of each face's group.
    :param draws: number of bootstrap draws; 0 makes none.
    :param seed: of the random generator.
    :return: an estimate of every statistic.
    """
    once = np.ones((1, len(groups)))
    parts: dict[str, list[Array]] = {name: [] for name in statistics}
    for weights in bootstrap_weights(groups, draws, seed):
        for name, statistic in statistics.items():
            parts[name].append(statistic(weights))
    return {name: Estimate(float(statistic(once)[0]), np.concatenate([*parts[name], np.zeros(0)]))
            for name, statistic in statistics.items()}
