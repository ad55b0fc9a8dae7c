"""`python -m tools.draw_structure`: the picture of both packages' folders and what each imports."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from tools.import_graph import FILES, RUNTIME, TRAINING, Folder, folder_graph, folder_of

_COLOURS = {RUNTIME: '#2f6fab', TRAINING: '#b4612b'}
_FILLS = {RUNTIME: '#e6f0f9', TRAINING: '#fbeee4'}
_CENTRES = {RUNTIME: 1.3, TRAINING: 5.6}
_ACROSS = '#8a8a8a'
_BOX = (0.9, 0.5)


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(prog='python -m tools.draw_structure', description=__doc__)
    parser.add_argument('output', nargs='?', type=Path, default=Path('docs/structure.png'),
                        help='picture to write (default: %(default)s)')
    output = parser.parse_args().output
    draw(folder_graph(), output)
    print(output)


def needed_arrows(graph: Mapping[Folder, set[Folder]]) -> set[tuple[Folder, Folder]]:
    """
    Return the arrows that no way over other arrows implies.

    :param graph: folder → folders that it imports; without circles.
    :return: pairs of a folder and one that it imports.
    """
    @cache
    def below(folder: Folder) -> frozenset[Folder]:
        return frozenset().union(*({other} | below(other) for other in graph.get(folder, ())))

    return {(folder, other) for folder, others in graph.items() for other in others
            if not any(other in below(middle) for middle in others)}


def positions(graph: Mapping[Folder, set[Folder]]) -> dict[Folder, tuple[float, float]]:
    """
    Return where each folder is drawn: above all that it imports, the runtime on the left.

    :param graph: folder → folders that it imports; without circles.
    :return: folder → x, y of its middle.
    """
    level: dict[Folder, int] = {}
    for folder in TopologicalSorter(graph).static_order():
        same = [level[other] for other in graph.get(folder, ()) if other[0] == folder[0]]
        level[folder] = max(same, default=-1) + 1
    rows = defaultdict(list)
    for folder in sorted(level):
        rows[folder[0], level[folder]].append(folder)
    places = {}
    for (package, row), folders in sorted(rows.items(), key=lambda item: item[0]):
        # Near what a folder imports, so that arrows cross seldom.
        def middle(folder: Folder) -> float:
            known = [places[other][0] for other in graph.get(folder, ())
                     if other in places and other[0] == folder[0]]
            return sum(known) / len(known) if known else 0.0

        centre = _CENTRES[package]
        for index, folder in enumerate(sorted(folders, key=middle)):
            shift = 0.25 * (row % 2) if len(folders) == 1 else 0.0
            places[folder] = (centre + shift + (index - (len(folders) - 1) / 2) * 1.15, 1.1 * row)
    return places


def draw(graph: Mapping[Folder, set[Folder]], output: Path) -> None:
    """
    Draw the folders and arrows.

    :param graph: folder → folders that it imports; without circles.
    :param output: picture to write.
    """
    counts = defaultdict(int)
    for module, path in FILES.items():
        counts[folder_of(module)] += path.name != '__init__.py'
    graph = {folder: others for folder, others in graph.items() if counts[folder]}
    places = positions(graph)
    figure, axes = plt.subplots(figsize=(13, 9))
    for folder, other in sorted(needed_arrows(graph)):
        (x, y), (to_x, to_y) = places[folder], places[other]
        across = folder[0] != other[0]
        axes.add_patch(FancyArrowPatch(
            (x, y - _BOX[1] / 2), (to_x, to_y + _BOX[1] / 2), arrowstyle='-|>', mutation_scale=10,
            color=_ACROSS if across else _COLOURS[folder[0]], linewidth=0.8 if across else 1.1,
            linestyle=(0, (4, 3)) if across else '-', shrinkA=0, shrinkB=1, zorder=1,
            connectionstyle=f'arc3,rad={0.0 if across else 0.06}'))
    for folder, (x, y) in places.items():
        package, name = folder
        width, height = _BOX
        axes.add_patch(FancyBboxPatch(
            (x - width / 2, y - height / 2), width, height, boxstyle='round,pad=0.02',
            facecolor=_FILLS[package], edgecolor=_COLOURS[package], zorder=2))
        # Left of the middle, clear of the count.
        axes.text(x - 0.04, y, name.replace('.', '/\n') or 'top-level\nfiles', ha='center',
                  va='center', fontsize=8.5, zorder=3, linespacing=0.95)
        axes.text(x + width / 2, y - height / 2, counts[folder], ha='right', va='bottom',
                  fontsize=7, color='#666666', zorder=3)
    top = max(y for _, y in places.values()) + 0.75
    for package, x in _CENTRES.items():
        axes.text(x, top, package, ha='center', fontsize=13, color=_COLOURS[package],
                  fontweight='bold')
    axes.set_xlim(min(x for x, _ in places.values()) - 0.6,
                  max(x for x, _ in places.values()) + 0.6)
    axes.set_ylim(-0.5, top + 0.3)
    axes.axis('off')
    figure.savefig(output, dpi=100, bbox_inches='tight', pil_kwargs={'optimize': True})
    plt.close(figure)


if __name__ == '__main__':
    main()
