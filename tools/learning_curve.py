"""
Draw the tables of docs/training.md that follow the bundled model's training runs.

    python -m tools.learning_curve [--output docs/learning_curve.png]

Errors against all crops seen until then; each run continues from the weights of the previous one.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'training.md'
SECTION = '## How the bundled model was made'
_ROW = re.compile(r'^\| (\d+) k \|')
_CURVES = {'photographs: inner 51 points': 'inner 51 %', 'profiles: 30 points': '30 points',
           'turned by 60–90°: 68 points': 'turned by 60'}


def runs(page: str) -> list[list[tuple[float, dict[str, float]]]]:
    """
    Return the rows of every table of the section.

    :param page: its text.
    :return: for each run, (thousands of crops in this run, error % by curve).
    """
    section = page.split(SECTION, 1)[1].split('\n## ', 1)[0]
    found: list[list[tuple[float, dict[str, float]]]] = []
    header: list[str] = []
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if line.startswith('| crops seen'):
            # The other models' tables have other columns.
            header = cells if all(any(words in title for title in cells)
                                  for words in _CURVES.values()) else []
            found += [[]] if header else []
        elif header and (match := _ROW.match(line)):
            errors = {}
            for curve, words in _CURVES.items():
                column = next(i for i, title in enumerate(header) if words in title)
                numbers = re.findall(r'\d+\.\d+', cells[column])
                if numbers:
                    errors[curve] = float(numbers[0])
            found[-1].append((float(match[1]), errors))
    return found


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--output', type=Path, default=ROOT / 'docs' / 'learning_curve.png')
    options = parser.parse_args()
    figure = Figure(figsize=(7.2, 4.0), layout='constrained')
    axes = figure.subplots()
    for number, curve in enumerate(_CURVES):
        start = 0.0
        for run, rows in enumerate(runs(PAGE.read_text())):
            points = [(start + crops, errors[curve]) for crops, errors in rows if curve in errors]
            axes.plot(*zip(*points, strict=True), 'o-', color=f'C{number}', markersize=4,
                      label=curve if run == 0 else None)
            start += rows[-1][0]
    axes.set(xlabel='thousands of crops seen', ylabel='error, % of the box', ylim=(1.5, 6))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(options.output, dpi=110)


if __name__ == '__main__':
    main()
