"""The picture of a study: a panel for each family, a dot for each seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from trans3dhead_ros.training.ablation.report import MEASURES, Outcomes
from trans3dhead_ros.training.ablation.studies import BASE, FAMILIES

_SHOWN = ('inner51_percent', 'turned_nme68_60-90', 'turned_rotation_60-90')


def write_plot(path: Path, outcomes: Outcomes) -> Path:
    """Write a PNG: rows are figures, columns families, bars the means, the line the base."""
    families = [family for family in FAMILIES if any(
        outcomes.of(variant.name) for _, variant in family.rows if variant.name != BASE)] \
        or list(FAMILIES[:1])
    measures = [m for m in MEASURES if m.key in _SHOWN
                and any(m.key in run.figures for run in outcomes.results)]
    widths = [len(family.rows) for family in families]
    figure = Figure(figsize=(1.5 + 0.62 * sum(widths), 0.9 + 2.1 * max(len(measures), 1)),
                    layout='constrained', dpi=110)
    panels = figure.subplots(max(len(measures), 1), len(families), squeeze=False, sharex='col',
                             sharey='row', width_ratios=widths)
    for row, measure in zip(panels, measures, strict=False):
        row[0].set_ylabel(f'{measure.title}, {measure.unit}'.replace(', ', '\n', 1), fontsize=8)
        base = [*outcomes.values(BASE, measure.key).values()]
        for panel, family in zip(row, families, strict=True):
            if base:
                panel.axhline(np.mean(base), color='0.6', linewidth=0.8, linestyle='--')
            for place, (_, variant) in enumerate(family.rows):
                values = [*outcomes.values(variant.name, measure.key).values()]
                colour = 'tab:gray' if variant.name == BASE else 'tab:blue'
                if values:
                    panel.hlines(np.mean(values), place - 0.3, place + 0.3, colour, linewidth=2)
                    panel.plot(place + np.linspace(-0.12, 0.12, len(values)), values, 'o',
                               color=colour, markersize=3.5, alpha=0.7)
            panel.set_xlim(-0.6, len(family.rows) - 0.4)
            panel.tick_params(labelsize=7)
    for panel, bottom, family in zip(panels[0], panels[-1], families, strict=True):
        panel.set_title(family.name, fontsize=9)
        bottom.set_xticks(range(len(family.rows)), [label for label, _ in family.rows],
                          rotation=60, ha='right', fontsize=7)
    figure.savefig(path)
    return path
