"""A head counts where the centre of a detection lies in its box, once."""

import numpy as np
import pytest

from trans3dhead_training.detection.detection_metrics import (
    RecallCurve,
    bin_name,
    match_heads,
    missed_percent,
)

BOXES = np.array([[0.0, 0, 20, 20], [30, 0, 50, 40]])


def test_the_best_detection_finds_a_head_and_the_others_are_false():
    matches = match_heads(np.array([[10.0, 10], [12, 10], [40, 20], [90, 90]]),
                          np.array([0.5, 0.9, 0.4, 0.3]), BOXES)
    assert matches.is_true.tolist() == [False, True, True, False]
    assert matches.head_score.tolist() == [0.9, 0.4]
    assert matches.height.tolist() == [20, 40]


def test_a_detection_in_two_boxes_finds_the_one_whose_middle_is_nearer():
    boxes = np.array([[0.0, 0, 100, 100], [40, 40, 80, 80]])
    matches = match_heads(np.array([[62.0, 60]]), np.array([0.5]), boxes)
    assert matches.head_score.tolist() == [-np.inf, 0.5]


def test_a_detection_in_an_ignored_box_is_not_false():
    matches = match_heads(np.array([[95.0, 95]]), np.array([0.5]), BOXES,
                          np.array([[90.0, 90, 99, 99]]))
    assert matches.is_excused.tolist() == [True]
    assert len(RecallCurve([matches]).false_scores) == 0


def curve() -> RecallCurve:
    """Ten pictures with a head each; number i is found at a score of i / 10, one false at 0.65."""
    pictures = [match_heads(np.array([[10.0, 10]]), np.array([number / 10]), BOXES[:1])
                for number in range(9)]
    pictures.append(match_heads(np.array([[99.0, 99]]), np.array([0.65]), BOXES[1:]))
    return RecallCurve(pictures)


def test_recall_is_measured_at_a_rate_of_false_detections():
    assert curve().threshold(0.05) == pytest.approx(0.65)
    assert curve().recall(curve().threshold(0.05)) == pytest.approx(0.2)  # 0.7 and 0.8
    assert curve().threshold(0.1) == -np.inf
    assert curve().recall(-np.inf) == pytest.approx(0.9)


def test_recall_is_of_heads_of_a_height():
    assert curve().count((12, 24)) == 9 and curve().count((24, 48)) == 1
    assert curve().recall(-np.inf, (12, 24)) == 1 and curve().recall(-np.inf, (24, 48)) == 0
    assert np.isnan(curve().recall(0.5, (48, np.inf)))
    assert missed_percent(curve(), {'missed': 0.1}) == {
        'missed_12-24_percent': 0, 'missed_24-48_percent': 100}
    assert [bin_name(heights) for heights in ((8, 12), (48, np.inf))] == ['8-12', '48+']


def test_precision_falls_as_recall_rises():
    precision, recall = curve().precision_recall()
    assert precision[0] == 1 and precision[-1] == pytest.approx(0.9)
    assert (np.diff(recall) >= 0).all() and recall[-1] == pytest.approx(0.9)
