"""The text that `trans3dhead evaluate` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from trans3dhead_training.core.metrics import YAW_BINS
from trans3dhead_training.evaluation.bootstrap import Estimate
from trans3dhead_training.evaluation.calibration import COVERAGES
from trans3dhead_training.evaluation.difficult_views import VIEWS
from trans3dhead_training.evaluation.image_perturbations import (
    BOX_JITTER,
    NOISE_LEVELS,
    NOISE_QUALITY,
    NOISE_SHIFT_PX,
    OFF_SHIFT,
    TURN_DEG,
)
from trans3dhead_training.evaluation.jitter import Jitter
from trans3dhead_training.evaluation.motion import MotionErrors
from trans3dhead_training.reports.evaluation_report import (
    ALL,
    CONFIDENT_YAW_DEG,
    COVERAGE_COLUMNS,
    NO_HEAD,
    NOD_DEG,
    SLOPE_YAW_DEG,
    Comparison,
    Report,
)

COLUMNS = {
    'nme_68_percent': ('68 pts %', 2), 'nme_68_contour_percent': ('68 contour %', 2),
    'inner_51_percent': ('inner 51 %', 2),
    'inner_51_interocular_percent': ('51/inter-ocular %', 2),
    'labelled_percent': ('labelled pts %', 2),
    'failures_percent': ('failures %', 1), 'area_under_curve': ('AUC', 3),
    'dense_percent': ('dense %', 2), 'reconstruction_percent': ('reconstr. %', 2),
    'geodesic_deg': ('geodesic °', 2),
}
"""Columns of the headline table: title and digits by the metric's name."""

_BOX = f'box shifted and scaled by ±{100 * BOX_JITTER:.0f} %'
_NOISE = (f'image shifted by ≤ {NOISE_SHIFT_PX} px, noise of {NOISE_LEVELS:.0f}/255, JPEG '
          f'{NOISE_QUALITY}')
LABEL_FREE = {
    'turn_deg': (f'image rotated by ±{TURN_DEG:.0f}°: rotation error', '°'),
    'mirror_deg': ('image mirrored: rotation error', '°'),
    'box_deg': (f'{_BOX}: rotation changes', '°'),
    'box_inner_51_percent': (f'{_BOX}: points change', ' % of the box'),
    'off_box_deg': (f'box off by {100 * OFF_SHIFT:.0f} %: rotation changes', '°'),
    'noise_deg': (f'{_NOISE}: rotation deviates', '°'),
    'noise_inner_51_percent': (f'{_NOISE}: points deviate', ' % of the box'),
}


def format_report(report: Report) -> str:
    """Format the table of one predictor and the lines below it."""
    columns = used_columns(COLUMNS, [report])
    names = [name for name in report.estimates if name != ALL] + [ALL]
    titles = ['', 'faces', *(title for title, _ in columns.values())]
    table = [titles]
    for name in names:
        figures = report.estimates[name]
        table.append([name, str(report.counts[name]['faces']), *(
            format_value(figures.get(key), digits) for key, (_, digits) in columns.items())])
    if any(figure.interval for figure in report.estimates[ALL].values()):
        table.append(['  95 %', '', *(
            format_interval(report.estimates[ALL].get(key), digits)
            for key, (_, digits) in columns.items())])
    return '\n'.join([*_align(table), *_lines(report)])


def used_columns(
    columns: Mapping[str, tuple[str, int]], reports: Iterable[Report],
) -> dict[str, tuple[str, int]]:
    """Return the columns that some report has an estimate of."""
    known = {name for report in reports for name in report.estimates[ALL]}
    return {name: column for name, column in columns.items() if name in known}


