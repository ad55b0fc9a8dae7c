"""The picture of a study: a row for each variant, a dot for each seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trans3dhead_training.ablation.comparison import BETTER, NONE, WORSE
from trans3dhead_training.ablation.outcomes import MEASURES, Outcomes
from trans3dhead_training.ablation.variants import BASE, FAMILIES

_SHOWN = {
    'inner51_percent': 'photographs\ninner 51 points, %',
    'rotation_deg': 'photographs\nrotation, °',
    'turned_nme68_60-90': 'turned 60–90°\n68 points, %',
    'turned_rotation_60-90': 'turned 60–90°\nrotation, °',
}
_COLOURS = {BETTER: 'tab:blue', WORSE: 'tab:red', NONE: '0.35'}


@dataclass(frozen=True)
class _Row:
    label: str
    variant: str
    reference: str


def write_plot(path: Path, outcomes: Outcomes) -> Path:
    """
    Write a PNG: columns are figures, rows variants by family, dots seeds, ticks their means.

    Bands are mean ± standard deviation of what a family is compared with; colours are the
    report's verdicts.
    """
    rows = [_Row(BASE, BASE, BASE)]
    ends = []
    for family in FAMILIES:
        ends.append(len(rows) - 0.5)
        rows += [_Row(f'{family.name}: {label}', variant.name, family.reference)
                 for label, variant in family.rows
                 if variant.name != BASE and outcomes.of(variant.name)]
    keys = [m.key for m in MEASURES if m.key in _SHOWN
            and any(m.key in run.figures for run in outcomes.results)] or [MEASURES[0].key]
    figure = Figure(figsize=(1.9 + 1.9 * len(keys), 1.3 + 0.27 * len(rows)), layout='constrained',
                    dpi=110)
    panels = figure.subplots(1, len(keys), squeeze=False, sharey=True)[0]
    for panel, key in zip(panels, keys, strict=True):
        for place, row in enumerate(rows):
            _draw(panel, place, row, key, outcomes)
        panel.hlines(sorted(set(ends)), 0, 1, '0.85', linewidth=0.8, zorder=0,
                     transform=panel.get_yaxis_transform())
        panel.set_title(_SHOWN[key], fontsize=9)
        panel.tick_params(labelsize=8, length=2)
        panel.spines[['top', 'right', 'left']].set_visible(False)
    panels[0].set_yticks(range(len(rows)), [row.label for row in rows], fontsize=9)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    figure.supxlabel('smaller is better · band: the reference (base; of euler: none) ± standard '
                     'deviation · red: worse, blue: better, grey: no difference seen', fontsize=8)
    figure.savefig(path)
    return path


def _draw(panel: Axes, place: int, row: _Row, key: str, outcomes: Outcomes) -> None:
    reference = [*outcomes.values(row.reference, key).values()]
    if len(reference) > 1:
        mean, spread = np.mean(reference), np.std(reference, ddof=1)
        panel.fill_betweenx([place - 0.5, place + 0.5], mean - spread, mean + spread, color='0.88',
                            zorder=0, linewidth=0)
    values = [*outcomes.values(row.variant, key).values()]
    comparison = outcomes.comparison(row.variant, row.reference, key)
    colour = _COLOURS[comparison.verdict if comparison else NONE]
    if values:
        panel.plot(values, place + np.linspace(-0.16, 0.16, len(values)), 'o', color=colour,
                   markersize=3.5, alpha=0.65, markeredgewidth=0)
        panel.vlines(np.mean(values), place - 0.36, place + 0.36, colour, linewidth=1.8)
