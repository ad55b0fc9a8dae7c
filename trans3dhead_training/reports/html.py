"""The evaluation as one HTML file that needs no other: tables, and pictures inside it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from trans3dhead_training.evaluation.intervals import LEVEL, Estimate
from trans3dhead_training.evaluation.jitter import Jitter
from trans3dhead_training.reports.evaluation_report import (
    ALL,
    LARGER_IS_BETTER,
    Comparison,
    Report,
)
from trans3dhead_training.reports.outcome import Outcome
from trans3dhead_training.reports.plots import Picture
from trans3dhead_training.reports.text import COLUMNS, LABEL_FREE, interval, number

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 90em; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; margin: 0.5em 0 1.5em; display: block; overflow-x: auto; }
th, td { padding: 0.25em 0.7em; text-align: right; border-bottom: 1px solid #8884;
         vertical-align: top; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; }
table.facts td { text-align: left; white-space: normal; }
td small { display: block; opacity: 0.7; }
figure { margin: 1.5em 0; }
img { max-width: 100%; height: auto; background: white; }
figcaption { opacity: 0.8; }
"""

#: Figures below the headline table: title, digits. Dotted names of `report`.
_SECTIONS = {
    'By yaw': {
        **{f'nme_68_by_yaw_percent.{name}': (f'68 points, {name}, %', 2)
           for name in ('0-30', '30-60', '60-90', 'mean')},
        **{f'geodesic_by_yaw_deg.{name}': (f'rotation, {name}, °', 2)
           for name in ('0-30', '30-60', '60-90', 'mean')}},
    'Pose': {
        **{f'pose_error_deg.{name}': (f'{name}, °', 2)
           for name in ('yaw', 'pitch', 'roll', 'mean')},
        'geodesic_deg': ('geodesic, °', 2), 'rotation_frobenius': ('‖I − R Rgtᵀ‖', 3),
        'yaw_sign.agree_percent': ('sign of yaw as 3DDFA_V2, %', 1)},
    'Mesh': {
        'dense_percent': ('face, % of the box', 2),
        'dense_head_percent': ('whole head, % of the box', 2),
        'reconstruction_percent': ('reconstruction, % of the outer eye distance', 2),
        'z5': ('Z5', 3), 'chamfer': ('Chamfer', 2)},
    'DAD-3DHeads benchmark': {
        'dad_pose': ('pose', 3), 'dad_nme_percent': ('NME, % of the head box', 2),
        'dad_chamfer': ('Chamfer', 3), 'dad_z5_by_nearest': ('Z5 by nearest vertices', 3)},
    'Without labels': {
        f'{name}.{part}': (f'{text}, {part}, {unit.strip()}', 2)
        for name, (text, unit) in LABEL_FREE.items() for part in ('median', 'p90')},
    'Confidence': {
        'calibration.error_over_scale': ('error over predicted scale', 2),
        **{f'calibration.within_{share}_percent': (f'inside the {share} % interval, %', 1)
           for share in (50, 80, 95)},
        'failure_found_by.scale_area': ('failures found by the scale, AUC', 3),
        'failure_found_by.score_area': ('failures found by the score, AUC', 3),
        'score.area_under_curve': ('head against no head, AUC', 3)},
}


