"""The lines that `evaluate` prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from trans3dhead_training.evaluation.intervals import Estimate
from trans3dhead_training.evaluation.jitter import Jitter
from trans3dhead_training.evaluation.uncertainty import SHARES
from trans3dhead_training.evaluation.views import (
    BOX_JITTER,
    NOISE_LEVELS,
    NOISE_QUALITY,
    NOISE_SHIFT_PX,
    TURN_DEG,
)
from trans3dhead_training.reports.evaluation_report import (
    ALL,
    SURE_YAW_DEG,
    Comparison,
    Report,
)

#: Figures of the table: title, digits.
COLUMNS = {
    'nme_68_percent': ('68 pts %', 2), 'nme_68_contour_percent': ('68 contour %', 2),
    'inner_51_percent': ('inner 51 %', 2),
    'inner_51_interocular_percent': ('51/inter-ocular %', 2),
    'failures_percent': ('failures %', 1), 'area_under_curve': ('AUC', 3),
    'dense_percent': ('dense %', 2), 'reconstruction_percent': ('reconstr. %', 2),
    'geodesic_deg': ('geodesic °', 2),
}

_BOX = f'box shifted and scaled by ±{100 * BOX_JITTER:.0f} %'
_NOISE = (f'picture moved by ≤ {NOISE_SHIFT_PX} px, noise of {NOISE_LEVELS:.0f}/255, JPEG '
          f'{NOISE_QUALITY}')
LABEL_FREE = {
    'turn_deg': (f'picture turned by ±{TURN_DEG:.0f}°: rotation error', '°'),
    'mirror_deg': ('picture mirrored: rotation error', '°'),
    'box_deg': (f'{_BOX}: rotation changes', '°'),
    'box_inner_51_percent': (f'{_BOX}: points move', ' % of the box'),
    'noise_deg': (f'{_NOISE}: rotation deviates', '°'),
    'noise_inner_51_percent': (f'{_NOISE}: points deviate', ' % of the box'),
}


def format_report(report: Report) -> str:
    """Return the table of one predictor and the lines below it."""
    columns = {key: column for key, column in COLUMNS.items()
               if any(key in figures for figures in report.estimates.values())}
    names = [name for name in report.estimates if name != ALL] + [ALL]
    titles = ['', 'faces', *(title for title, _ in columns.values())]
    table = [titles]
    for name in names:
        figures = report.estimates[name]
        table.append([name, str(report.counts[name]['faces']), *(
            number(figures.get(key), digits) for key, (_, digits) in columns.items())])
    if any(figure.interval for figure in report.estimates[ALL].values()):
        table.append(['  95 %', '', *(
            interval(report.estimates[ALL].get(key), digits)
            for key, (_, digits) in columns.items())])
    return '\n'.join([*_aligned(table), *_lines(report)])


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return ['  '.join([row[0].ljust(widths[0]), *(
        cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in table]


def number(figure: Estimate | None, digits: int) -> str:
    """Return a figure, or a dash where there is none."""
    return '-' if figure is None else f'{figure.value:.{digits}f}'


def interval(figure: Estimate | None, digits: int) -> str:
    """Return a figure's interval, or nothing where there is none."""
    if figure is None or figure.interval is None:
        return ''
    low, high = figure.interval
    return f'{low:.{digits}f}…{high:.{digits}f}'


def both(figure: Estimate, digits: int, unit: str = '') -> str:
    """Return a figure with its unit and, in brackets, its interval."""
    bounds = interval(figure, digits)
    return number(figure, digits) + unit + (f' ({bounds})' if bounds else '')


