"""The plot of an ablation: a row for each variant, a dot for each seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trans3dhead_training.ablation.ablation_results import BETTER, NONE, WORSE, Results
from trans3dhead_training.ablation.variants import BASE, FAMILIES

_SHOWN = {
    'inner51_percent': 'photographs\ninner 51 points, %',
    'rotation_deg': 'photographs\nrotation, °',
    'turned_nme68_60-90': 'turned 60–90°\n68 points, %',
    'turned_rotation_60-90': 'turned 60–90°\nrotation, °',
}
_COLOURS = {BETTER: 'tab:blue', WORSE: 'tab:red', NONE: '0.35'}


def write_plot(path: Path, results: Results) -> None:
    """
    Write a PNG: columns are metrics, rows variants by family, dots seeds, ticks their means.

    Bands are mean ± standard deviation of the reference of a family; colours are the verdicts of
    the report.

    :param path: of the PNG.
    :param results: of the ablation.
    """
    rows, borders = [(BASE, BASE, BASE)], []
    for family in FAMILIES:
        borders.append(len(rows) - 0.5)
        rows += [(f'{family.name}: {label}', variant.name, family.reference)
                 for label, variant in family.rows
                 if variant.name != BASE and variant.name in results.metrics]
    keys = [key for key in _SHOWN
            if any(results.values(name, key) for name in results.metrics)] or [*_SHOWN][:1]
    figure = Figure(figsize=(1.9 + 1.9 * len(keys), 1.3 + 0.27 * len(rows)), layout='constrained',
                    dpi=110)
    panels = figure.subplots(1, len(keys), squeeze=False, sharey=True)[0]
    for panel, key in zip(panels, keys, strict=True):
        for position, (_, variant, reference) in enumerate(rows):
            _draw(panel, position, variant, reference, key, results)
        panel.hlines(sorted(set(borders)), 0, 1, '0.85', linewidth=0.8, zorder=0,
                     transform=panel.get_yaxis_transform())
        panel.set_title(_SHOWN[key], fontsize=9)
        panel.tick_params(labelsize=8, length=2)
        panel.spines[['top', 'right', 'left']].set_visible(False)
    panels[0].set_yticks(range(len(rows)), [label for label, _, _ in rows], fontsize=9)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    figure.supxlabel('smaller is better · band: the reference (base; for euler: none) ± standard '
                     'deviation · red: worse, blue: better, grey: no difference seen', fontsize=8)
    figure.savefig(path)


def _draw(panel: Axes, position: int, variant: str, reference: str, key: str, results: Results,
          ) -> None:
    others = [*results.values(reference, key).values()]
    if len(others) > 1:
        mean, spread = np.mean(others), np.std(others, ddof=1)
        panel.fill_betweenx([position - 0.5, position + 0.5], mean - spread, mean + spread,
                            color='0.88', zorder=0, linewidth=0)
    values = [*results.values(variant, key).values()]
    comparison = results.comparison(variant, reference, key)
    colour = _COLOURS[comparison.verdict if comparison else NONE]
    if values:
        panel.plot(values, position + np.linspace(-0.16, 0.16, len(values)), 'o', color=colour,
                   markersize=3.5, alpha=0.65, markeredgewidth=0)
        panel.vlines(np.mean(values), position - 0.36, position + 0.36, colour, linewidth=1.8)
