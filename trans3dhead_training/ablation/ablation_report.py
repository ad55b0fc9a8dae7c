"""The report of an ablation: a table for each family of variants."""

from __future__ import annotations

import numpy as np

from trans3dhead_training.ablation.ablation_results import CONFIDENCE, MEASURES, NONE, Results
from trans3dhead_training.ablation.variants import BASE, FAMILIES, Family

_LEGEND = (
    'First line of a cell: mean ± standard deviation over seeds. Second line: the mean difference '
    'with the same seed to the column that has no second line, which is the base except for the '
    "Euler-angle loss, and its 95 % interval (Student's t over the seeds). Only where the interval "
    'excludes 0 is a variant called **better** or **worse**; anything else is *no difference '
    'seen*, which does not mean that there is none. Smaller is better everywhere.')


def markdown(results: Results) -> str:
    """Return the report."""
    parts = ['# Ablations', '## Results', _extent(results), _LEGEND, _chance(results),
             '![Every run is a dot](ablation.png)']
    for family in FAMILIES:
        if any(variant.name in results.metrics for _, variant in family.rows
               if variant.name != BASE):
            parts += [f'### {family.title}', _table(family, results)]
    return '\n\n'.join(parts) + '\n'


def _extent(results: Results) -> str:
    count = sum(map(len, results.metrics.values()))
    missing = results.unfinished
    budgets = ''.join(f', each of {steps} steps with {batch_size} crops'
                      for steps, batch_size in sorted(results.budgets))
    return f'{count} runs{budgets}.' + (
        f' **Unfinished: {missing} of {count + missing} runs have failed or are still to come.**'
        if missing else '')


def _chance(results: Results) -> str:
    """Say how many of the verdicts may be due to chance."""
    made = [comparison for family in FAMILIES for _, variant in family.rows for key in MEASURES
            if (comparison := results.comparison(variant.name, family.reference, key)) is not None]
    if not made:
        return 'No two variants have two seeds in common: nothing can be compared yet.'
    verdicts = sum(comparison.verdict != NONE for comparison in made)
    return (f'Comparisons: {len(made)}, of which with a verdict: {verdicts}. If no variant '
            f'differed from its reference, chance alone would give about '
            f'{(1 - CONFIDENCE) * len(made):.1f} verdicts, half of them *better*. The metrics of '
            'one variant come from the same runs and share their lucky seeds.')


def _table(family: Family, results: Results) -> str:
    names = [variant.name for _, variant in family.rows]
    shown = {key: title for key, title in MEASURES.items()
             if any(results.values(name, key) for name in results.metrics)}
    lines = [['', *(label for label, _ in family.rows)], ['---', *['---:'] * len(names)]]
    lines += [[title, *(_cell(results, name, family.reference, key) for name in names)]
              for key, title in shown.items()]
    lines.append(['seeds', *(str(len(results.metrics.get(name, {}))) for name in names)])
    for column, (title, digits) in enumerate((('weights, million', 2),
                                              ('multiply-adds of a crop, million', 1))):
        lines.append([title, *(f'{results.cost[name][column]:.{digits}f}'
                               if name in results.cost else '–' for name in names)])
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _cell(results: Results, variant: str, reference: str, key: str) -> str:
    values = [*results.values(variant, key).values()]
    if not values:
        return '–'
    text = f'{np.mean(values):.2f}'
    if len(values) > 1:
        text += f' ± {np.std(values, ddof=1):.2f}'
    comparison = results.comparison(variant, reference, key)
    if comparison is not None:
        text += f'<br>{comparison.mean:+.2f} [{comparison.low:+.2f}, {comparison.high:+.2f}]'
        if comparison.verdict != NONE:
            text += f' **{comparison.verdict}**'
    return text
