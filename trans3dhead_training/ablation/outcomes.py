"""All that a study's folder holds, and which of its figures are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trans3dhead_training.ablation.comparison import Comparison
from trans3dhead_training.ablation.results import Failure, Result, RunFolder


@dataclass(frozen=True)
class Measure:
    """A figure of the last validation and what the table calls it."""

    key: str
    title: str
    unit: str


MEASURES = (
    Measure('inner51_percent', 'photographs, inner 51 points', '%'),
    Measure('nme68_percent', 'photographs, 68 points', '%'),
    Measure('rotation_deg', 'photographs, rotation', '°'),
    Measure('turned_nme68_60-90', 'turned 60–90°, 68 points', '%'),
    Measure('turned_rotation_60-90', 'turned 60–90°, rotation', '°'),
    Measure('synthetic_nme68_60-90', 'synthetic 60–90°, 68 points', '%'),
    Measure('synthetic_rotation_60-90', 'synthetic 60–90°, rotation', '°'),
)
"""Of the table; `runs.csv` has all figures."""


@dataclass(frozen=True)
class Outcomes:
    """
    All that a study's folder holds.

    :ivar asked: the keys of every run that was ever asked for.
    """

    results: tuple[Result, ...]
    failures: tuple[Failure, ...]
    asked: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def read(cls, root: Path) -> Outcomes:
        """Read the runs of all variants, whether finished, failed or only asked for."""
        folders = [RunFolder(path, path.parent.name, int(path.name.removeprefix('seed')))
                   for path in sorted(root.glob('*/seed[0-9]*')) if path.is_dir()]
        results = [folder.result() for folder in folders]
        failures = [folder.failure() for folder in folders]
        asked = [folder.asked() for folder in folders]
        return cls(tuple(filter(None, results)), tuple(filter(None, failures)),
                   tuple(filter(None, asked)))

    def of(self, variant: str) -> dict[int, Result]:
        """Return the finished runs of a variant by their seed."""
        return {r.seed: r for r in self.results if r.variant == variant}

    def values(self, variant: str, key: str) -> dict[int, float]:
        """Return one figure of a variant by seed; seeds that do not have it are left out."""
        return {seed: run.figures[key] for seed, run in self.of(variant).items()
                if np.isfinite(run.figures.get(key, np.nan))}

    def comparison(self, variant: str, reference: str, key: str) -> Comparison | None:
        """
        Compare one figure of two variants over the seeds that both have.

        :return: None where these are fewer than two, or the variants are the same.
        """
        own, other = self.values(variant, key), self.values(reference, key)
        seeds = sorted(own.keys() & other.keys()) if variant != reference else []
        return Comparison.of([own[seed] - other[seed] for seed in seeds])
