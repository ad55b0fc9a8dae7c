"""What a study says: a table for each family, differences to the base, all runs as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trans3dhead_ros.training.ablation.results import Failure, Result, RunFolder
from trans3dhead_ros.training.ablation.studies import BASE, FAMILIES, Family

RULE = ('Mean ± standard deviation over seeds. A difference is the mean over seeds of variant '
        'minus base with the same seed, ± its standard deviation over seeds; one smaller than '
        'twice its standard error is called *no difference seen*. Smaller is better everywhere.')


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
    """All that a study's folder holds."""

    results: tuple[Result, ...]
    failures: tuple[Failure, ...]

    @classmethod
    def read(cls, root: Path) -> Outcomes:
        """Read the runs of all variants that have finished or failed."""
        folders = [RunFolder(path, path.parent.name, int(path.name.removeprefix('seed')))
                   for path in sorted(root.glob('*/seed*')) if path.is_dir()]
        results = [folder.result() for folder in folders]
        failures = [folder.failure() for folder in folders]
        return cls(tuple(r for r in results if r), tuple(f for f in failures if f))

    def of(self, variant: str) -> dict[int, Result]:
        """Return the finished runs of a variant by their seed."""
        return {r.seed: r for r in self.results if r.variant == variant}

    def values(self, variant: str, key: str) -> dict[int, float]:
        """Return one figure of a variant by seed; seeds that do not have it are left out."""
        return {seed: run.figures[key] for seed, run in self.of(variant).items()
                if np.isfinite(run.figures.get(key, np.nan))}

    def differences(self, variant: str, key: str) -> np.ndarray:
        """Return variant minus base (S,) of the seeds that both have."""
        own, base = self.values(variant, key), self.values(BASE, key)
        return np.array([own[seed] - base[seed] for seed in sorted(own.keys() & base.keys())])


def verdict(differences: np.ndarray) -> str:
    """Say what paired differences (S,) to the base show of a figure that should be small."""
    if len(differences) < 2:
        return 'too few seeds'
    mean, error = differences.mean(), differences.std(ddof=1) / np.sqrt(len(differences))
    # As in the rule: exactly twice is enough, unless nothing differs at all.
    if abs(mean) < 2 * error or mean == 0:
        return 'no difference seen'
    return 'better' if mean < 0 else 'worse'


def write_report(root: Path, outcomes: Outcomes) -> list[Path]:
    """
    Write report.md and runs.csv of what is finished; return their paths.

    :raises ValueError: no run has finished or failed yet.
    """
    if not outcomes.results and not outcomes.failures:
        raise ValueError(f'--output: no run has ended in {root} yet')
    report, table = root / 'report.md', root / 'runs.csv'
    report.write_text(markdown(outcomes))
    _write_csv(table, outcomes)
    return [report, table]


def markdown(outcomes: Outcomes) -> str:
    """Return the report."""
    parts = ['# Ablations', RULE]
    for family in FAMILIES:
        if any(outcomes.of(variant.name) for _, variant in family.rows if variant.name != BASE):
            parts += [f'## {family.title}', _table(family, outcomes), _findings(family, outcomes)]
    if outcomes.failures:
        parts += ['## Failed runs', '\n'.join(
            f'* {f.variant}, seed {f.seed}, exit code {f.code}: `{f.lines[-1] if f.lines else ""}`'
            for f in outcomes.failures)]
    return '\n\n'.join(parts) + '\n'


def _table(family: Family, outcomes: Outcomes) -> str:
    measures = [m for m in MEASURES if any(m.key in run.figures for run in outcomes.results)]
    head = ['', *(f'{m.title} ({m.unit})' for m in measures), 'seeds', 'M weights', 'M MAC',
            's/run']
    lines = [head, ['---', *['---:'] * (len(head) - 1)]]
    for label, variant in family.rows:
        runs = [*outcomes.of(variant.name).values()]
        failed = sum(f.variant == variant.name for f in outcomes.failures)
        count = f'{len(runs)}, {failed} failed' if failed else str(len(runs))
        cells = [_spread([*outcomes.values(variant.name, m.key).values()]) for m in measures]
        costs = ['–'] * 3 if not runs else [
            f'{runs[0].weights:.2f}', f'{runs[0].multiply_adds:.1f}',
            f'{np.mean([run.seconds for run in runs]):.0f}']
        lines.append([label, *cells, count, *costs])
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _spread(values: Sequence[float], sign: str = '') -> str:
    if not len(values):
        return '–'
    mean = f'{np.mean(values):{sign}.2f}'
    return mean if len(values) < 2 else f'{mean} ± {np.std(values, ddof=1):.2f}'


def _findings(family: Family, outcomes: Outcomes) -> str:
    lines = []
    for label, variant in family.rows:
        if variant.name == BASE:
            continue
        seen: dict[str, list[str]] = {}
        for measure in MEASURES:
            differences = outcomes.differences(variant.name, measure.key)
            if len(differences):
                text = f'{measure.title} {_spread(differences, "+")} {measure.unit}'
                seen.setdefault(verdict(differences), []).append(text)
        said = '. '.join(f'{name.capitalize()}: {"; ".join(texts)}' for name, texts in seen.items())
        lines.append(f'* **{label}**, against the base. {said or "Nothing to compare yet"}.')
    return '\n'.join(lines)


def _write_csv(path: Path, outcomes: Outcomes) -> None:
    keys = sorted({key for run in outcomes.results for key in run.figures})
    with path.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['variant', 'seed', 'state', 'weights_m', 'mac_m', 'seconds', *keys])
        for run in outcomes.results:
            writer.writerow([run.variant, run.seed, 'finished', round(run.weights, 4),
                             round(run.multiply_adds, 2), round(run.seconds, 1),
                             *(run.figures.get(key, '') for key in keys)])
        for run in outcomes.failures:
            writer.writerow([run.variant, run.seed, 'failed'])