def _align(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return ['  '.join([row[0].ljust(widths[0]), *(
        cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in table]


def format_value(estimate: Estimate | None, digits: int) -> str:
    """Format a value, or a dash where there is none."""
    return '-' if estimate is None else f'{estimate.value:.{digits}f}'


def format_interval(estimate: Estimate | None, digits: int) -> str:
    """Format an interval; empty where there is none."""
    if estimate is None or estimate.interval is None:
        return ''
    low, high = estimate.interval
    return f'{low:.{digits}f}…{high:.{digits}f}'


def format_estimate(estimate: Estimate, digits: int, unit: str = '') -> str:
    """Format a value with its unit and, in brackets, its interval."""
    bounds = format_interval(estimate, digits)
    return format_value(estimate, digits) + unit + (f' ({bounds})' if bounds else '')


def _lines(report: Report) -> Iterator[str]:
    estimates, counts = report.estimates[ALL], report.counts[ALL]

    def show(name: str, digits: int, unit: str = '') -> str:
        return format_estimate(estimates[name], digits, unit)

    if 'predictions_not_finite' in counts:
        yield (f'{counts["predictions_not_finite"]} predictions are not finite, '
               'which counts as failure')
    if 'faces_with_landmarks' in counts:
        yield f'landmarks are labelled on {counts["faces_with_landmarks"]} of the faces'
    if 'inner_51_offset_percent.x' in estimates:
        x, y = (estimates[f'inner_51_offset_percent.{axis}'].value for axis in 'xy')
        yield f'mean offset of the inner 51: x {x:+.2f}, y {y:+.2f} % of the box'
    for key, text, unit in (('nme_68_by_yaw_percent', '68 points by |yaw|', ' %'),
                            ('geodesic_by_yaw_deg', 'geodesic by |yaw|', '°')):
        bins = [name for name in estimates if name.startswith(f'{key}.')]
        if bins:
            yield f'{text}: ' + ', '.join(
                f'{name.removeprefix(f"{key}.")} {show(name, 2, unit)}' for name in bins)
    if 'pose_error_deg.mean' in estimates:
        angles = ', '.join(f'{name} {show(f"pose_error_deg.{name}", 2, "°")}'
                           for name in ('yaw', 'pitch', 'roll', 'mean'))
        yield f'pose error: {angles} of {counts["pose_error_deg.faces"]} faces'
    if 'geodesic_deg' in estimates:
        yield (f'rotation: geodesic {show("geodesic_deg", 2, "°")}, ‖I − R Rgtᵀ‖ '
               f'{show("rotation_frobenius", 3)}')
    if 'off_geodesic_deg' in estimates:
        yield (f'rotation in a box off by {100 * OFF_SHIFT:.0f} %: geodesic '
               f'{show("off_geodesic_deg", 2, "°")}')
    if 'nods_geodesic_deg' in estimates:
        yield (f'heads with a pitch beyond ±{NOD_DEG:.0f}°: geodesic '
               f'{show("nods_geodesic_deg", 2, "°")}')
    slopes = [name for name in ('yaw', 'pitch', 'roll') if f'angle_slope.{name}' in estimates]
    if slopes:
        values = ', '.join(f'{name} {show(f"angle_slope.{name}", 3)}' for name in slopes)
        yield f'estimated over true angle, up to {SLOPE_YAW_DEG:.0f}° of yaw: slope of {values}'
    if 'dense_percent' in estimates:
        yield (f'mesh of {counts["mesh_faces"]} faces: face {show("dense_percent", 2, " %")}, '
               f'whole head {show("dense_head_percent", 2, " %")} of the box; reconstruction '
               f'{show("reconstruction_percent", 2, " %")} of the outer eye distance; Z5 '
               f'{show("z5", 3)}, Chamfer {show("chamfer", 2)}')
    dad = {'dad_pose': ('pose', 3), 'dad_nme_percent': ('NME of the head box %', 2),
           'dad_chamfer': ('Chamfer', 3), 'dad_z5_by_nearest': ('Z5 by nearest vertices', 3)}
    if known := used_columns(dad, [report]):
        yield 'DAD-3DHeads: ' + ', '.join(
            f'{text} {show(name, digits)}' for name, (text, digits) in known.items())
    for name, (text, unit) in LABEL_FREE.items():
        if f'{name}.median' in estimates:
            yield (f'{text} median {show(f"{name}.median", 2, unit)}, '
                   f'p90 {format_value(estimates[f"{name}.p90"], 2)}{unit}')
    if 'calibration.error_over_scale' in estimates:
        within = ', '.join(
            f'{percent:.0f} % in {show(f"calibration.within_{percent:.0f}_percent", 1, " %")}'
            for percent in (100 * coverage for coverage in COVERAGES))
        yield (f'predicted scale: error/scale {show("calibration.error_over_scale", 2)}; '
               f'intervals of {within}')
    rows = list(coverage_rows(report))
    if rows:
        yield format_table(COVERAGE_TITLES, rows)
    if bins := list(reliability_rows(report)):
        yield 'located by head score: ' + ', '.join(
            f'{score} {located} of {crops}' for score, crops, _, located in bins)
    if report.calibration is not None:
        yield (f'rank correlation of scale and error: {report.calibration.rank_points:.2f} over '
               f'points, {report.calibration.rank_faces:.2f} over faces')
    for name, text in (('score_roc_auc', 'head score'), ('scale_roc_auc', 'predicted scale')):
        if f'failure_detection.{name}' in estimates:
            yield f'failure detection by the {text}: AUC {show(f"failure_detection.{name}", 3)}'
    if 'score.roc_auc' in estimates:
        yield (f'head score: AUC {show("score.roc_auc", 3)}, {counts["score.heads"]} heads against '
               f'{counts["score.no_heads"]} boxes without a head')
    if 'yaw_sign.agree_percent' in estimates:
        yield (f'same sign of yaw as 3DDFA_V2 on '
               f'{estimates["yaw_sign.agree_percent"].value:.1f} % of the '
               f'{counts["yaw_sign.faces"]} faces that it sees beyond {CONFIDENT_YAW_DEG:.0f}°')


def format_comparisons(comparisons: Sequence[Comparison]) -> str:
    """Format the table of differences."""
    return format_table(['', 'difference', '95 %', 'better in'], (
        [f'{c.first} − {c.second}: {c.figure}', f'{c.difference:+.3f}',
         f'{c.interval[0]:+.3f}…{c.interval[1]:+.3f}', f'{c.better_percent:.1f} %']
        for c in comparisons))


COVERAGE_TITLES = ('', 'points in 95 % interval', 'rotation in 95 % ellipsoid', 'located %',
                   'mean score')


def coverage_rows(report: Report) -> Iterator[list[str]]:
    """Yield the cells below `COVERAGE_TITLES`: all faces, bins of yaw, difficult views."""
    estimates = report.estimates[ALL]
    titles = {ALL: 'all faces', **{name: f'|yaw| {name}°' for name in YAW_BINS}, **VIEWS,
              NO_HEAD: 'no head'}
    for name, title in titles.items():
        found = [estimates.get(f'{figure}.{name}') for figure in COVERAGE_COLUMNS]
        if any(found):
            points, rotation, score, located = found
            yield [title, *(
                '-' if value is None else format_estimate(value, 1)
                for value in (points, rotation)), format_value(located, 1), format_value(score, 2)]


RELIABILITY_TITLES = ('head score', 'crops', 'mean score', 'located')


def reliability_rows(report: Report) -> Iterator[list[str]]:
    """Yield the cells below `RELIABILITY_TITLES`, by bin of the score."""
    estimates, counts = report.estimates[ALL], report.counts[ALL]
    for name in counts:
        if name.startswith('reliability.crops.'):
            part = name.rpartition('.')[2]
            low, high = (f'{int(bound) / 100:g}' for bound in part.split('-'))
            yield [f'{low}–{high}', str(counts[name]),
                   format_value(estimates[f'reliability.mean_score.{part}'], 2),
                   format_estimate(estimates[f'reliability.located_percent.{part}'], 1, ' %')]


JITTER_TITLES = ('', 'frames', 'points %', 'rotation °', 'spread of points %',
                 'spread of rotation °')
MOTION_TITLES = ('', 'still °: raw, smoothed', 'lag: ms, frames', 'of exact answers',
                 'blink °: mean, largest', 'gaze °', 'pitch over yaw °', 'yaw over pitch °')


def format_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a table with a row of titles."""
    return '\n'.join(_align([list(titles), *rows]))


def jitter_rows(jitters: Mapping[str, Jitter]) -> Iterator[list[str]]:
    """Yield the cells below `JITTER_TITLES`, by predictor."""
    for name, raw in jitters.items():
        for title, jitter in ((name, raw), (f'{name}, smoothed', raw.smoothed)):
            if jitter is not None:
                yield [title, str(jitter.frames), *(
                    '-' if value is None else f'{value:.3f}' for value in (
                        jitter.points_percent, jitter.rotation_deg, jitter.spread_percent,
                        jitter.spread_deg))]


def motion_rows(motion: Mapping[str, MotionErrors]) -> Iterator[list[str]]:
    """Yield the cells below `MOTION_TITLES`, by predictor."""
    for name, errors in motion.items():
        yield [name, f'{errors.still_deg:.2f}, {errors.smoothed_still_deg:.2f}',
               f'{errors.lag_ms:.1f}, {errors.lag_frames:.2f}',
               f'{errors.exact_lag_ms:.1f}, {errors.exact_lag_frames:.2f}',
               f'{errors.blink_deg:.2f}, {errors.largest_blink_deg:.2f}',
               f'{errors.gaze_deg:.2f}, {errors.largest_gaze_deg:.2f}',
               f'{errors.pitch_over_yaw_deg:.1f}', f'{errors.yaw_over_pitch_deg:.1f}']
