"""
Make the scores of a detector probabilities, alike for small heads and large ones.

The focal loss leaves the scores of hard heads low, above all those of small ones: at equal scores,
a small head is far more often a head than a large one. A logistic regression on the score and the
height of what was found corrects both.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from trans3dhead_ros.network.head_detector import LOG_HEIGHT_RANGE, UNCALIBRATED, USUAL_HEIGHT
from trans3dhead_ros.types import Array, BoolArray

_MIN_DETECTIONS = 50
"""Fewer true or false ones say nothing."""
_PRIOR = 1e-2


def fit_calibration(score: Array, height: Array, is_true: BoolArray) -> Array | None:
    """
    Fit `HeadDetector.calibration` to detections.

    :param score: (D,) before any calibration, 0..1.
    :param height: (D,) px, of the boxes of whole heads.
    :param is_true: (D,) whether a head was found.
    :return: (3,), or None where there are too few detections of either kind, or their scores do
        not tell them apart.
    """
    if min(is_true.sum(), (~is_true).sum()) < _MIN_DETECTIONS:
        return None
    score = np.clip(score, 1e-6, 1 - 1e-6)
    rows = np.stack([np.ones_like(score), np.log(score / (1 - score)),
                     np.clip(np.log(height / USUAL_HEIGHT), *LOG_HEIGHT_RANGE)], axis=1)

    def loss(values: Array) -> tuple[float, Array]:
        logit = rows @ values
        error = 1 / (1 + np.exp(-np.clip(logit, -50, 50))) - is_true
        return (float((np.logaddexp(0, logit) - is_true * logit).sum()
                      + _PRIOR * values @ values), rows.T @ error + 2 * _PRIOR * values)

    values = minimize(loss, np.array(UNCALIBRATED), jac=True).x
    return values if np.isfinite(values).all() and values[1] > 0 else None
