"""
Figures as functions of how often each face counts, so that one definition gives the figure (every
face once) and its bootstrap interval (faces drawn with replacement).

A statistic takes weights (B, N), whole numbers, and returns (B,); nan where a draw has nothing to
measure. Values are (N,) or (N, K), K repeats of a face; nan where there is nothing to compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]

LEVEL = 0.95
"""Of the intervals."""

_CHUNK = 4_000_000  # weights at once, 32 MB


def mean(values: Array) -> Statistic:
    """Return the mean of values (N,) or (N, K) that are known."""
    values = values.reshape(len(values), -1)
    known = ~np.isnan(values)
    sums, counts = np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1).astype(float)

    def statistic(weights: Array) -> Array:
        return _divided(_weighted(weights, sums), weights @ counts)
    return statistic


def ratio(above: Array, below: Array) -> Statistic:
    """Return the sum of values (N,) over the sum of others (N,), of faces that know both."""
    known = ~(np.isnan(above) | np.isnan(below))
    above, below = np.where(known, above, 0.0), np.where(known, below, 0.0)

    def statistic(weights: Array) -> Array:
        return _divided(_weighted(weights, above), _weighted(weights, below))
    return statistic


def quantile(values: Array, share: float) -> Statistic:
    """Return the smallest of values (N,) or (N, K) that at least a share of them do not exceed."""
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


def unweighted(parts: Sequence[Statistic]) -> Statistic:
    """Return the mean of statistics, each of which counts alike."""
    return lambda weights: np.mean([part(weights) for part in parts], axis=0)


def roc_area(positive: Array, negative: Array) -> Statistic:
    """
    Return how probably a positive scores above a negative (ties half).

    :param positive, negative: scores (N, K) of the faces; nan where a face has none.
    """
    positive, negative = (values.reshape(len(values), -1) for values in (positive, negative))
    high_face, high = np.nonzero(~np.isnan(positive))[0], positive[~np.isnan(positive)]
    low_face, low = np.nonzero(~np.isnan(negative))[0], negative[~np.isnan(negative)]
    order = np.argsort(low, kind='stable')
    low_face, low = low_face[order], low[order]
    below, not_above = (np.searchsorted(low, high, side=side) for side in ('left', 'right'))

    def statistic(weights: Array) -> Array:
        total = np.cumsum(weights[:, low_face], axis=1)
        total = np.concatenate([np.zeros((len(weights), 1)), total], axis=1)
        chosen = weights[:, high_face]
        wins = (chosen * (total[:, below] + total[:, not_above]) / 2).sum(axis=1)
        return _divided(wins, chosen.sum(axis=1) * total[:, -1])
    return statistic


def _weighted(weights: Array, values: Array) -> Array:
    """`weights @ values`, where an infinite value that counts zero times adds nothing."""
    infinite = np.isinf(values)
    total = weights @ np.where(infinite, 0.0, values)
    if infinite.any():
        total[weights[:, infinite].any(axis=1)] = np.inf
    return total


def _divided(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)


def resampled(groups: Sequence[str], draws: int, seed: int = 0) -> Iterator[Array]:
    """
    Yield weights (B, N) of `draws` bootstrap draws, in parts that fit into memory.

    Whole groups are drawn: the faces of one photograph, or of one person, are no independent ones.
    The same groups and seed give the same draws, so that predictors can be compared in pairs.

    :param groups: (N,) name of each face's group.
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
    """A figure and what the bootstrap draws made of it."""

    value: float
    #: (B,); empty without a bootstrap.
    draws: Array

    @property
    def interval(self) -> tuple[float, float] | None:
        """The central `LEVEL` of the draws; None where there are none or some measure nothing."""
        return central(self.draws)


def central(draws: Array) -> tuple[float, float] | None:
    """Return the central `LEVEL` of draws (B,); None where there are none, or one is no number."""
    if not len(draws) or not np.isfinite(draws).all():
        return None
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def estimate(
    statistics: Mapping[str, Statistic], groups: Sequence[str], draws: int = 0, seed: int = 0,
) -> dict[str, Estimate]:
    """Return every statistic's figure, with `draws` bootstrap draws of the groups (N,)."""
    once = np.ones((1, len(groups)))
    parts: dict[str, list[Array]] = {name: [] for name in statistics}
    for weights in resampled(groups, draws, seed):
        for name, statistic in statistics.items():
            parts[name].append(statistic(weights))
    return {name: Estimate(float(statistic(once)[0]), np.concatenate([*parts[name], np.zeros(0)]))
            for name, statistic in statistics.items()}
