"""The figures of `trans3dhead bench` as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trans3dhead_ros.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def check_plot(path: Path) -> None:
    """
    Check that a picture can be drawn.

    :param path: of the picture.
    :raises UserError: for an extension that matplotlib does not know.
    :raises ModuleNotFoundError: when matplotlib is not installed.
    """
    from matplotlib.backend_bases import FigureCanvasBase
    extensions = FigureCanvasBase.get_supported_filetypes()
    if path.suffix.lstrip('.') not in extensions:
        raise UserError(f'--plot: {path} does not have the extension of a picture: '
                        f'{", ".join(sorted(extensions))}')


def draw(result: Mapping[str, Any], path: Path) -> None:
    """
    Draw stages, heads per second and ratios.

    :param result: as `trans3dhead bench --json` prints it.
    :param path: picture to write, see `check_plot`.
    """
    from matplotlib.figure import Figure
    figure = Figure(figsize=(13, 4.5), layout='constrained')
    stages, throughput, ratio = figure.subplots(1, 3)
    figure.suptitle(f'{result["processor"]}, {result["backend"]} {result["version"]}')
    _bars(stages, [(row['name'], row['p50_ms'], row['p95_ms'])
                   for row in (*result['stages'], *result['compared'])])
    stages.set(xlabel=f'ms, {result["threads"]} thread(s): median, line to the 95th percentile',
               xscale='log')
    for threads in sorted({row['threads'] for row in result['throughput']}):
        rows = [row for row in result['throughput'] if row['threads'] == threads]
        batches = [row['batch'] for row in rows]
        for key, style in (('network_heads_per_s', '--'), ('heads_per_s', '-')):
            name = 'network alone' if style == '--' else 'image to vertices'
            throughput.plot(batches, [row[key] for row in rows], style, marker='o',
                            color=f'C{threads - 1}', label=f'{name}, {threads} thread(s)')
    throughput.set(xlabel='heads in one call', ylabel='heads per second', ylim=(0, None))
    throughput.legend()
    _bars(ratio, [(name, value, value) for name, value in result.items()
                  if isinstance(value, float)])
    ratio.axvline(1.0, color='black', linewidth=0.8)
    ratio.set(xlabel='ratio of medians, measured in turns')
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _bars(axes: Axes, rows: list[tuple[str, float, float]]) -> None:
    names, values, ends = zip(*rows, strict=True) if rows else ((), (), ())
    places = range(len(rows))
    axes.barh(places, values, color='C0')
    axes.hlines(places, values, ends, color='C0')
    axes.set_yticks(places, names)
    axes.invert_yaxis()
