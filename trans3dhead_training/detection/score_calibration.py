"""
Turn the scores of a detector into probabilities, for small and large heads alike.

The focal loss leaves the scores of hard heads low, above all those of small ones: at equal scores,
a small head is far more often a head than a large one. And a head is found by several locations,
furniture rather by one. Logistic regressions on the evidence correct both.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from trans3dhead_ros.types import Array, BoolArray

_MIN_DETECTIONS = 50
"""Fewer true or false ones say nothing."""
_PRIOR = 1e-2


def fit_score(evidence: Array, is_true: BoolArray) -> Array | None:
    """
    Fit the weights of evidence in the logit of a score to detections.

    :param evidence: (D, C) whose columns are the first of `head_detections.EVIDENCE`: all four for
        the score of a head, three for `HeadDetector.calibration`.
    :param is_true: (D,) whether a head was found.
    :return: (C,), or None where there are too few detections of either kind, or their scores do
        not tell them apart.
    """
    if min(is_true.sum(), (~is_true).sum()) < _MIN_DETECTIONS:
        return None

    def loss(values: Array) -> tuple[float, Array]:
        logit = evidence @ values
        error = 1 / (1 + np.exp(-np.clip(logit, -50, 50))) - is_true
        return (float((np.logaddexp(0, logit) - is_true * logit).sum()
                      + _PRIOR * values @ values), evidence.T @ error + 2 * _PRIOR * values)

    start = np.zeros(evidence.shape[1])
    start[1] = 1.0
    values = minimize(loss, start, jac=True).x
    return values if np.isfinite(values).all() and values[1] > 0 else None