def page(outcome: Outcome, models: str, pictures: Sequence[Picture]) -> str:
    """
    Return the page.

    :param models: which checkpoints ours are.
    """
    title = f'Heads in {outcome.data or ", ".join(outcome.jitters)}'
    facts = {'predictors': ', '.join(outcome.reports or next(iter(outcome.jitters.values()))),
             'checkpoint': models}
    if outcome.measured is not None:
        facts |= {'data': f'{outcome.data}, split {outcome.split}',
                  'intervals': f'{100 * LEVEL:.0f} %, {outcome.draws} bootstrap draws of whole '
                               f'photographs or people, seed {outcome.seed}'
                               if outcome.draws else 'none',
                  'remarks': '; '.join(outcome.remarks) or 'none'}
    parts = [f'<h1>{escape(title)}</h1>', _table([], facts.items(), 'facts')]
    if outcome.reports:
        parts += ['<h2>Figures</h2>', *_headline(outcome.reports), *_sections(outcome.reports)]
    if outcome.comparisons:
        parts += ['<h2>Differences on the same faces</h2>',
                  '<p>Negative is better, except for the area under the curve. “Better in” is the '
                  'share of the bootstrap draws in which the first is better.</p>',
                  _table(['', 'figure', 'difference', f'{100 * LEVEL:.0f} %', 'better in'],
                         map(_comparison, outcome.comparisons))]
    for clip, found in outcome.jitters.items():
        parts += [f'<h2>Jitter on {escape(clip)}</h2>',
                  '<p>Frame by frame, nothing smoothed. Noise is what an even movement does not '
                  'explain; spread is the distance from the mean.</p>', _jitter_table(found)]
    if pictures:
        parts += ['<h2>Pictures</h2>', *map(_figure, pictures)]
    body = '\n'.join(parts)
    return ('<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">\n'
            f'<title>{escape(title)}</title>\n<style>{_STYLE}</style></head>\n'
            f'<body>\n{body}\n</body>\n</html>\n')


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]], kind: str = 'figures') -> str:
    """Return a table; cells are text, or HTML where they come from `_cell`."""
    lines = [f'<table class="{kind}">']
    if titles:
        lines.append('<tr>' + ''.join(f'<th>{escape(title)}</th>' for title in titles) + '</tr>')
    lines += ['<tr>' + ''.join(f'<td>{_escaped(cell)}</td>' for cell in row) + '</tr>'
              for row in rows]
    return '\n'.join([*lines, '</table>'])


class _Html(str):
    """Text that is HTML already."""


def _escaped(cell: str) -> str:
    return cell if isinstance(cell, _Html) else escape(cell)


def _cell(figure: Estimate | None, digits: int) -> _Html:
    bounds = interval(figure, digits)
    return _Html(escape(number(figure, digits)) + (f'<small>{bounds}</small>' if bounds else ''))


def _headline(reports: Mapping[str, Report]) -> Iterable[str]:
    """A table of all faces by predictor, and one by source for each predictor."""
    columns = {key: column for key, column in COLUMNS.items()
               if any(key in report.estimates[ALL] for report in reports.values())}
    titles = ['faces', *(title for title, _ in columns.values())]

    def cells(report: Report, row: str) -> list[str]:
        return [str(report.counts[row]['faces']), *(
            _cell(report.estimates[row].get(key), digits) for key, (_, digits) in columns.items())]
    yield _table(['', *titles], ([name, *cells(report, ALL)] for name, report in reports.items()))
    for name, report in reports.items():
        sources = [row for row in report.estimates if row != ALL]
        if len(sources) > 1:
            yield f'<h3>{escape(name)} by source</h3>'
            yield _table(['', *titles], ([row, *cells(report, row)] for row in sources))


def _sections(reports: Mapping[str, Report]) -> Iterable[str]:
    for title, figures in _SECTIONS.items():
        known = {key: column for key, column in figures.items()
                 if any(key in report.estimates[ALL] for report in reports.values())}
        if not known:
            continue
        yield f'<h3>{escape(title)}</h3>'
        yield _table(['', *reports], (
            [text, *(_cell(report.estimates[ALL].get(key), digits) for report in reports.values())]
            for key, (text, digits) in known.items()))


def _comparison(row: Comparison) -> list[str]:
    note = ' (larger is better)' if row.figure in LARGER_IS_BETTER else ''
    return [f'{row.first} − {row.second}', row.figure + note, f'{row.difference:+.3f}',
            f'{row.interval[0]:+.3f}…{row.interval[1]:+.3f}', f'{row.better_percent:.1f} %']


def _jitter_table(found: Mapping[str, Jitter]) -> str:
    titles = ['', 'frames', 'points, % of the box', 'rotation, °', 'spread of points, %',
              'spread of rotation, °']
    return _table(titles, (
        [name, str(j.frames), *('–' if value is None else f'{value:.3f}' for value in (
            j.points_percent, j.rotation_deg, j.spread_percent, j.spread_deg))]
        for name, j in found.items()))


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode()
    return (f'<figure><img src="data:image/png;base64,{data}" alt="{escape(picture.text)}">'
            f'<figcaption>{escape(picture.caption)}</figcaption></figure>')
