"""Pictures of an evaluation, as PNG: curves, errors against yaw, calibration, the worst faces."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from trans3dhead_training.core import metrics
from trans3dhead_training.evaluation.predictions import Answer
from trans3dhead_training.evaluation.uncertainty import SHARES
from trans3dhead_training.reports.evaluation_report import ALL, Report
from trans3dhead_training.reports.worst_faces import draw_sheet, worst_faces

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Picture:
    """
    A picture of the evaluation.

    :ivar name: of its file, without the suffix. :ivar caption: what it shows.
    :ivar text: what is to be seen in it, in words, for who cannot.
    """

    name: str
    caption: str
    text: str
    png: bytes


@dataclass(frozen=True)
class _Measure:
    """What the curve, the order of the worst faces and the plot against yaw go by."""

    column: str
    label: str
    unit: str
    limit: float

    @property
    def axis(self) -> str:
        return f'error, {self.unit.strip()} ({self.label})'


_ROTATION = _Measure('geodesic_deg', 'rotation', '°', 30.0)


def _landmarks(in_3d: set[bool]) -> _Measure:
    """What scores labels that are all in 3D, all in 2D, or both."""
    label = {(True,): '68 points / box', (False,): 'inner 51 points / eye distance'}.get(
        tuple(in_3d), 'landmarks')
    return _Measure('scored_percent', label, ' %', 100 * metrics.FAILURE_THRESHOLD)


def draw_pictures(
    answers: Mapping[str, Sequence[Answer]], reports: Mapping[str, Report],
    reference_yaw: Array | None = None,
) -> list[Picture]:
    """
    Draw everything that these answers allow.

    Curves and worst faces go by the landmarks, or by the rotation where no face has labelled
    landmarks; predictors that do not give it are left out.

    :param answers: of the same faces, by the predictor's name. :param reports: of these.
    :param reference_yaw: (N,) degrees by 3DDFA_V2, where yaw is not labelled; None: unknown.
    """
    in_3d = {a.sample.points_are_3d for given in answers.values() for a in given
             if a.sample.points is not None}
    measure = _landmarks(in_3d) if in_3d else _ROTATION
    shown = {name: report for name, report in reports.items()
             if measure.column in report.errors.columns}
    if not shown:
        return []
    pictures = [_cumulative(shown, measure),
                *_against_yaw(shown, measure, reference_yaw)]
    for name, report in shown.items():
        if report.calibration is not None:
            pictures.append(_calibration(name, report))
    pictures += [_worst(name, answers[name], report.errors.columns[measure.column], measure)
                 for name, report in shown.items()]
    return pictures


def _file_name(text: str) -> str:
    return re.sub(r'[^\w.-]+', '_', text)



def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # Without a date and a version the same evaluation gives the same file.
    figure.savefig(buffer, dpi=120, metadata={'Software': None})
    return buffer.getvalue()


def _axes(width: float = 6, height: float = 4) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout='constrained')
    axes = figure.subplots()
    axes.grid(alpha=0.3)
    return figure, axes


def _cumulative(reports: Mapping[str, Report], measure: _Measure) -> Picture:
    figure, axes = _axes()
    words = []
    for name, report in reports.items():
        values = report.errors.columns[measure.column]
        values = np.sort(values[~np.isnan(values)])
        axes.step([0, *values], np.arange(len(values) + 1) / len(values), where='post', label=name)
        inside = 100 * float((values <= measure.limit).mean())
        words.append(f'{name}: median {np.median(values):.2f}{measure.unit}, {inside:.1f} % of the '
                     f'faces within {measure.limit:.0f}{measure.unit}')
    axes.set(xlim=(0, measure.limit), ylim=(0, 1), xlabel=measure.axis, ylabel='share of faces')
    axes.legend(loc='lower right')
    return Picture('cumulative_error', f'Share of the faces up to each error ({measure.label}).',
                   '; '.join(words) + '.', _png(figure))


def _against_yaw(reports: Mapping[str, Report], measure: _Measure, reference_yaw: Array | None
                 ) -> list[Picture]:
    yaw = next(iter(reports.values())).errors.yaw_deg
    source = 'labelled yaw'
    if np.isnan(yaw).all():
        if reference_yaw is None:
            return []
        yaw, source = reference_yaw, 'yaw by 3DDFA_V2 (none is labelled)'
    figure, axes = _axes(7)
    words = []
    edges = np.arange(-105, 106, 15)
    for name, report in reports.items():
        values = report.errors.columns[measure.column]
        known = np.isfinite(values) & ~np.isnan(yaw)
        dots = axes.plot(yaw[known], values[known], '.', alpha=0.35, markersize=4)[0]
        bins = np.digitize(yaw[known], edges)
        inside = [values[known][bins == i] for i in range(1, len(edges))]
        # The line breaks where too few faces would make it jump.
        medians = [float(np.median(part)) if len(part) >= 3 else np.nan for part in inside]
        axes.plot((edges[:-1] + edges[1:]) / 2, medians, '-o', color=dots.get_color(),
                  markersize=4, label=f'{name}, medians')
        words.append(f'{name}: ' + ', '.join(
            f'{low} to {high}° {median:.2f}{measure.unit}'
            for low, high, median in zip(edges[:-1], edges[1:], medians, strict=True)
            if np.isfinite(median)))
    axes.set(xlabel=f'{source}, degrees', ylabel=measure.axis, ylim=(0, None))
    axes.legend(loc='best')
    return [Picture('error_against_yaw', f'Error against yaw ({measure.label}).',
                    'Medians in bins of 15° of yaw. ' + '; '.join(words) + '.', _png(figure))]


def _calibration(name: str, report: Report) -> Picture:
    calibration = report.calibration
    figure = Figure(figsize=(9, 4), layout='constrained')
    left, right = figure.subplots(1, 2)
    top = 1.05 * max(calibration.expected_percent.max(), calibration.actual_percent.max())
    left.plot([0, top], [0, top], 'k--', linewidth=1, label='as promised')
    left.plot(calibration.expected_percent, calibration.actual_percent, '-o',
              label='a tenth of the points each')
    left.set(xlim=(0, top), ylim=(0, top), xlabel='predicted error of a coordinate, % of the box',
             ylabel='actual error, % of the box')
    promised = [100 * share for share in SHARES]
    found = [report.estimates[ALL][f'calibration.within_{share:.0f}_percent'] for share in promised]
    right.plot([0, 100], [0, 100], 'k--', linewidth=1)
    right.plot(promised, [figure_.value for figure_ in found], 'o-')
    right.set(xlim=(0, 100), ylim=(0, 100), xlabel='interval, %',
              ylabel='coordinates inside, %')
    for axes in (left, right):
        axes.grid(alpha=0.3)
    left.legend(loc='upper left')
    words = ', '.join(f'{e:.2f} → {a:.2f} %' for e, a in zip(
        calibration.expected_percent, calibration.actual_percent, strict=True))
    inside = ', '.join(f'{share:.0f} % → {figure_.value:.1f} %'
                       for share, figure_ in zip(promised, found, strict=True))
    return Picture(f'calibration_{_file_name(name)}',
                   f'{name}: what the predicted scale promises and what the error is.',
                   f'Predicted → actual error by tenths: {words}. Inside intervals: {inside}.',
                   _png(figure))


def _worst(name: str, answers: Sequence[Answer], errors: Array, measure: _Measure) -> Picture:
    rows = worst_faces(errors)
    # OpenCV's fonts know no degree sign.
    unit = ' deg' if measure.unit == '°' else measure.unit
    sheet = draw_sheet([answers[row] for row in rows], [f'{errors[row]:.1f}{unit}' for row in rows])
    words = ', '.join(f'{answers[row].sample.name} {errors[row]:.1f}{measure.unit}' for row in rows)
    return Picture(f'worst_{_file_name(name)}',
                   f'{name}: the worst faces; labels green, answers red.', f'{words}.',
                   cv2.imencode('.png', sheet)[1].tobytes())
