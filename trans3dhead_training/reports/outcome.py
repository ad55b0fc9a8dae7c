"""Everything that one run of `evaluate` found, and its form in JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trans3dhead_training.evaluation.jitter import Jitter
from trans3dhead_training.evaluation.measure import Measured
from trans3dhead_training.reports.evaluation_report import Comparison, Report, finite


@dataclass(frozen=True, eq=False)
class Outcome:
    """
    What was asked for and what came out.

    :ivar data: `FORMAT:PATH`; None where only clips were measured, and then `measured` is None too.
    :ivar draws, seed: of the bootstrap. :ivar reports: by predictor.
    :ivar jitters: by clip, then by predictor. :ivar remarks: what a reader must know besides.
    """

    data: str | None
    split: str
    draws: int
    seed: int
    measured: Measured | None
    reports: Mapping[str, Report]
    comparisons: Sequence[Comparison]
    jitters: Mapping[str, Mapping[str, Jitter]]
    remarks: Sequence[str]


def record(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as JSON values; docs/evaluation.md explains the keys."""
    result: dict[str, Any] = {name: getattr(outcome, name)
                              for name in ('data', 'split', 'draws', 'seed')}
    if outcome.measured is not None:
        reports = outcome.reports
        faces = next(iter(reports.values())).errors
        result |= {
            'unreadable': outcome.measured.unreadable,
            'results': {name: report.rows() for name, report in reports.items()},
            'calibration': {
                name: {key: _numbers(value) for key, value in asdict(report.calibration).items()}
                for name, report in reports.items() if report.calibration is not None},
            'comparisons': [asdict(comparison) for comparison in outcome.comparisons],
            'faces': [{'name': name, 'source': source, 'group': group, 'yaw_deg': _numbers(yaw)}
                      for name, source, group, yaw in zip(
                          faces.faces, faces.sources, faces.groups, faces.yaw_deg, strict=True)],
            'errors': {name: {column: _numbers(values)
                              for column, values in report.errors.columns.items()}
                       for name, report in reports.items()}}
    result['clips'] = {clip: {name: asdict(jitter) for name, jitter in by_name.items()}
                       for clip, by_name in outcome.jitters.items()}
    return result


def _numbers(values: NDArray[np.float64] | float) -> Any:
    """Return numbers, or lists of them: five significant digits, None for what is no number."""
    if np.ndim(values):
        return [_numbers(value) for value in values]
    value = finite(values)
    return None if value is None else float(f'{value:.5g}')
