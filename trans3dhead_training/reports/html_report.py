"""An evaluation as one self-contained HTML page: tables and figures."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from trans3dhead_training.core.metrics import YAW_BINS
from trans3dhead_training.evaluation.bootstrap import CONFIDENCE_LEVEL, Estimate
from trans3dhead_training.reports.evaluation_plots import ReportFigure
from trans3dhead_training.reports.evaluation_report import (
    ALL,
    LARGER_IS_BETTER,
    Comparison,
    Report,
)
from trans3dhead_training.reports.evaluation_run import EvaluationRun
from trans3dhead_training.reports.text_report import (
    COLUMNS,
    COVERAGE_TITLES,
    JITTER_TITLES,
    LABEL_FREE,
    MOTION_TITLES,
    RELIABILITY_TITLES,
    coverage_rows,
    format_interval,
    format_value,
    jitter_rows,
    motion_rows,
    reliability_rows,
    used_columns,
)

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

_YAW_BINS = (*YAW_BINS, 'mean')
_SECTIONS: Mapping[str, Mapping[str, tuple[str, int]]] = {
    'By yaw': {
        **{f'nme_68_by_yaw_percent.{name}': (f'68 points, {name}, %', 2) for name in _YAW_BINS},
        **{f'geodesic_by_yaw_deg.{name}': (f'rotation, {name}, °', 2) for name in _YAW_BINS}},
    'Pose': {
        **{f'pose_error_deg.{name}': (f'{name}, °', 2)
           for name in ('yaw', 'pitch', 'roll', 'mean')},
        'geodesic_deg': ('geodesic, °', 2), 'rotation_frobenius': ('‖I − R Rgtᵀ‖', 3),
        'yaw_sign.agree_percent': ('same sign of yaw as 3DDFA_V2, %', 1)},
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
        'failure_detection.scale_roc_auc': ('failure detection by the scale, AUC', 3),
        'failure_detection.score_roc_auc': ('failure detection by the score, AUC', 3),
        'score.roc_auc': ('head against no head, AUC', 3)},
}
"""Metrics below the headline table: title and digits by their dotted names in `Report`."""


def html_page(run: EvaluationRun, models: str, figures: Sequence[ReportFigure]) -> str:
    """
    Render the page.

    :param run: to report.
    :param models: the checkpoints of 'ours'.
    :param figures: to embed.
    :return: HTML.
    """
    title = f'Heads in {run.data or ", ".join(run.jitters) or "rendered clips"}'
    facts = {'predictors': ', '.join(run.reports or next(iter(run.jitters.values()), run.motion)),
             'checkpoint': models}
    if run.evaluation is not None:
        facts |= {'data': f'{run.data}, split {run.split}',
                  'intervals': f'{100 * CONFIDENCE_LEVEL:.0f} %, {run.draws} bootstrap draws of '
                               f'whole photographs or people, seed {run.seed}'
                               if run.draws else 'none',
                  'remarks': '; '.join(run.remarks) or 'none'}
    parts = [f'<h1>{escape(title)}</h1>', _table([], facts.items(), 'facts')]
    if run.reports:
        parts += ['<h2>Metrics</h2>', *_headline(run.reports), *_sections(run.reports)]
    if run.comparisons:
        parts += ['<h2>Differences on the same faces</h2>',
                  '<p>Negative is better, except for the areas under curves. “Better in” is the '
                  'share of the bootstrap draws in which the first is better.</p>',
                  _table(['', 'metric', 'difference', f'{100 * CONFIDENCE_LEVEL:.0f} %',
                          'better in'], map(_comparison, run.comparisons))]
    for clip, jitters in run.jitters.items():
        parts += [f'<h2>Jitter on {escape(clip)}</h2>',
                  '<p>Frame by frame. Noise is what uniform motion does not explain; spread is '
                  'the distance from the mean.</p>', _table(JITTER_TITLES, jitter_rows(jitters))]
    if run.motion:
        parts += ['<h2>Stillness and lag on rendered heads</h2>',
                  '<p>Still heads before a noisy sensor; the lag behind a turn of 100° per second '
                  'at 30 Hz; the change of the rotation when only the eyes move; and by how much '
                  'the error of one angle varies while the other sweeps.</p>',
                  _table(MOTION_TITLES, motion_rows(run.motion))]
    if figures:
        parts += ['<h2>Figures</h2>', *map(_figure, figures)]
    body = '\n'.join(parts)
    return ('<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">\n'
            f'<title>{escape(title)}</title>\n<style>{_STYLE}</style></head>\n'
            f'<body>\n{body}\n</body>\n</html>\n')


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]], kind: str = 'figures') -> str:
    """Return a table; cells are text, or HTML from `_cell`."""
    lines = [f'<table class="{kind}">']
    if titles:
        lines.append('<tr>' + ''.join(f'<th>{escape(title)}</th>' for title in titles) + '</tr>')
    lines += ['<tr>' + ''.join(f'<td>{_escaped(cell)}</td>' for cell in row) + '</tr>'
              for row in rows]
    return '\n'.join([*lines, '</table>'])


class _Html(str):
    """Text that is already HTML."""


def _escaped(cell: str) -> str:
    return cell if isinstance(cell, _Html) else escape(cell)


def _cell(estimate: Estimate | None, digits: int) -> _Html:
    bounds = format_interval(estimate, digits)
    return _Html(escape(format_value(estimate, digits))
                 + (f'<small>{bounds}</small>' if bounds else ''))


def _headline(reports: Mapping[str, Report]) -> Iterable[str]:
    """Yield a table of all faces by predictor, and one by source for each predictor."""
    columns = used_columns(COLUMNS, reports.values())
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
    for title, columns in _SECTIONS.items():
        known = used_columns(columns, reports.values())
        if not known:
            continue
        yield f'<h3>{escape(title)}</h3>'
        yield _table(['', *reports], (
            [text, *(_cell(report.estimates[ALL].get(key), digits) for report in reports.values())]
            for key, (text, digits) in known.items()))
    for name, report in reports.items():
        if rows := list(coverage_rows(report)):
            yield f'<h3>{escape(name)}: predicted and actual errors</h3>'
            yield _table(COVERAGE_TITLES, rows)
            yield _table(RELIABILITY_TITLES, reliability_rows(report))


def _comparison(row: Comparison) -> list[str]:
    note = ' (larger is better)' if row.figure in LARGER_IS_BETTER else ''
    return [f'{row.first} − {row.second}', row.figure + note, f'{row.difference:+.3f}',
            f'{row.interval[0]:+.3f}…{row.interval[1]:+.3f}', f'{row.better_percent:.1f} %']


def _figure(figure: ReportFigure) -> str:
    data = base64.b64encode(figure.png).decode()
    return (f'<figure><img src="data:image/png;base64,{data}" alt="{escape(figure.text)}">'
            f'<figcaption>{escape(figure.caption)}</figcaption></figure>')
