"""The figures of an evaluation with their intervals, for JSON and for reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trans3dhead_training.core import metrics
from trans3dhead_training.evaluation import intervals as statistics
from trans3dhead_training.evaluation.errors import Errors, gather
from trans3dhead_training.evaluation.intervals import Estimate, Statistic
from trans3dhead_training.evaluation.predictions import Answer
from trans3dhead_training.evaluation.uncertainty import SHARES, Calibration, calibrate

Array = NDArray[np.float64]

SURE_YAW_DEG = 20.0
"""Where 3DDFA_V2 puts a yaw beyond this, its sign is taken as true."""

ALL = 'all'
"""The row of all faces; the others are named after their source."""

MEANS = ('nme_68_percent', 'nme_68_contour_percent', 'nme_68_as_labelled_percent',
         'inner_51_percent', 'inner_51_interocular_percent', 'dense_percent', 'dense_head_percent',
         'reconstruction_percent', 'z5', 'chamfer', 'geodesic_deg', 'rotation_frobenius',
         'dad_nme_percent', 'dad_z5_by_nearest', 'dad_chamfer', 'dad_pose')
LABEL_FREE = ('turn_deg', 'mirror_deg', 'box_deg', 'box_inner_51_percent', 'noise_deg',
              'noise_inner_51_percent')
LARGER_IS_BETTER = ('z5', 'dad_z5_by_nearest', 'area_under_curve', 'score.area_under_curve')

COMPARED = ('nme_68_percent', 'nme_68_contour_percent', 'nme_68_as_labelled_percent',
            'inner_51_percent', 'inner_51_interocular_percent', 'failures_percent',
            'area_under_curve', 'nme_68_by_yaw_percent.mean', 'pose_error_deg.mean',
            'geodesic_deg', 'dense_percent', 'reconstruction_percent',
            *(f'{name}.median' for name in LABEL_FREE))


@dataclass(frozen=True, eq=False)
class Report:
    """
    What one predictor reached.

    :ivar errors: of every face.
    :ivar estimates: figures by the row (`ALL` or a source) and by their dotted name.
    :ivar counts: whole numbers by the row and by their dotted name.
    :ivar calibration: None where labels or scales are missing.
    """

    errors: Errors
    estimates: dict[str, dict[str, Estimate]]
    counts: dict[str, dict[str, int]]
    calibration: Calibration | None

    def rows(self) -> dict[str, dict[str, Any]]:
        """
        Return every row as nested values, and `intervals` under the same dotted names.

        What is no finite number is None.
        """
        return {row: {**_nested({**self.counts[row], **{
            name: finite(figure.value) for name, figure in figures.items()}}), **(
            {'intervals': {name: figure.interval for name, figure in figures.items()}}
            if any(len(figure.draws) for figure in figures.values()) else {})}
            for row, figures in self.estimates.items()}


def report(
    answers: Sequence[Answer], reference_yaw: Array | None = None, draws: int = 0, seed: int = 0,
) -> Report:
    """
    Measure all answers, and those of every source.

    :param reference_yaw: (N,) degrees by 3DDFA_V2; None where it was not asked.
    :param draws: how many bootstrap draws make the intervals; 0 makes none.
    """
    errors = gather(answers)
    own_yaw = np.array([answer.yaw for answer in answers])
    sources = np.array(errors.sources)
    rows = {ALL: np.ones(len(errors), bool),
            **{source: sources == source for source in sorted(set(errors.sources))}}
    estimates, counts = {}, {}
    for name, chosen in rows.items():
        part = errors.part(chosen)
        figures = figures_of(part)
        counts[name] = _counts(part)
        if reference_yaw is not None and np.isfinite(own_yaw).all():
            sure = np.abs(reference_yaw[chosen]) > SURE_YAW_DEG
            if sure.any():
                counts[name]['yaw_sign.faces'] = int(sure.sum())
                agrees = np.sign(own_yaw[chosen]) == np.sign(reference_yaw[chosen])
                figures['yaw_sign.agree_percent'] = statistics.mean(
                    np.where(sure, 100.0 * agrees, np.nan))
        estimates[name] = statistics.estimate(figures, part.groups, draws, seed)
    return Report(errors, estimates, counts, calibrate(answers))


def figures_of(errors: Errors) -> dict[str, Statistic]:
    """Return the figures that these errors allow, by their dotted name."""
    columns = {name: values for name, values in errors.columns.items()
               if not np.isnan(values).all()}
    figures = {name: statistics.mean(columns[name]) for name in MEANS if name in columns}
    for axis in 'xy':
        if (name := f'inner_51_offset_{axis}_percent') in columns:
            figures[f'inner_51_offset_percent.{axis}'] = statistics.mean(columns[name])
    if 'scored_percent' in columns:
        scored = columns['scored_percent'] / 100
        known = np.where(np.isnan(scored), np.nan, 1.0)
        figures['failures_percent'] = statistics.mean(
            100 * known * (scored > metrics.FAILURE_THRESHOLD))
        figures['area_under_curve'] = statistics.mean(
            known * np.clip(1 - scored / metrics.FAILURE_THRESHOLD, 0, None))
    for column, figure in (('nme_68_as_labelled_percent', 'nme_68_by_yaw_percent'),
                           ('geodesic_deg', 'geodesic_by_yaw_deg')):
        if column in columns:
            figures |= {f'{figure}.{name}': statistic for name, statistic in
                        by_yaw(columns[column], errors.yaw_deg).items()}
    if 'euler_deg' in columns:
        angles = columns['euler_deg']
        figures |= {f'pose_error_deg.{name}': statistics.mean(angles[:, i])
                    for i, name in enumerate(('yaw', 'pitch', 'roll'))}
        figures['pose_error_deg.mean'] = statistics.mean(angles)
    for name in LABEL_FREE:
        if name in columns:
            figures[f'{name}.median'] = statistics.quantile(columns[name], 0.5)
            figures[f'{name}.p90'] = statistics.quantile(columns[name], 0.9)
    return figures | _confidence(columns)


def _confidence(columns: Mapping[str, Array]) -> dict[str, Statistic]:
    figures = {}
    if 'coordinate_error_percent' in columns:
        figures['calibration.error_over_scale'] = statistics.ratio(
            columns['coordinate_error_percent'], columns['coordinate_scale_percent'])
        for share in SHARES:
            name = f'within_{100 * share:.0f}_percent'
            figures[f'calibration.{name}'] = statistics.mean(columns[name])
    if 'score' in columns and 'headless_score' in columns:
        figures['score.area_under_curve'] = statistics.roc_area(
            columns['score'], columns['headless_score'])
    if 'scored_percent' in columns:
        failed = columns['scored_percent'] > 100 * metrics.FAILURE_THRESHOLD
        for figure, column, sign in (('score_area', 'score', 1),
                                     ('scale_area', 'coordinate_scale_percent', -1)):
            if column in columns and failed.any() and not failed.all():
                sureness = sign * columns[column]
                figures[f'failure_found_by.{figure}'] = statistics.roc_area(
                    np.where(failed, np.nan, sureness), np.where(failed, sureness, np.nan))
    return figures


def by_yaw(values: Array, yaw_deg: Array) -> dict[str, Statistic]:
    """
    Return the mean in each bin of |yaw| that has values (N,), and 'mean', unweighted over these.

    A border belongs to the lower bin; what is beyond 90°, or of unknown yaw, is in none.
    """
    size = np.abs(yaw_deg)
    bins = {}
    for name, (low, high) in metrics.YAW_BINS.items():
        inside = (size <= high) & ((size > low) if low else (size >= low))
        inside &= ~np.isnan(values)
        if inside.any():
            bins[name] = statistics.mean(np.where(inside, values, np.nan))
    return {**bins, 'mean': statistics.unweighted(list(bins.values()))} if bins else {}


def _counts(errors: Errors) -> dict[str, int]:
    counts = {'faces': len(errors), 'groups': len(set(errors.groups))}
    if 'scored_percent' in errors.columns:
        labelled = ~np.isnan(errors.columns['scored_percent'])
        if 0 < labelled.sum() < len(errors):
            counts['faces_with_landmarks'] = int(labelled.sum())
        if missing := int(np.isinf(errors.columns['scored_percent']).sum()):
            counts['answers_not_finite'] = missing
    for figure, column in (('pose_error_deg.faces', 'euler_deg'), ('mesh_faces', 'dense_percent'),
                           ('score.heads', 'score'), ('score.no_heads', 'headless_score')):
        if column in errors.columns:
            values = errors.columns[column]
            known = values[:, 0] if column == 'euler_deg' else values
            if number := int((~np.isnan(known)).sum()):
                counts[figure] = number
    return counts


@dataclass(frozen=True)
class Comparison:
    """
    A figure of one predictor against another's on the same faces.

    :ivar difference: of the first from the second; negative is better, unless the figure is one of
        `LARGER_IS_BETTER`. :ivar interval: of the difference, by draws of the same faces.
    :ivar better_percent: share of the draws in which the first is better.
    """

    first: str
    second: str
    figure: str
    difference: float
    interval: tuple[float, float]
    better_percent: float


def compare(reports: Mapping[str, Report]) -> list[Comparison]:
    """Compare the first predictor with each other one, where both have draws of a figure."""
    first, *others = reports
    result = []
    for other in others:
        mine, theirs = (reports[name].estimates[ALL] for name in (first, other))
        for figure in COMPARED:
            if figure not in mine or figure not in theirs:
                continue
            difference = mine[figure].draws - theirs[figure].draws
            interval = statistics.central(difference)
            if interval is None:
                continue
            sign = 1 if figure in LARGER_IS_BETTER else -1
            # A draw that is equal for both is half a win.
            better = (1 + np.sign(sign * difference)) / 2
            result.append(Comparison(first, other, figure,
                                     mine[figure].value - theirs[figure].value, interval,
                                     100 * float(better.mean())))
    return result


def finite(value: float) -> float | None:
    """Return a number that JSON can hold; None for what is none."""
    return float(value) if np.isfinite(value) else None


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """`{'a.b': 1}` → `{'a': {'b': 1}}`."""
    result: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split('.')
        inner = result
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return result
