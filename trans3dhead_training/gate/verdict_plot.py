"""A verdict as a plot: a row for each figure, its change with its interval."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from trans3dhead_training.gate.verdict import BETTER, MARGIN_PERCENT, SAME, WORSE, Verdict

_TICKS = (-500, -200, -100, -50, -20, -10, -5, -2, 0, 2, 5, 10, 20, 50, 100, 200, 500)
_COLOURS = {BETTER: 'tab:blue', SAME: '0.35', WORSE: 'tab:red'}


def write_verdict_plot(path: Path, verdict: Verdict) -> None:
    """
    Write a PNG: the change of every figure in % of that of the model in use, with its interval.

    :param path: of the PNG.
    :param verdict: to draw.
    """
    rows = verdict.comparisons
    figure = Figure(figsize=(7.5, 1.5 + 0.27 * len(rows)), layout='constrained', dpi=110)
    axes = figure.subplots()
    axes.axvline(0, color='0.6', linewidth=0.8, zorder=0)
    axes.axvspan(0, MARGIN_PERCENT, color='0.9', zorder=0)
    for position, row in enumerate(rows):
        scale = 100 / max(abs(row.current), 1e-12)
        low, high = (scale * end for end in row.interval)
        colour = _COLOURS[row.verdict]
        axes.plot([low, high], [position, position], color=colour, linewidth=2)
        axes.plot(scale * row.difference, position, 'o', color=colour, markersize=5)
    borders = [position - 0.5 for position in range(1, len(rows))
               if rows[position].part != rows[position - 1].part]
    axes.hlines(borders, 0, 1, '0.85', linewidth=0.8, zorder=0,
                transform=axes.get_yaxis_transform())
    axes.set_yticks(range(len(rows)), [f'{row.part}: {row.figure}' for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xscale('symlog', linthresh=5, linscale=2)
    axes.set_xticks([tick for tick in _TICKS if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]])
    axes.xaxis.set_major_formatter('{x:g}')
    axes.minorticks_off()
    axes.spines[['top', 'right', 'left']].set_visible(False)
    axes.tick_params(labelsize=8, length=2)
    axes.set_title(f'{verdict.candidate.name} against {verdict.current.name}: '
                   f'{"passed" if verdict.passed else "failed"}', fontsize=10)
    axes.set_xlabel('change, % of the model in use, with 95 % interval; smaller is better\n'
                    'blue: better, red: worse, grey: neither shown', fontsize=8)
    figure.savefig(path, metadata={'Software': None})
