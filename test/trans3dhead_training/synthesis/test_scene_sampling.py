"""Sampled poses, image effects, environments, and which landmarks are visible."""


import numpy as np
import pytest
import torch

from trans3dhead_ros.geometry import (
    euler_from_rotation,
    geodesic_distance_deg,
    rotation_from_euler,
)
from trans3dhead_ros.media.clip_truth import bundled_clip, truth_path
from trans3dhead_ros.media.sources import open_source
from trans3dhead_training.synthesis.scenes.camera_effects import CameraEffects, apply_camera_effects
from trans3dhead_training.synthesis.scenes.hdr_environments import Environment, read_environments
from trans3dhead_training.synthesis.scenes.head_labels import visible_points
from trans3dhead_training.synthesis.scenes.neck_pose import sample_torso_rotation
from trans3dhead_training.synthesis.scenes.pose_sampling import PoseDistribution, UniformPoses


def test_yaw_is_flat_between_the_profiles_and_goes_beyond():
    generator, poses = np.random.default_rng(5), PoseDistribution()
    rotation = np.stack([poses.sample(generator) for _ in range(4000)])
    towards = rotation[:, 2, 0] < 0
    assert 0.84 < towards.mean() < 0.92
    counts, _ = np.histogram(euler_from_rotation(rotation[towards])[:, 0], 9, (-90, 90))
    assert counts.min() > 0.85 * counts.mean() and counts.max() < 1.15 * counts.mean()
    pitch = euler_from_rotation(rotation[towards])[:, 1]
    assert np.percentile(pitch, 95) > 35 and np.percentile(pitch, 5) < -35
    np.testing.assert_allclose(rotation @ rotation.swapaxes(1, 2), np.tile(np.eye(3), (4000, 1, 1)),
                               atol=1e-9)


def test_shoulders_stay_upright_as_far_as_a_neck_turns():
    generator = np.random.default_rng(6)
    for _ in range(50):
        head = PoseDistribution().sample(generator)
        body = sample_torso_rotation(generator, head)
        assert geodesic_distance_deg(body, np.eye(3)) < 62.1
    upright = rotation_from_euler(np.array([0.0, 0.0, 0.0]))
    crowns = [(upright @ sample_torso_rotation(generator, upright))[:, 2] for _ in range(50)]
    assert np.mean(crowns, axis=0)[1] < -0.9


@pytest.mark.parametrize('shape', [(256, 256, 3), (48, 64, 3)])
def test_effects_keep_shape_and_type(shape):
    generator = np.random.default_rng(11)
    image = generator.integers(0, 256, shape, dtype=np.uint8)
    everything = CameraEffects(*[1.0, 1.0, 1.3, 1.0, 6.0, 1.0, 6.0, 1.0])
    result = apply_camera_effects(image, generator, everything, magnification=3.0, darkness=1.0)
    assert result.shape == shape and result.dtype == np.uint8 and (result != image).any()
    nothing = CameraEffects(*[0.0, 0.0, 1.3, 0.0, 6.0, 0.0, 6.0, 0.0])
    np.testing.assert_array_equal(apply_camera_effects(image, generator, nothing), image)


def test_missing_environments_are_named(tmp_path):
    with pytest.raises(ValueError, match='no .hdr in'):
        read_environments(tmp_path)
    (tmp_path / 'broken.hdr').write_bytes(b'no picture')
    with pytest.raises(ValueError, match='broken.hdr is missing or not an HDR panorama'):
        read_environments(tmp_path)


def test_an_environment_is_seen_where_the_camera_looks():
    panorama = torch.full((64, 128, 3), 0.05)
    panorama[30:34, 94:98] = 20.0  # the right quarter: +x
    environment = Environment('lamp', panorama, torch.zeros(9, 3), torch.zeros(3), torch.zeros(3))
    to_the_right = np.array([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])  # +x lies straight ahead
    view = environment.view(to_the_right, (48, 48), 62.0)
    assert view.shape == (48, 48, 3) and (view[23:25, 23:25] > 1).all()
    assert view[0].max() < 0.08


def test_a_point_is_visible_unless_something_nearer_hides_it():
    depth = np.full((48, 48), np.inf, np.float32)
    depth[5:44, 5:44] = 2.0
    depth[10:41, 10:26] = 1.0
    pixels = np.array([[12, 23], [12, 23], [35, 23], [223, 23]])
    visible = visible_points(pixels, np.array([1.0, 2.0, 2.0, 1.0]), depth)
    assert visible.tolist() == [True, False, True, False]


def test_the_bundled_clip_has_two_heads_in_every_frame():
    clip = bundled_clip()
    assert clip.stat().st_size + truth_path(clip).stat().st_size <= 1_500_000
    source = open_source(clip)
    truth = source.truth
    frames = sum(1 for _ in source)
    assert frames == 250 and truth.rotation.shape == (250, 2, 3, 3) and source.fps == 25
    pixels = source.camera.project(truth.translation)
    assert (pixels > 0).all() and (pixels < source.size).all()
    yaw = euler_from_rotation(truth.rotation)[..., 0]
    assert (yaw.max(0) > 45).all() and (yaw.min(0) < -45).all()


def test_uniform_poses_are_uniform_in_turn_and_pitch_and_reach_any_tilt():
    generator = np.random.default_rng(0)
    rotations = np.stack([UniformPoses().sample(generator) for _ in range(6000)])
    camera = -rotations[:, 2]  # direction to the camera, head frame
    turn = np.rad2deg(np.arctan2(camera[:, 1], camera[:, 0]))
    height = np.rad2deg(np.arcsin(camera[:, 2]))
    facing = np.abs(turn) < 90
    shares = np.histogram(turn[facing], np.arange(-90, 91, 30))[0] / facing.sum()
    assert np.abs(shares - 1 / 6).max() < 0.03
    shares = np.histogram(height[np.abs(turn) < 25], np.arange(-45, 46, 15))[0]
    assert shares.min() > 0.1 * shares.sum()
    up = rotations[:, :2, 2]
    assert (np.abs(np.arctan2(up[:, 0], -up[:, 1])) > 2.4).mean() > 0.015
    assert 0.12 < (~facing).mean() < 0.22


def test_a_body_may_tilt_with_its_head():
    head = rotation_from_euler(np.array([0.0, 0.0, 90.0]))
    rolls = {}
    for tilted in (False, True):
        bodies = [head @ sample_torso_rotation(np.random.default_rng(seed), head, tilted)
                  for seed in range(40)]
        rolls[tilted] = np.median([np.rad2deg(np.arctan2(body[0, 2], -body[1, 2]))
                                   for body in bodies])
    assert rolls[True] > rolls[False] + 10
