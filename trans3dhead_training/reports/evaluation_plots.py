"""Figures of an evaluation as PNG: curves, errors against yaw, calibration, the worst faces."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trans3dhead_ros.types import Array
from trans3dhead_training.core import metrics
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.evaluation.calibration import COVERAGES
from trans3dhead_training.evaluation.face_result import FaceResult
from trans3dhead_training.reports.evaluation_report import ALL, Report
from trans3dhead_training.reports.worst_faces import draw_results, worst_rows


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the report."""

    name: str
    """Of its file, without the suffix."""
    caption: str
    """What it shows."""
    text: str
    """Its content in words, as alternative text."""
    png: bytes
    """The encoded image."""


@dataclass(frozen=True)
class _Metric:
    """The error that the curve, the plot against yaw and the worst faces use."""

    column: str
    label: str
    unit: str
    limit: float

    @property
    def axis(self) -> str:
        return f'error, {self.unit.strip()} ({self.label})'


_ROTATION = _Metric('geodesic_deg', 'rotation', '°', 30.0)


def _landmark_metric(samples: Sequence[Sample]) -> _Metric:
    """Return the error that scores samples with points."""
    kinds = {'68 points / box' if sample.points_are_3d
             else 'inner 51 points / eye distance' if np.isfinite(sample.labelled_points).all()
             else 'labelled points / box' for sample in samples}
    label = kinds.pop() if len(kinds) == 1 else 'landmarks'
    return _Metric('scored_percent', label, ' %', 100 * metrics.FAILURE_THRESHOLD)


def draw_figures(
    results: Mapping[str, Sequence[FaceResult]], reports: Mapping[str, Report],
    reference_yaw: Array | None = None,
) -> list[ReportFigure]:
    """
    Draw every figure that these results allow.

    Curves and worst faces use the landmark error, or the rotation error where no face has labelled
    landmarks; predictors without it are left out.

    :param results: on the same faces, by the predictor's name.
    :param reports: of these results.
    :param reference_yaw: (N,) degrees by 3DDFA_V2, used where yaw is not labelled; None: unknown.
    :return: the figures.
    """
    labelled = [result.sample for part in results.values() for result in part
                if result.sample.points is not None]
    metric = _landmark_metric(labelled) if labelled else _ROTATION
    shown = {name: report for name, report in reports.items()
             if metric.column in report.errors.columns}
    if not shown:
        return []
    figures = [_cumulative(shown, metric), *_against_yaw(shown, metric, reference_yaw)]
    for name, report in shown.items():
        if report.calibration is not None:
            figures.append(_calibration(name, report))
    figures += [_worst(name, results[name], report.errors.columns[metric.column], metric)
                for name, report in shown.items()]
    return figures


def _file_name(text: str) -> str:
    return re.sub(r'[^\w.-]+', '_', text)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # Without a date and a version the same evaluation gives an identical file.
    figure.savefig(buffer, dpi=120, metadata={'Software': None})
    return buffer.getvalue()


def _axes(width: float = 6, height: float = 4) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout='constrained')
    axes = figure.subplots()
    axes.grid(alpha=0.3)
    return figure, axes


def _cumulative(reports: Mapping[str, Report], metric: _Metric) -> ReportFigure:
    figure, axes = _axes()
    words = []
    for name, report in reports.items():
        values = report.errors.columns[metric.column]
        values = np.sort(values[~np.isnan(values)])
        axes.step([0, *values], np.arange(len(values) + 1) / len(values), where='post', label=name)
        inside = 100 * float((values <= metric.limit).mean())
        words.append(f'{name}: median {np.median(values):.2f}{metric.unit}, {inside:.1f} % of the '
                     f'faces within {metric.limit:.0f}{metric.unit}')
    axes.set(xlim=(0, metric.limit), ylim=(0, 1), xlabel=metric.axis, ylabel='share of faces')
    axes.legend(loc='lower right')
    return ReportFigure(
        'cumulative_error', f'Share of the faces up to each error ({metric.label}).',
        '; '.join(words) + '.', _png(figure))


