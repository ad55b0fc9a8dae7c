"""Everything that one run of `trans3dhead evaluate` measured, and its JSON form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trans3dhead_ros.types import Array
from trans3dhead_training.evaluation.dataset_evaluation import DatasetEvaluation
from trans3dhead_training.evaluation.jitter import Jitter
from trans3dhead_training.evaluation.motion import MotionErrors
from trans3dhead_training.reports.evaluation_report import Comparison, Report, finite_or_none


@dataclass(frozen=True, eq=False)
class EvaluationRun:
    """Inputs and results of one run."""

    data: str | None
    """`FORMAT:PATH`; None where only clips were evaluated."""
    split: str
    draws: int
    """Number of bootstrap draws."""
    seed: int
    """Of the bootstrap."""
    evaluation: DatasetEvaluation | None
    """None where only clips were evaluated."""
    reports: Mapping[str, Report]
    """By predictor."""
    comparisons: Sequence[Comparison]
    jitters: Mapping[str, Mapping[str, Jitter]]
    """By clip, then by predictor."""
    motion: Mapping[str, MotionErrors]
    """Of our networks on rendered clips; empty where no clips were requested."""
    remarks: Sequence[str]
    """What could not be measured, and why."""


def to_json(run: EvaluationRun) -> dict[str, Any]:
    """Return a run as JSON values; docs/evaluation.md explains the keys."""
    result: dict[str, Any] = {name: getattr(run, name)
                              for name in ('data', 'split', 'draws', 'seed')}
    if run.evaluation is not None:
        reports = run.reports
        faces = next(iter(reports.values())).errors
        result |= {
            'unreadable': run.evaluation.unreadable,
            'results': {name: report.rows() for name, report in reports.items()},
            'calibration': {
                name: {key: _numbers(value) for key, value in asdict(report.calibration).items()}
                for name, report in reports.items() if report.calibration is not None},
            'comparisons': [asdict(comparison) for comparison in run.comparisons],
            'faces': [{'name': name, 'source': source, 'group': group, 'yaw_deg': _numbers(yaw)}
                      for name, source, group, yaw in zip(
                          faces.faces, faces.sources, faces.groups, faces.yaw_deg, strict=True)],
            'errors': {name: {column: _numbers(values)
                              for column, values in report.errors.columns.items()}
                       for name, report in reports.items()}}
    result['clips'] = {clip: {name: asdict(jitter) for name, jitter in by_name.items()}
                       for clip, by_name in run.jitters.items()}
    result['motion'] = {name: asdict(errors) for name, errors in run.motion.items()}
    return result


def _numbers(values: Array | float) -> Any:
    """Return numbers or nested lists: five significant digits, None for what is not finite."""
    if np.ndim(values):
        return [_numbers(value) for value in values]
    value = finite_or_none(values)
    return None if value is None else float(f'{value:.5g}')
