"""The conventions of geometry.py, checked against what they say in words."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from trans3dhead_ros import geometry
from trans3dhead_ros.network.rotations import rotation_6d_to_matrix

NOSE, LEFT, CROWN = np.eye(3)


def rotation(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    return geometry.rotation_from_euler(np.array([yaw, pitch, roll]))


def random_rotations(count: int = 50) -> np.ndarray:
    return Rotation.random(count, random_state=3).as_matrix()


def test_facing_the_camera_is_the_stated_matrix():
    assert np.allclose(rotation(), geometry.FACING_CAMERA)
    assert np.allclose(geometry.FACING_CAMERA @ NOSE, [0, 0, -1])
    assert np.allclose(geometry.FACING_CAMERA @ LEFT, [1, 0, 0])
    assert np.allclose(geometry.FACING_CAMERA @ CROWN, [0, -1, 0])


def test_positive_yaw_turns_the_nose_to_the_images_left():
    assert (rotation(yaw=30) @ NOSE)[0] == pytest.approx(-0.5)


def test_positive_pitch_lifts_the_chin():
    nose = rotation(pitch=30) @ NOSE
    assert nose[1] == pytest.approx(-0.5)  # y is down: the nose points up


def test_positive_roll_moves_the_crown_to_the_images_right():
    assert (rotation(roll=30) @ CROWN)[0] == pytest.approx(0.5)


def test_angles_follow_the_convention_of_pose_para():
    yaw, pitch, roll = 40.0, -25.0, 15.0
    matrices = [Rotation.from_euler(axis, angle, degrees=True).as_matrix()
                for axis, angle in (('z', roll), ('y', yaw), ('x', pitch))]
    q = (matrices[0] @ matrices[1] @ matrices[2]).T
    permutation = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    from_q = np.diag([1.0, -1, -1]) @ q @ permutation.T
    assert np.allclose(rotation(yaw, pitch, roll), from_q)
    assert np.allclose(geometry.euler_from_rotation(from_q), [yaw, pitch, roll])


def test_euler_round_trip_in_numpy_and_torch():
    euler = np.random.default_rng(0).uniform(-85, 85, (40, 3))
    assert np.allclose(geometry.euler_from_rotation(geometry.rotation_from_euler(euler)), euler)
    tensor = torch.from_numpy(euler)
    back = geometry.euler_from_rotation(geometry.rotation_from_euler(tensor))
    assert torch.allclose(back, tensor)


def test_the_6d_representation_returns_the_rotation():
    matrices = torch.from_numpy(random_rotations())
    assert torch.allclose(rotation_6d_to_matrix(geometry.rotation_to_6d(matrices)),
                          matrices)


def test_geodesic_distance_is_the_angle_between():
    first = random_rotations(5)
    turned = first @ Rotation.from_rotvec([0, 0, np.deg2rad(12.0)]).as_matrix()
    assert np.allclose(geometry.geodesic_distance_deg(first, turned), 12.0)
    assert geometry.geodesic_distance_deg(first[0], first[0]) == 0.0


def test_rotating_the_image_rotates_the_points_with_it():
    import cv2
    points = np.random.default_rng(1).normal(size=(6, 3))
    r = random_rotations(1)[0]
    matrix = cv2.getRotationMatrix2D((0, 0), 25.0, 1.0)[:, :2]
    turned = geometry.turned_in_image(r, 25.0)
    assert np.allclose((points @ turned.T)[:, :2], (points @ r.T)[:, :2] @ matrix.T)
    assert np.allclose(geometry.turned_in_image(torch.from_numpy(r), 25.0).numpy(), turned)


def test_mirroring_twice_changes_nothing_and_flips_yaw_and_roll():
    r = rotation(30, 10, -20)
    assert np.allclose(geometry.euler_from_rotation(geometry.mirrored(r)), [-30, 10, 20])
    assert np.allclose(geometry.mirrored(geometry.mirrored(r)), r)


def test_quaternion_round_trip():
    r = random_rotations()
    quaternion = geometry.quaternion_from_rotation(r)
    assert (quaternion[:, 3] >= 0).all()
    assert np.allclose(geometry.rotation_from_quaternion(2 * quaternion), r)


def test_the_nearest_rotation_to_a_noisy_one():
    r = random_rotations()
    near = geometry.nearest_rotation(1.7 * r)
    assert np.allclose(near, r)
    assert np.allclose(np.linalg.det(geometry.nearest_rotation(-r)), 1.0)


@pytest.mark.parametrize('angle', [0.0, 1e-9, 1e-4, 0.5, 3.0, np.pi - 1e-7, np.pi])
def test_rotation_vectors_are_those_of_scipy(angle):
    axes = np.random.default_rng(5).normal(size=(4, 5, 3))
    axes = np.concatenate([axes.reshape(-1, 3), np.eye(3), -np.eye(3)])
    vectors = angle * axes / np.linalg.norm(axes, axis=-1, keepdims=True)
    expected = Rotation.from_rotvec(vectors)
    rotation = geometry.rotation_from_vector(vectors)
    np.testing.assert_allclose(rotation, expected.as_matrix(), atol=1e-14)
    back = geometry.rotation_vector(rotation)
    # At half a turn, both directions of the axis are right.
    np.testing.assert_allclose(geometry.rotation_from_vector(back), rotation, atol=1e-14)
    np.testing.assert_allclose(np.linalg.norm(back, axis=-1), angle, atol=1e-8)
    if angle < np.pi - 1e-3:
        np.testing.assert_allclose(back, vectors, atol=1e-14)


def test_quaternions_are_those_of_scipy():
    expected = Rotation.random(200, random_state=6)
    rotation = expected.as_matrix().reshape(40, 5, 3, 3)
    quaternion = expected.as_quat(canonical=True).reshape(40, 5, 4)
    np.testing.assert_allclose(geometry.quaternion_from_rotation(rotation), quaternion, atol=1e-14)
    np.testing.assert_allclose(
        geometry.rotation_from_quaternion(3.0 * quaternion), rotation, atol=1e-14)
    with pytest.raises(ValueError, match='norm'):
        geometry.rotation_from_quaternion(np.zeros(4))


def test_quaternions_are_those_of_tf_transformations():
    oracle = pytest.importorskip('tf_transformations', reason='tf_transformations is not installed')
    for rotation in random_rotations(50):
        matrix = np.eye(4)
        matrix[:3, :3] = rotation
        quaternion = geometry.quaternion_from_rotation(rotation)
        assert abs(quaternion @ oracle.quaternion_from_matrix(matrix)) == pytest.approx(1.0)
        np.testing.assert_allclose(oracle.quaternion_matrix(quaternion), matrix, atol=1e-12)


def test_viewing_ray_rotation_takes_the_axis_to_the_ray():
    ray = np.array([0.4, -0.2, 1.0])
    r = geometry.viewing_ray_rotation(ray)
    assert np.allclose(r @ [0, 0, 1], ray / np.linalg.norm(ray))
    assert np.allclose(r @ r.T, np.eye(3))


@pytest.mark.parametrize('bad', [np.zeros(3), np.zeros((3, 4)), np.zeros((2, 2, 3))])
def test_a_wrong_shape_is_named(bad):
    with pytest.raises(ValueError, match='rotation'):
        geometry.euler_from_rotation(bad)


def test_a_ray_behind_the_camera_is_refused():
    with pytest.raises(ValueError, match='ray'):
        geometry.viewing_ray_rotation(np.array([0.0, 0.0, -1.0]))


@pytest.mark.parametrize('yaw', [0.0, 60.0, -89.0, 100.0, 180.0])
def test_the_angle_to_the_camera_goes_beyond_90_degrees(yaw):
    # About the head's own vertical axis, so that angles beyond 90° are not decoded.
    turn = Rotation.from_euler('z', yaw, degrees=True).as_matrix()
    found = geometry.angle_to_camera_deg(geometry.FACING_CAMERA @ turn, np.array([0.0, 0.0, 0.7]))
    assert found == pytest.approx(abs(yaw), abs=1e-6)


def test_the_angle_to_the_camera_is_seen_from_the_head():
    # It looks along the optical axis, and the camera is 45° beside that.
    found = geometry.angle_to_camera_deg(geometry.FACING_CAMERA, np.array([0.5, 0.0, 0.5]))
    assert found == pytest.approx(45.0)
