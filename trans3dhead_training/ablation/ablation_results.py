"""The results of an ablation, and what few seeds can say about their differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.stats import t

from trans3dhead_ros.network.checkpoint import load_checkpoint
from trans3dhead_ros.network.cost import multiply_adds, weight_count
from trans3dhead_training.ablation.ablation_runs import AblationRun

CONFIDENCE = 0.95
VERDICTS = BETTER, WORSE, NONE = 'better', 'worse', 'no difference seen'

MEASURES = {
    'inner51_percent': 'photographs, inner 51 points, %',
    'nme68_percent': 'photographs, 68 points, %',
    'rotation_deg': 'photographs, rotation, °',
    'turned_nme68_60-90': 'turned 60–90°, 68 points, %',
    'turned_rotation_60-90': 'turned 60–90°, rotation, °',
    'synthetic_nme68_60-90': 'synthetic 60–90°, 68 points, %',
    'synthetic_rotation_60-90': 'synthetic 60–90°, rotation, °',
}
"""The metrics of the last validation that are compared, and their titles; small is good."""


@dataclass(frozen=True)
class Comparison:
    """Differences of a metric to a reference, paired by seed."""

    mean: float
    """Mean of variant minus reference."""
    low: float
    """Lower end of the confidence interval of the mean."""
    high: float
    """Upper end of the confidence interval of the mean."""

    @property
    def verdict(self) -> str:
        """`BETTER` or `WORSE` where the interval excludes 0, else `NONE`."""
        if self.high < 0:
            return BETTER
        return WORSE if self.low > 0 else NONE


def compare(differences: ArrayLike) -> Comparison | None:
    """
    Return Student's interval of the mean difference.

    :param differences: (S,) one for each seed.
    :return: None for fewer than two seeds.
    """
    values = np.asarray(differences, float)
    if len(values) < 2:
        return None
    half = (t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
            * values.std(ddof=1) / np.sqrt(len(values)))
    return Comparison(float(values.mean()), float(values.mean() - half),
                      float(values.mean() + half))


@dataclass(frozen=True)
class Results:
    """Metrics of the finished runs of an ablation."""

    metrics: dict[str, dict[int, dict[str, float]]]
    """By variant, seed and metric."""
    unfinished: int = 0
    """Number of runs that have failed or are still to come."""
    cost: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Weights and multiply-adds of a crop, in millions, by variant."""
    budgets: frozenset[tuple[int, int]] = frozenset()
    """Steps and batch sizes of the runs; more than one pair makes them hard to compare."""

    @classmethod
    def read(cls, runs: Sequence[AblationRun]) -> Results:
        """Read the metrics of finished runs, and the cost of their networks."""
        metrics: dict[str, dict[int, dict[str, float]]] = {}
        cost: dict[str, tuple[float, float]] = {}
        unfinished = 0
        for run in runs:
            found = run.metrics()
            if found is None:
                unfinished += 1
                continue
            metrics.setdefault(run.variant, {})[run.config.seed] = found
            checkpoint = run.folder / 'last.safetensors'
            if run.variant not in cost and checkpoint.is_file():
                cost[run.variant] = _cost(checkpoint)
        return cls(metrics, unfinished, cost, frozenset(
            (run.config.steps, run.config.batch_size) for run in runs))

    def values(self, variant: str, key: str) -> dict[int, float]:
        """Return one metric of a variant by seed; seeds that do not have it are left out."""
        return {seed: found[key] for seed, found in self.metrics.get(variant, {}).items()
                if np.isfinite(found.get(key, np.nan))}

    def comparison(self, variant: str, reference: str, key: str) -> Comparison | None:
        """
        Compare one metric of two variants over the seeds that both have.

        :param variant: name.
        :param reference: name of the variant to compare with.
        :param key: of the metric.
        :return: None for fewer than two common seeds, or where both are the same variant.
        """
        if variant == reference:
            return None
        own, other = self.values(variant, key), self.values(reference, key)
        return compare([own[seed] - other[seed] for seed in sorted(own.keys() & other.keys())])


def _cost(checkpoint: Path) -> tuple[float, float]:
    network, _ = load_checkpoint(checkpoint, torch.device('cpu'))
    size = network.config.input_size
    return (weight_count(network) / 1e6,
            multiply_adds(network, torch.zeros(1, 3, size, size)) / 1e6)
