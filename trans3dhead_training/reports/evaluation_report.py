"""The metrics of an evaluation with their confidence intervals."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trans3dhead_ros.types import Array, BoolArray
from trans3dhead_training.core import metrics
from trans3dhead_training.evaluation import bootstrap
from trans3dhead_training.evaluation.bootstrap import Estimate, Statistic
from trans3dhead_training.evaluation.calibration import COVERAGES, Calibration, calibrate
from trans3dhead_training.evaluation.difficult_views import VIEWS
from trans3dhead_training.evaluation.face_errors import FaceErrors, collect_errors
from trans3dhead_training.evaluation.face_result import FaceResult

CONFIDENT_YAW_DEG = 20.0
"""Beyond this yaw by 3DDFA_V2 its sign is taken as true."""

NOD_DEG = 25.0
"""Beyond this true pitch, up or down, a head counts towards `nods_geodesic_deg`."""
SLOPE_YAW_DEG = 60.0
"""Up to this true yaw angles are compared by their slopes; nearer to profile, roll and pitch
mix."""

ALL = 'all'
"""Name of the row of all faces; the others are named after their source."""

MEAN_COLUMNS = (
    'nme_68_percent', 'nme_68_contour_percent', 'nme_68_as_labelled_percent', 'inner_51_percent',
    'inner_51_interocular_percent', 'labelled_percent', 'dense_percent', 'dense_head_percent',
    'reconstruction_percent', 'z5', 'chamfer', 'geodesic_deg', 'off_geodesic_deg',
    'rotation_frobenius',
    'dad_nme_percent', 'dad_z5_by_nearest', 'dad_chamfer', 'dad_pose')
LABEL_FREE = ('turn_deg', 'mirror_deg', 'box_deg', 'box_inner_51_percent', 'off_box_deg',
              'noise_deg', 'noise_inner_51_percent')
LARGER_IS_BETTER = ('z5', 'dad_z5_by_nearest', 'area_under_curve', 'score.roc_auc')

NO_HEAD = 'no_head'
COVERAGES_BY_YAW = ('coverage.points_percent', 'coverage.rotation_percent')
COVERAGE_COLUMNS = {
    'coverage.points_percent': 'within_95_percent',
    'coverage.rotation_percent': 'rotation_within_95_percent',
    'coverage.score': 'score', 'coverage.located_percent': 'located_percent'}
"""What is told of all faces, of bins of yaw and of difficult views: columns by metric."""
SCORE_BOUNDS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)
"""Of the bins of the head score."""

COMPARED = ('nme_68_percent', 'nme_68_contour_percent', 'nme_68_as_labelled_percent',
            'inner_51_percent', 'inner_51_interocular_percent', 'labelled_percent',
            'failures_percent',
            'area_under_curve', 'nme_68_by_yaw_percent.mean', 'pose_error_deg.mean',
            'geodesic_deg', 'nods_geodesic_deg', 'dense_percent', 'reconstruction_percent',
            *(f'{name}.median' for name in LABEL_FREE))


@dataclass(frozen=True, eq=False)
class Report:
    """The metrics of one predictor."""

    errors: FaceErrors
    """Of every face."""
    estimates: dict[str, dict[str, Estimate]]
    """Metrics by row (`ALL` or a source) and by dotted name."""
    counts: dict[str, dict[str, int]]
    """Counts by row and by dotted name."""
    calibration: Calibration | None
    """None where labels or scales are missing."""

    def rows(self) -> dict[str, dict[str, Any]]:
        """
        Return every row as nested values, and `intervals` under the same dotted names.

        Values that are not finite become None.
        """
        rows = {}
        for row, estimates in self.estimates.items():
            values = {name: finite_or_none(e.value) for name, e in estimates.items()}
            rows[row] = _nest({**self.counts[row], **values})
            if any(len(e.draws) for e in estimates.values()):
                rows[row]['intervals'] = {name: e.interval for name, e in estimates.items()}
        return rows


def make_report(
    results: Sequence[FaceResult], reference_yaw: Array | None = None, draws: int = 0,
    seed: int = 0,
) -> Report:
    """
    Compute the metrics over all results and over those of every source.

    :param results: of one predictor, N faces.
    :param reference_yaw: (N,) degrees by 3DDFA_V2; None where it is not available.
    :param draws: number of bootstrap draws for the intervals; 0 makes none.
    :param seed: of the bootstrap.
    :return: the report.
    """
    errors = collect_errors(results)
    own_yaw = np.array([result.yaw for result in results])
    sources = np.array(errors.sources)
    rows = {ALL: np.ones(len(errors), bool),
            **{source: sources == source for source in sorted(set(errors.sources))}}
    estimates, counts = {}, {}
    for name, mask in rows.items():
        part = errors.subset(mask)
        statistics = make_statistics(part)
        counts[name] = _counts(part)
        if reference_yaw is not None and np.isfinite(own_yaw).all():
            confident = np.abs(reference_yaw[mask]) > CONFIDENT_YAW_DEG
            if confident.any():
                counts[name]['yaw_sign.faces'] = int(confident.sum())
                agrees = np.sign(own_yaw[mask]) == np.sign(reference_yaw[mask])
                statistics['yaw_sign.agree_percent'] = bootstrap.mean(
                    np.where(confident, 100.0 * agrees, np.nan))
        estimates[name] = bootstrap.estimate(statistics, part.groups, draws, seed)
    return Report(errors, estimates, counts, calibrate(results))


def make_statistics(errors: FaceErrors) -> dict[str, Statistic]:
    """Return the statistics that these errors allow, by dotted name."""
    columns = {name: values for name, values in errors.columns.items()
               if not np.isnan(values).all()}
    statistics = {name: bootstrap.mean(columns[name]) for name in MEAN_COLUMNS if name in columns}
    for axis in 'xy':
        if (name := f'inner_51_offset_{axis}_percent') in columns:
            statistics[f'inner_51_offset_percent.{axis}'] = bootstrap.mean(columns[name])
    if 'scored_percent' in columns:
        scored = columns['scored_percent'] / 100
        known = np.where(np.isnan(scored), np.nan, 1.0)
        statistics['failures_percent'] = bootstrap.mean(
            100 * known * (scored > metrics.FAILURE_THRESHOLD))
        statistics['area_under_curve'] = bootstrap.mean(
            known * np.clip(1 - scored / metrics.FAILURE_THRESHOLD, 0, None))
    for column, figure in (('nme_68_as_labelled_percent', 'nme_68_by_yaw_percent'),
                           ('geodesic_deg', 'geodesic_by_yaw_deg')):
        if column in columns:
            statistics |= {f'{figure}.{name}': statistic for name, statistic in
                           by_yaw(columns[column], errors.yaw_deg).items()}
    if 'euler_deg' in columns:
        angles = columns['euler_deg']
        statistics |= {f'pose_error_deg.{name}': bootstrap.mean(angles[:, i])
                       for i, name in enumerate(('yaw', 'pitch', 'roll'))}
        statistics['pose_error_deg.mean'] = bootstrap.mean(angles)
        statistics |= _shrinkage(columns)
    for name in LABEL_FREE:
        if name in columns:
            statistics[f'{name}.median'] = bootstrap.quantile(columns[name], 0.5)
            statistics[f'{name}.p90'] = bootstrap.quantile(columns[name], 0.9)
    return statistics | _confidence(columns) | _coverage(
        columns, np.where(np.isnan(errors.yaw_deg), columns.get('answered_yaw_deg', np.nan),
                          errors.yaw_deg)) | _reliability(columns)


def _shrinkage(columns: Mapping[str, Array]) -> dict[str, Statistic]:
    """Return the error of heads at large pitch, and by how much angles are underestimated."""
    true, answered = columns['true_euler_deg'], columns['answered_euler_deg']
    nods = np.abs(true[:, 1]) > NOD_DEG
    statistics = {}
    if nods.any():
        statistics['nods_geodesic_deg'] = bootstrap.mean(
            np.where(nods, columns['geodesic_deg'], np.nan))
    chosen = np.abs(true[:, 0]) <= SLOPE_YAW_DEG
    for number, name in enumerate(('yaw', 'pitch', 'roll')):
        if chosen.any() and np.ptp(true[chosen, number]) > NOD_DEG:
            statistics[f'angle_slope.{name}'] = bootstrap.slope(
                np.where(chosen, true[:, number], np.nan), answered[:, number])
    return statistics


def _confidence(columns: Mapping[str, Array]) -> dict[str, Statistic]:
    statistics = {}
    if 'coordinate_error_percent' in columns:
        statistics['calibration.error_over_scale'] = bootstrap.ratio(
            columns['coordinate_error_percent'], columns['coordinate_scale_percent'])
        for coverage in COVERAGES:
            name = f'within_{100 * coverage:.0f}_percent'
            statistics[f'calibration.{name}'] = bootstrap.mean(columns[name])
    if 'score' in columns and 'headless_score' in columns:
        statistics['score.roc_auc'] = bootstrap.roc_auc(
            columns['score'], columns['headless_score'])
    if 'scored_percent' in columns:
        failed = columns['scored_percent'] > 100 * metrics.FAILURE_THRESHOLD
        for name, column, sign in (('score_roc_auc', 'score', 1),
                                   ('scale_roc_auc', 'coordinate_scale_percent', -1)):
            if column in columns and failed.any() and not failed.all():
                confidence = sign * columns[column]
                statistics[f'failure_detection.{name}'] = bootstrap.roc_auc(
                    np.where(failed, np.nan, confidence), np.where(failed, confidence, np.nan))
    return statistics


def _coverage(columns: Mapping[str, Array], yaw_deg: Array) -> dict[str, Statistic]:
    """Return how often errors are inside their 95 % regions: all, by yaw, in difficult views."""
    statistics = {}
    for figure, name in COVERAGE_COLUMNS.items():
        if name in columns:
            statistics[f'{figure}.{ALL}'] = bootstrap.mean(columns[name])
        if name in columns and figure in COVERAGES_BY_YAW:
            bins = by_yaw(columns[name], yaw_deg)
            bins.pop('mean', None)
            statistics |= {f'{figure}.{part}': statistic for part, statistic in bins.items()}
        statistics |= {f'{figure}.{view}': bootstrap.mean(columns[f'{view}.{name}'])
                       for view in VIEWS if f'{view}.{name}' in columns}
    if 'headless_score' in columns:
        statistics[f'coverage.score.{NO_HEAD}'] = bootstrap.mean(columns['headless_score'])
    return statistics


def score_outcomes(columns: Mapping[str, Array]) -> tuple[Array, Array]:
    """
    Return the scores of all crops, and whether they show a head whose landmarks are located.

    :param columns: of N faces.
    :return: (N, K) scores and (N, K) 1 or 0; nan where a face has fewer crops or no labels.
    """
    names = [(f'{prefix}score', f'{prefix}located_percent')
             for prefix in ('', *(f'{view}.' for view in VIEWS))]
    pairs = [(columns[score][:, None], columns[located][:, None] / 100)
             for score, located in names if {score, located} <= columns.keys()]
    if pairs and 'headless_score' in columns:
        pairs.append((columns['headless_score'], 0 * columns['headless_score']))
    if not pairs:
        return np.zeros((0, 0)), np.zeros((0, 0))
    scores, located = (np.concatenate(part, axis=1) for part in zip(*pairs, strict=True))
    known = ~(np.isnan(scores) | np.isnan(located))
    return np.where(known, scores, np.nan), np.where(known, located, np.nan)


def _in_score_bins(scores: Array) -> dict[str, BoolArray]:
    """Return which scores (N, K) are in each bin, by its bounds in %; empty ones are left out."""
    bins = {}
    for low, high in itertools.pairwise(SCORE_BOUNDS):
        inside = (scores >= low) & ((scores < high) | (high == 1.0) & (scores == 1.0))
        if inside.any():
            bins[f'{100 * low:.0f}-{100 * high:.0f}'] = inside
    return bins


def _reliability(columns: Mapping[str, Array]) -> dict[str, Statistic]:
    """Return the mean score and the share of located heads in bins of the score."""
    scores, located = score_outcomes(columns)
    statistics = {}
    for name, inside in _in_score_bins(scores).items():
        statistics[f'reliability.mean_score.{name}'] = bootstrap.mean(
            np.where(inside, scores, np.nan))
        statistics[f'reliability.located_percent.{name}'] = bootstrap.mean(
            np.where(inside, 100 * located, np.nan))
    return statistics


def by_yaw(values: Array, yaw_deg: Array) -> dict[str, Statistic]:
    """
    Return the mean in each bin of |yaw| that has values, and 'mean', unweighted over the bins.

    :param values: (N,); nan where unknown.
    :param yaw_deg: (N,) true yaw; nan where unknown; in the bins of `metrics.in_yaw_bins`.
    :return: statistics by the name of the bin.
    """
    known = ~np.isnan(values)
    bins = {name: bootstrap.mean(np.where(inside, values, np.nan))
            for name, inside in metrics.in_yaw_bins(yaw_deg).items() if (inside & known).any()}
    return {**bins, 'mean': bootstrap.unweighted_mean(list(bins.values()))} if bins else {}


def _counts(errors: FaceErrors) -> dict[str, int]:
    counts = {'faces': len(errors), 'groups': len(set(errors.groups))}
    if 'scored_percent' in errors.columns:
        labelled = ~np.isnan(errors.columns['scored_percent'])
        if 0 < labelled.sum() < len(errors):
            counts['faces_with_landmarks'] = int(labelled.sum())
        if missing := int(np.isinf(errors.columns['scored_percent']).sum()):
            counts['predictions_not_finite'] = missing
    for figure, column in (('pose_error_deg.faces', 'euler_deg'), ('mesh_faces', 'dense_percent'),
                           ('score.heads', 'score'), ('score.no_heads', 'headless_score')):
        if column in errors.columns:
            values = errors.columns[column]
            known = values[:, 0] if column == 'euler_deg' else values
            if number := int((~np.isnan(known)).sum()):
                counts[figure] = number
    inside = _in_score_bins(score_outcomes(errors.columns)[0])
    return counts | {f'reliability.crops.{name}': int(crops.sum())
                     for name, crops in inside.items()}


@dataclass(frozen=True)
class Comparison:
    """A metric of one predictor against another's on the same faces."""

    first: str
    """Name of the one predictor."""
    second: str
    """Name of the other."""
    figure: str
    """Dotted name of the metric."""
    difference: float
    """First minus second; negative is better, except for metrics in `LARGER_IS_BETTER`."""
    interval: tuple[float, float]
    """Of the difference, by draws of the same faces."""
    better_percent: float
    """Share of the draws in which the first is better."""


def compare(reports: Mapping[str, Report]) -> list[Comparison]:
    """Compare the first predictor with each of the others, where both have draws of a metric."""
    first, *others = reports
    result = []
    for other in others:
        mine, theirs = (reports[name].estimates[ALL] for name in (first, other))
        for figure in COMPARED:
            if figure not in mine or figure not in theirs:
                continue
            difference = mine[figure].draws - theirs[figure].draws
            interval = bootstrap.percentile_interval(difference)
            if interval is None:
                continue
            sign = 1 if figure in LARGER_IS_BETTER else -1
            # A draw with equal values counts half.
            better = (1 + np.sign(sign * difference)) / 2
            result.append(Comparison(first, other, figure,
                                     mine[figure].value - theirs[figure].value, interval,
                                     100 * float(better.mean())))
    return result


def finite_or_none(value: float) -> float | None:
    """Return a number that JSON can represent; None for what is not finite."""
    return float(value) if np.isfinite(value) else None


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turn `{'a.b': 1}` into `{'a': {'b': 1}}`."""
    result: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split('.')
        inner = result
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return result
