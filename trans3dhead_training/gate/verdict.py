"""The comparison of a candidate with the model in use, and the rule that decides."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trans3dhead_ros.types import Array
from trans3dhead_training.evaluation import bootstrap

DRAWS = 2000
MARGIN_PERCENT = 1.0
"""A figure that differs by no more than this is neither worse nor better."""
MIN_GROUPS = 5
"""From so many people on, whole people are drawn, else blocks of time: one person, drawn again and
again, has no interval. Fewer blocks than this decide nothing."""
BETTER, SAME, WORSE = 'better', 'same', 'worse'

TARGET = 'held out'
"""Name of the set of the user's own heads."""

# Neighbouring frames err alike: a block has several, and ten of them are about independent.
_BLOCKS, _BLOCK_HEADS = 10, 4


@dataclass(frozen=True, eq=False)
class Measurement:
    """One figure of one model on one set: the smaller, the better."""

    values: Array
    """(N,) or (N, K) with K repeats; nan where there is nothing to measure."""
    groups: Sequence[str]
    """(N,) the person, place or clip of each row; rows of one are in order of time."""
    unit: str
    """% or ° or ms."""


Measurements = Mapping[tuple[str, str], Measurement]
"""By set and figure."""


@dataclass(frozen=True)
class Comparison:
    """One figure of two models on the same samples: the smaller, the better."""

    part: str
    """The set."""
    figure: str
    """What was measured."""
    unit: str
    """Of the figure."""
    samples: int
    """Number of heads, pictures or clips."""
    groups: int
    """Number of people, places, clips or blocks of time that the interval was drawn from."""
    current: float
    """The figure of the model in use."""
    candidate: float
    """The figure of the candidate."""
    interval: tuple[float, float]
    """Of candidate - current, by draws of the same samples."""

    @property
    def difference(self) -> float:
        """Candidate - current; positive is worse."""
        return self.candidate - self.current

    @property
    def relative_percent(self) -> float:
        """The difference relative to the model in use."""
        if self.difference == 0.0:
            return 0.0
        return 100.0 * self.difference / abs(self.current) if self.current else np.inf

    @property
    def verdict(self) -> str:
        """`BETTER` or `WORSE`, or `SAME` where neither was shown."""
        if not self.is_decided or abs(self.relative_percent) <= MARGIN_PERCENT:
            return SAME
        if self.interval[0] > 0.0:
            return WORSE
        return BETTER if self.interval[1] < 0.0 else SAME

    @property
    def is_decided(self) -> bool:
        """Whether the samples are enough for a verdict."""
        return self.groups >= MIN_GROUPS


@dataclass(frozen=True, eq=False)
class Verdict:
    """Whether a candidate may replace a model, and what was measured."""

    candidate: Path
    """As it was named."""
    candidate_sha256: str
    """Of its weights."""
    current: Path
    """As it was named, or where the bundled model lies."""
    current_sha256: str
    """Of its weights."""
    comparisons: tuple[Comparison, ...]
    """All figures; those of the user's own heads are of the set `TARGET`."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the candidate fails, one line each; empty where it passes."""
        worse = [f'{row.part}: {row.figure} is worse, {row.current:.3g} -> {row.candidate:.3g} '
                 f'{row.unit} ({row.relative_percent:+.1f} %)'
                 for row in self.comparisons if row.verdict == WORSE]
        target = [row for row in self.comparisons if row.part == TARGET]
        if target and not any(row.is_decided for row in target):
            worse.append(f'{TARGET}: {max(row.samples for row in target)} heads are too few to '
                         f'tell; {MIN_GROUPS} people are needed, or {MIN_GROUPS * _BLOCK_HEADS} '
                         'heads of fewer')
        elif target and not any(row.verdict == BETTER for row in target):
            worse.append(f'{TARGET}: no figure is better beyond its interval and '
                         f'{MARGIN_PERCENT:g} %')
        return tuple(worse)

    @property
    def passed(self) -> bool:
        """Nothing is worse, and the target, where there is one, is better."""
        return not self.reasons

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; docs/update.md explains them."""
        return {
            'passed': self.passed, 'reasons': list(self.reasons),
            'candidate': {'file': self.candidate.name, 'sha256': self.candidate_sha256},
            'current': {'file': self.current.name, 'sha256': self.current_sha256},
            'target': any(row.part == TARGET for row in self.comparisons),
            'margin_percent': MARGIN_PERCENT, 'draws': DRAWS,
            'figures': [asdict(row) | {'verdict': row.verdict} for row in self.comparisons]}


def compare(current: Measurements, candidate: Measurements) -> tuple[Comparison, ...]:
    """
    Compare two models figure by figure, in pairs.

    :param current: measurements of the model in use.
    :param candidate: those of the candidate, on the same samples.
    :return: one comparison each.
    """
    return tuple(_compare(part, figure, before, candidate[part, figure])
                 for (part, figure), before in current.items())


def _compare(part: str, figure: str, before: Measurement, after: Measurement) -> Comparison:
    known = ~np.isnan(before.values).reshape(len(before.values), -1).all(axis=1)
    groups = [group for group, one in zip(before.groups, known, strict=True) if one]
    if len(set(groups)) < MIN_GROUPS:
        groups = _blocks_of_time(groups)
    estimates = bootstrap.estimate(
        {'before': bootstrap.mean(before.values[known]),
         'after': bootstrap.mean(after.values[known])}, groups, DRAWS)
    interval = bootstrap.percentile_interval(
        estimates['after'].draws - estimates['before'].draws)
    assert interval is not None  # the values are finite
    return Comparison(part, figure, before.unit, len(groups), len(set(groups)),
                      estimates['before'].value, estimates['after'].value, interval)


def _blocks_of_time(groups: Sequence[str]) -> list[str]:
    """Return a name for each row: neighbouring rows of a person share one."""
    most = math.ceil(_BLOCKS / len(set(groups)))
    total, seen, blocks = Counter(groups), Counter(), []
    for group in groups:
        count = min(most, max(1, total[group] // _BLOCK_HEADS))
        blocks.append(f'{group}, block {seen[group] * count // total[group]}')
        seen[group] += 1
    return blocks
