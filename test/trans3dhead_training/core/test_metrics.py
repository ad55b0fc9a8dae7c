"""Measures give the known value for a known error, and hide no failure."""

import numpy as np
import pytest

from trans3dhead_ros.geometry import euler_from_rotation, rotation_from_euler
from trans3dhead_training.core import metrics


def true_points() -> np.ndarray:
    """Return (68, 2) in a box of 200 × 50, the outer eye corners 80 apart."""
    points = np.random.default_rng(1).uniform([10, 20], [200, 60], (68, 2))
    points[0], points[1] = (5, 15), (205, 65)
    points[36], points[45] = (60, 40), (140, 40)
    return points


def test_a_shift_of_all_points_is_that_shift_over_the_normaliser():
    true = true_points()
    predicted = true + np.array([3.0, 4.0])
    assert metrics.nme_68(predicted, true) == pytest.approx(5 / 100)
    assert metrics.nme_inner(predicted, true) == pytest.approx(5 / 100)
    assert metrics.nme_inner_interocular(predicted, true) == pytest.approx(5 / 80)


def test_the_offset_keeps_its_sign():
    true = true_points()
    noise = np.random.default_rng(2).normal(size=(68, 2))
    noise -= noise[17:].mean(axis=0)
    np.testing.assert_allclose(metrics.inner_offset(true + noise + np.array([3.0, -4.0]), true),
                               [0.03, -0.04])


def test_the_inner_points_exclude_the_jaw():
    true = true_points()
    predicted = true.copy()
    predicted[:17] += 50
    assert metrics.nme_inner(predicted, true) == 0
    assert metrics.nme_68(predicted, true) == pytest.approx(17 / 68 * np.hypot(50, 50) / 100)


def test_depth_is_not_part_of_a_2d_error():
    true = true_points()
    assert metrics.nme_68(np.column_stack([true, np.full(68, 99.0)]), true) == 0


def test_batches_give_one_error_a_face():
    true = np.stack([true_points(), true_points() * 2])
    np.testing.assert_allclose(metrics.nme_68(true + np.array([0, 1.0]), true), [1 / 100, 1 / 200])


def test_another_number_of_points_is_refused():
    with pytest.raises(ValueError, match='predicted: expected'):
        metrics.nme_68(np.zeros((5, 2)), true_points())


def test_roc_area():
    positive = np.array([True, True, False, False])
    assert metrics.roc_auc(np.array([0.9, 0.8, 0.2, 0.1]), positive) == 1
    assert metrics.roc_auc(np.array([0.9, 0.1, 0.5, 0.1]), positive) == 0.625
    assert metrics.roc_auc(np.array([np.nan, 0.8, 0.2, 0.1]), positive) == 0.5
    with pytest.raises(ValueError, match='both kinds'):
        metrics.roc_auc(np.zeros(2), np.array([True, True]))


def test_pose_errors_leave_out_extreme_samples_and_wrap_at_a_full_turn_only():
    true = np.array([[0.0, 0, 0], [98.0, 10, -20], [100.0, 0, 0], [0.0, -150, 0], [0, 0, 98.0]])
    predicted = np.array([[1.0, -2, 3], [-98.0, 10, 20], [0.0, 0, 0], [0, 0, 0], [0, 0, -263.0]])
    errors = metrics.pose_absolute_error(predicted, true)
    # 196° stays 164° (the short way round), it does not fold at ±180° to something smaller.
    np.testing.assert_allclose(errors, [[1, 2, 3], [164, 0, 40], [0, 0, 1]])


def test_yaw_bins_have_equal_weights():
    result = metrics.mean_by_yaw(np.array([1.0, 1.0, 3.0, 8.0]), np.array([0.0, -30.0, 45.0, -90]))
    assert result == {'0-30': 1.0, '30-60': 3.0, '60-90': 8.0, 'mean': 4.0}
    assert metrics.mean_by_yaw(np.array([2.0]), np.array([-31.0])) == {'30-60': 2.0, 'mean': 2.0}


@pytest.mark.parametrize('degrees', [25.0, -25.0, 170.0])
def test_a_perfect_prediction_for_a_rotated_picture_has_no_error(degrees):
    # Turning the picture adds to roll only where roll comes last: build it from image points.
    rotation = rotation_from_euler(np.array([40.0, -15.0, 10.0]))
    angle = np.deg2rad(degrees)
    # cv2 turns counter-clockwise on the screen, and y points down.
    turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0],
                     [0, 0, 1]])
    assert metrics.turn_error_deg(rotation, turn @ rotation, degrees) == pytest.approx(0, abs=1e-5)
    roll = euler_from_rotation(turn @ rotation)[2] - euler_from_rotation(rotation)[2]
    assert abs(roll + degrees) > 1  # so a test of roll alone would be wrong
    assert metrics.turn_error_deg(rotation, rotation, degrees) == pytest.approx(abs(degrees))


def test_a_perfect_prediction_for_a_mirrored_picture_has_no_error():
    facing = rotation_from_euler(np.array([30.0, 10.0, -20.0]))
    other_way = rotation_from_euler(np.array([-30.0, 10.0, 20.0]))
    assert metrics.mirror_error_deg(facing, other_way) == pytest.approx(0, abs=1e-5)
    assert metrics.mirror_error_deg(facing, facing) > 50
