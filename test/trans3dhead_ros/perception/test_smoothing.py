"""Smoothing: calm when still, quick when moving, and driven by the images' stamps alone."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from trans3dhead_ros.geometry import geodesic_distance_deg, rotation_from_euler
from trans3dhead_ros.perception.aligner import Alignments
from trans3dhead_ros.perception.metric_pose import Poses, weak_perspective_poses
from trans3dhead_ros.perception.smoothing import HeadSmoother, Smoothing, smooth_heads

PERIOD = 1 / 30


def head(yaw=0.0, shift=0.0, scale=700.0, rng=None, noise=0.0):
    """Return an alignment and its pose, with noise in px, degrees and percent of the size."""
    rng = rng or np.random.default_rng(0)
    rotation = rotation_from_euler(np.array([yaw, 0.0, 0.0]))
    rotation = Rotation.from_rotvec(np.deg2rad(noise) * rng.normal(size=3)).as_matrix() @ rotation
    shape = np.random.default_rng(1).uniform(-40, 40, (1, 68, 3))
    points = shape + np.array([300.0 + shift, 200.0, 0.0])
    points = points + noise * rng.normal(size=points.shape)
    origin = np.array([[300.0 + shift, 200.0]]) + noise * rng.normal(size=2)
    found = Alignments(
        score=np.ones(1), landmarks=points, contour=points[..., :2].copy(),
        landmark_scale=np.ones((1, 68)), cut_factor=np.ones(1), rotation=rotation[None],
        origin=origin,
        scale=np.array([scale * (1 + 0.01 * noise * rng.normal())]), shape=np.zeros((1, 4)),
        expression=np.zeros((1, 3)), points=np.zeros((1, 68, 3)), centre=origin,
        crop_roll=np.zeros(1))
    return found, weak_perspective_poses(
        found.rotation, (origin - 320.0) / 600.0, 600.0 / found.scale)


def smooth(smoother, found, pose, stamp, smoothing=None, is_metric=False):
    """Smooth one head."""
    return smooth_heads([smoother], found, pose, stamp, smoothing or Smoothing(), is_metric)


def test_a_head_at_rest_jitters_less_than_its_measurements():
    rng, smoother = np.random.default_rng(3), HeadSmoother()
    raw, smoothed = [], []
    for i in range(120):
        measured = head(rng=rng, noise=0.5)
        answer = smooth(smoother, *measured, i * PERIOD)
        raw.append(measured)
        smoothed.append(answer)

    def shake(frames, of):
        values = np.array([of(*frame) for frame in frames[30:]])
        return np.sqrt((np.diff(values, axis=0) ** 2).mean())

    for of in (lambda found, _: found.landmarks[..., :2], lambda found, _: found.rotation,
               lambda found, _: found.origin, lambda _, pose: pose.rotation,
               lambda _, pose: pose.translation):
        assert shake(smoothed, of) < 0.5 * shake(raw, of)


def test_a_rotating_head_is_followed_with_little_lag():
    smoother = HeadSmoother()
    for i in range(60):
        found, pose = head(yaw=-45.0 + 1.5 * i)
        answer, _ = smooth(smoother, found, pose, i * PERIOD)
    # 45 degrees a second.
    assert geodesic_distance_deg(answer.rotation[0], found.rotation[0]) < 3.0


def test_a_moving_head_is_followed_with_little_lag():
    smoother = HeadSmoother()
    for i in range(60):
        found, pose = head(shift=5.0 * i)
        answer, _ = smooth(smoother, found, pose, i * PERIOD)
    # 150 px a second, for a face of about 80 px.
    assert np.abs(answer.landmarks - found.landmarks).max() < 8.0


@pytest.mark.parametrize('stamp', [10.0 - 0.5, 10.0 + 1.5])
def test_a_jump_in_time_restarts_the_filters(stamp):
    smoother = HeadSmoother()
    smooth(smoother, *head(yaw=0.0), 10.0)
    found, pose = head(yaw=40.0, shift=100.0)
    answer, answer_pose = smooth(smoother, found, pose, stamp)
    np.testing.assert_allclose(answer.landmarks, found.landmarks)
    np.testing.assert_allclose(answer.rotation, found.rotation)
    np.testing.assert_allclose(answer_pose.translation, pose.translation)


@pytest.mark.parametrize('stamps', [[None, None, None], [5.0, 5.0, 5.0], [1.0, None, 2.0]])
def test_missing_and_repeated_stamps_still_smooth(stamps):
    smoother = HeadSmoother()
    for i, stamp in enumerate(stamps):
        found, pose = head(yaw=2.0 * (i % 2))
        answer, _ = smooth(smoother, found, pose, stamp)
    assert np.isfinite(answer.landmarks).all()
    # Neither the measurement itself, as after a fresh start, nor stuck at the one before.
    assert 0.02 < geodesic_distance_deg(answer.rotation[0], found.rotation[0]) < 1.98


def test_smoothing_depends_on_stamps_and_not_on_the_clock():
    def last(period):
        smoother = HeadSmoother()
        for i in range(10):
            answer, _ = smooth(
                smoother, *head(shift=4.0 * i), i * period, Smoothing(beta=0.0))
        return answer.origin[0, 0]

    assert last(1 / 5) > last(1 / 60) + 5.0


def test_disabled_smoothing_changes_nothing():
    smoother = HeadSmoother()
    for i in range(5):
        found, pose = head(yaw=10.0 * i, shift=30.0 * i)
        answer, answer_pose = smooth(
            smoother, found, pose, i * PERIOD, Smoothing(enabled=False))
    np.testing.assert_array_equal(answer.landmarks, found.landmarks)
    np.testing.assert_array_equal(answer_pose.rotation, pose.rotation)


def test_the_first_metric_pose_is_not_mixed_with_the_assumed_ones():
    smoother = HeadSmoother()
    for i in range(5):
        found, pose = head()
        smooth(smoother, found, pose, i * PERIOD)
    metric = replace(pose, translation=2.0 * pose.translation)
    _, answer_pose = smooth(smoother, found, metric, 5 * PERIOD, is_metric=True)
    np.testing.assert_allclose(answer_pose.translation, metric.translation)


def test_rotations_are_smoothed_where_euler_angles_are_ambiguous():
    smoother = HeadSmoother()
    for i, yaw in enumerate(np.linspace(60.0, 120.0, 60)):
        value = Rotation.from_rotvec([0.0, np.deg2rad(yaw), 0.0]).as_matrix()
        found, pose = head()
        found = replace(found, rotation=value[None])
        answer, _ = smooth(smoother, found, pose, i * PERIOD)
        np.testing.assert_allclose(
            answer.rotation[0] @ answer.rotation[0].T, np.eye(3), atol=1e-9)
        assert geodesic_distance_deg(answer.rotation[0], value) < 5.0


def test_heads_of_one_image_are_smoothed_as_each_alone():
    def measured(i, which):
        return head(yaw=(2.0 + which) * i, shift=4.0 * i, scale=400.0 + 300.0 * which)

    alone = [HeadSmoother(), HeadSmoother()]
    together = [HeadSmoother(), HeadSmoother()]
    for i in range(12):
        # The second head is lost for some frames: its time differs from the first one's.
        present = [0] if i in (5, 6) else [0, 1]
        pairs = [measured(i, which) for which in present]
        found, poses = smooth_heads(
            [together[which] for which in present], Alignments.join([pair[0] for pair in pairs]),
            Poses.join([pair[1] for pair in pairs]), i * PERIOD, Smoothing())
        for row, (which, pair) in enumerate(zip(present, pairs, strict=True)):
            one, pose = smooth(alone[which], *pair, i * PERIOD)
            for name, value in vars(one).items():
                np.testing.assert_allclose(getattr(found, name)[row], value[0], rtol=1e-12,
                                           atol=1e-12, err_msg=name)
            np.testing.assert_allclose(poses.translation[row], pose.translation[0], rtol=1e-12)
            np.testing.assert_allclose(poses.rotation[row], pose.rotation[0], atol=1e-12)


def test_a_step_response_is_that_of_the_one_euro_filter():
    smoother, smoothing = HeadSmoother(), Smoothing(beta=0.0)
    answers = []
    for i in range(4):
        found, pose = head(shift=0.0 if i == 0 else 10.0)
        answer, _ = smooth(smoother, found, pose, i * PERIOD, smoothing)
        answers.append(answer.origin[0, 0] - 300.0)
    alpha = 1.0 / (1.0 + 1.0 / (2.0 * np.pi * smoothing.min_cutoff * PERIOD))
    np.testing.assert_allclose(answers, 10.0 * (1.0 - (1.0 - alpha) ** np.arange(4)))


@pytest.mark.parametrize('wrong', [{'min_cutoff': 0.0}, {'min_cutoff': np.nan}, {'beta': -1.0},
                                   {'derivative_cutoff': -2.0}])
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(ValueError, match=f'^{next(iter(wrong))}'):
        replace(Smoothing(), **wrong)