def _against_yaw(reports: Mapping[str, Report], metric: _Metric, reference_yaw: Array | None
                 ) -> list[ReportFigure]:
    yaw = next(iter(reports.values())).errors.yaw_deg
    source = 'labelled yaw'
    if np.isnan(yaw).all():
        if reference_yaw is None:
            return []
        yaw, source = reference_yaw, 'yaw by 3DDFA_V2 (not labelled)'
    figure, axes = _axes(7)
    words = []
    edges = np.arange(-105, 106, 15)
    for name, report in reports.items():
        values = report.errors.columns[metric.column]
        known = np.isfinite(values) & ~np.isnan(yaw)
        dots = axes.plot(yaw[known], values[known], '.', alpha=0.35, markersize=4)[0]
        bins = np.digitize(yaw[known], edges)
        inside = [values[known][bins == i] for i in range(1, len(edges))]
        # No median of fewer than three faces.
        medians = [float(np.median(part)) if len(part) >= 3 else np.nan for part in inside]
        axes.plot((edges[:-1] + edges[1:]) / 2, medians, '-o', color=dots.get_color(),
                  markersize=4, label=f'{name}, medians')
        words.append(f'{name}: ' + ', '.join(
            f'{low} to {high}° {median:.2f}{metric.unit}'
            for low, high, median in zip(edges[:-1], edges[1:], medians, strict=True)
            if np.isfinite(median)))
    axes.set(xlabel=f'{source}, degrees', ylabel=metric.axis, ylim=(0, None))
    axes.legend(loc='best')
    return [ReportFigure('error_against_yaw', f'Error against yaw ({metric.label}).',
                         'Medians in bins of 15° of yaw. ' + '; '.join(words) + '.', _png(figure))]


def _calibration(name: str, report: Report) -> ReportFigure:
    calibration = report.calibration
    figure = Figure(figsize=(9, 4), layout='constrained')
    left, right = figure.subplots(1, 2)
    top = 1.05 * max(calibration.expected_percent.max(), calibration.actual_percent.max())
    left.plot([0, top], [0, top], 'k--', linewidth=1, label='calibrated')
    left.plot(calibration.expected_percent, calibration.actual_percent, '-o',
              label='tenths of the points')
    left.set(xlim=(0, top), ylim=(0, top), xlabel='predicted error of a coordinate, % of the box',
             ylabel='actual error, % of the box')
    nominal = [100 * coverage for coverage in COVERAGES]
    found = [report.estimates[ALL][f'calibration.within_{percent:.0f}_percent']
             for percent in nominal]
    right.plot([0, 100], [0, 100], 'k--', linewidth=1)
    right.plot(nominal, [estimate.value for estimate in found], 'o-')
    right.set(xlim=(0, 100), ylim=(0, 100), xlabel='nominal coverage, %',
              ylabel='coordinates inside, %')
    for axes in (left, right):
        axes.grid(alpha=0.3)
    left.legend(loc='upper left')
    words = ', '.join(f'{e:.2f} → {a:.2f} %' for e, a in zip(
        calibration.expected_percent, calibration.actual_percent, strict=True))
    inside = ', '.join(f'{percent:.0f} % → {estimate.value:.1f} %'
                       for percent, estimate in zip(nominal, found, strict=True))
    return ReportFigure(
        f'calibration_{_file_name(name)}', f'{name}: predicted scale and actual error.',
        f'Predicted → actual error by tenths: {words}. Inside intervals: {inside}.', _png(figure))


def _worst(
    name: str, results: Sequence[FaceResult], errors: Array, metric: _Metric,
) -> ReportFigure:
    rows = worst_rows(errors)
    # OpenCV's fonts lack the degree sign.
    unit = ' deg' if metric.unit == '°' else metric.unit
    sheet = draw_results([results[row] for row in rows],
                         [f'{errors[row]:.1f}{unit}' for row in rows])
    words = ', '.join(f'{results[row].sample.name} {errors[row]:.1f}{metric.unit}' for row in rows)
    return ReportFigure(
        f'worst_{_file_name(name)}', f'{name}: the largest errors; labels green, predictions red.',
        f'{words}.', cv2.imencode('.png', sheet)[1].tobytes())