def _lines(report: Report) -> Iterable[str]:
    figures, counts = report.estimates[ALL], report.counts[ALL]
    if 'answers_not_finite' in counts:
        yield (f'{counts["answers_not_finite"]} answers are no finite numbers, '
               'which counts as failure')
    if 'faces_with_landmarks' in counts:
        yield f'landmarks are labelled on {counts["faces_with_landmarks"]} of the faces'
    if 'inner_51_offset_percent.x' in figures:
        x, y = (figures[f'inner_51_offset_percent.{axis}'].value for axis in 'xy')
        yield f'mean offset of the inner 51: x {x:+.2f}, y {y:+.2f} % of the box'
    for key, text, unit in (('nme_68_by_yaw_percent', '68 points by |yaw|', ' %'),
                            ('geodesic_by_yaw_deg', 'geodesic by |yaw|', '°')):
        bins = {name.removeprefix(f'{key}.'): figure for name, figure in figures.items()
                if name.startswith(f'{key}.')}
        if bins:
            yield f'{text}: ' + ', '.join(
                f'{name} {both(figure, 2, unit)}' for name, figure in bins.items())
    if 'pose_error_deg.mean' in figures:
        yield ('pose error: ' + ', '.join(
            f'{name} {both(figures[f"pose_error_deg.{name}"], 2, "°")}'
            for name in ('yaw', 'pitch', 'roll', 'mean'))
            + f' of {counts["pose_error_deg.faces"]} faces')
    if 'geodesic_deg' in figures:
        yield (f'rotation: geodesic {both(figures["geodesic_deg"], 2, "°")}, ‖I − R Rgtᵀ‖ '
               f'{both(figures["rotation_frobenius"], 3)}')
    yield from _mesh_lines(report)
    for name, (text, unit) in LABEL_FREE.items():
        if f'{name}.median' in figures:
            yield (f'{text} median {both(figures[f"{name}.median"], 2, unit)}, '
                   f'p90 {number(figures[f"{name}.p90"], 2)}{unit}')
    yield from _confidence_lines(report)


def _mesh_lines(report: Report) -> Iterable[str]:
    figures, counts = report.estimates[ALL], report.counts[ALL]
    if 'dense_percent' in figures:
        yield (f'mesh of {counts["mesh_faces"]} faces: face '
               f'{both(figures["dense_percent"], 2, " %")}, whole head '
               f'{both(figures["dense_head_percent"], 2, " %")} of the box; reconstruction '
               f'{both(figures["reconstruction_percent"], 2, " %")} of the outer eye distance; Z5 '
               f'{both(figures["z5"], 3)}, Chamfer {both(figures["chamfer"], 2)}')
    words = {'dad_pose': ('pose', 3), 'dad_nme_percent': ('NME of the head box %', 2),
             'dad_chamfer': ('Chamfer', 3), 'dad_z5_by_nearest': ('Z5 by nearest vertices', 3)}
    known = [f'{text} {both(figures[name], digits)}' for name, (text, digits) in words.items()
             if name in figures]
    if known:
        yield 'DAD-3DHeads: ' + ', '.join(known)


def _confidence_lines(report: Report) -> Iterable[str]:
    figures, counts = report.estimates[ALL], report.counts[ALL]
    if 'calibration.error_over_scale' in figures:
        within = ', '.join(
            f'{100 * share:.0f} % in '
            f'{both(figures[f"calibration.within_{100 * share:.0f}_percent"], 1, " %")}'
            for share in SHARES)
        yield ('predicted scale: error/scale '
               f'{both(figures["calibration.error_over_scale"], 2)}; intervals of {within}')
    if report.calibration is not None:
        yield (f'rank correlation of scale and error: {report.calibration.rank_points:.2f} over '
               f'points, {report.calibration.rank_faces:.2f} over faces')
    for name, text in (('score_area', 'head score'), ('scale_area', 'predicted scale')):
        if (key := f'failure_found_by.{name}') in figures:
            yield f'failures found by the {text}: AUC {both(figures[key], 3)}'
    if 'score.area_under_curve' in figures:
        yield (f'head score: AUC {both(figures["score.area_under_curve"], 3)}, '
               f'{counts["score.heads"]} heads against {counts["score.no_heads"]} boxes without '
               'one')
    if 'yaw_sign.agree_percent' in figures:
        yield (f'sign of yaw as 3DDFA_V2 on {figures["yaw_sign.agree_percent"].value:.1f} % of the '
               f'{counts["yaw_sign.faces"]} faces that it puts beyond {SURE_YAW_DEG:.0f}°')


def format_comparisons(comparisons: Sequence[Comparison]) -> str:
    """Return the table of differences."""
    table = [['', 'difference', '95 %', 'better in']]
    table += [[f'{c.first} − {c.second}: {c.figure}', f'{c.difference:+.3f}',
               f'{c.interval[0]:+.3f}…{c.interval[1]:+.3f}', f'{c.better_percent:.1f} %']
              for c in comparisons]
    return '\n'.join(_aligned(table))


def format_jitter(found: Mapping[str, Jitter]) -> str:
    """Return the table of one clip, by predictor."""
    table = [['', 'frames', 'points %', 'rotation °', 'spread of points %', 'spread of rotation °']]
    table += [[name, str(j.frames), *('-' if value is None else f'{value:.3f}' for value in (
        j.points_percent, j.rotation_deg, j.spread_percent, j.spread_deg))]
        for name, j in found.items()]
    return '\n'.join(_aligned(table))
