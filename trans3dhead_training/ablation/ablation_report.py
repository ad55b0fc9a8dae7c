"""What a study says: a table for each family, differences to the base, all runs as CSV."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_training.ablation.comparison import CONFIDENCE, NONE, VERDICTS
from trans3dhead_training.ablation.outcomes import MEASURES, Outcomes
from trans3dhead_training.ablation.variants import BASE, FAMILIES, Family

RULE = (
    'First line of a cell: mean ± standard deviation over seeds. Second line: the mean difference '
    'with the same seed to the column that has no second line, which is the base except for the '
    "Euler-angle loss, and its 95 % interval (Student's t over the seeds). Only where the interval "
    'leaves out 0 is a variant called **better** or **worse**; all else is *no difference seen*, '
    'which is not the same as none. Smaller is better everywhere.')


def write_report(root: Path, outcomes: Outcomes) -> list[Path]:
    """
    Write report.md and runs.csv of what is finished; return their paths.

    :raises ValueError: no run has finished or failed yet.
    """
    if not outcomes.results and not outcomes.failures:
        raise UserError(f'--output: no run has ended in {root} yet')
    report, table = root / 'report.md', root / 'runs.csv'
    report.write_text(markdown(outcomes))
    _write_csv(table, outcomes)
    return [report, table]


def markdown(outcomes: Outcomes) -> str:
    """Return the report."""
    parts = ['# Ablations', '## Results', _extent(outcomes), RULE, _chance(outcomes),
             '![Every run, a dot](ablation.png)']
    for family in FAMILIES:
        if any(outcomes.of(variant.name) for _, variant in family.rows if variant.name != BASE):
            parts += [f'### {family.title}', _table(family, outcomes), _findings(family, outcomes)]
    if outcomes.failures:
        parts += ['### Failed runs', '\n'.join(
            f'* {f.variant}, seed {f.seed}, exit code {f.code}: `{f.reason}`'
            for f in outcomes.failures)]
    return '\n\n'.join(part for part in parts if part) + '\n'


def _extent(outcomes: Outcomes) -> str:
    budgets = sorted({(asked['steps'], asked['batch_size']) for asked in outcomes.asked})
    count, done = len(outcomes.asked), len(outcomes.results)
    extent = f'{done} runs' + ''.join(
        f', each of {steps} steps with {batch} crops' for steps, batch in budgets)
    missing = '' if done >= count else (
        f' **Unfinished: {count - done} of {count} runs are still to come or have failed.**')
    return f'{extent}.{missing}'


def _chance(outcomes: Outcomes) -> str:
    """Say how much of the verdicts may be luck."""
    made = [c for family in FAMILIES for _, variant in family.rows for m in MEASURES
            if (c := outcomes.comparison(variant.name, family.reference, m.key)) is not None]
    if not made:
        return 'No two variants have two seeds in common: nothing can be compared yet.'
    verdicts = sum(c.verdict != NONE for c in made)
    return (f'Comparisons: {len(made)}, of which with a verdict: {verdicts}. If no variant '
            f'differed from its reference, chance alone would give about '
            f'{(1 - CONFIDENCE) * len(made):.1f} verdicts, half of them *better*. The figures of '
            'one variant come from the same runs, so their lucky seeds are shared.')


def _table(family: Family, outcomes: Outcomes) -> str:
    measures = [m for m in MEASURES if any(m.key in run.figures for run in outcomes.results)]
    variants = [variant.name for _, variant in family.rows]
    lines = [['', *(label for label, _ in family.rows)], ['---', *['---:'] * len(variants)]]
    lines += [[f'{m.title}, {m.unit}', *(
        _cell(outcomes, name, family.reference, m.key) for name in variants)] for m in measures]
    runs = {name: [*outcomes.of(name).values()] for name in variants}
    failed = {name: sum(f.variant == name for f in outcomes.failures) for name in variants}
    lines.append(['seeds', *(
        f'{len(runs[name])}, {failed[name]} failed' if failed[name] else str(len(runs[name]))
        for name in variants)])
    for title, text in (
            ('weights, million', lambda own: f'{own[0].weights:.2f}'),
            ('multiply-adds of a crop, million', lambda own: f'{own[0].multiply_adds:.1f}')):
        lines.append([title, *(text(runs[name]) if runs[name] else '–' for name in variants)])
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _cell(outcomes: Outcomes, variant: str, reference: str, key: str) -> str:
    values = [*outcomes.values(variant, key).values()]
    if not values:
        return '–'
    text = f'{np.mean(values):.2f}'
    if len(values) > 1:
        text += f' ± {np.std(values, ddof=1):.2f}'
    comparison = outcomes.comparison(variant, reference, key)
    if comparison is not None:
        text += f'<br>{comparison.mean:+.2f} [{comparison.low:+.2f}, {comparison.high:+.2f}]'
        if comparison.verdict != NONE:
            text += f' **{comparison.verdict}**'
    return text


def _findings(family: Family, outcomes: Outcomes) -> str:
    lines = []
    for label, variant in family.rows:
        compared = [outcomes.comparison(variant.name, family.reference, m.key) for m in MEASURES]
        seen = Counter(c.verdict for c in compared if c is not None)
        if seen:
            said = ', '.join(f'{name} in {seen[name]}' for name in VERDICTS if seen[name])
            lines.append(f'* **{label}**: {said} of {seen.total()} figures.')
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
