"""Where eyes look in the head frame, and where that puts the pupils."""

import numpy as np
import pytest

from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.landmarks import MIRROR_68
from trans3dhead_ros.perception.head import Head, HeadMesh
from trans3dhead_ros.ros.hri.gaze import MAX_EYE_ROTATION_DEG, gaze_rotation, pupils
from trans3dhead_training.synthesis.people.person import MAX_GAZE_DEG

NAMES = tuple(f'eyeLook{where}_{side}' for where in ('Down', 'In', 'Out', 'Up') for side in 'LR')


def looking(**weights: float) -> np.ndarray:
    return gaze_rotation(np.array([weights.get(name, 0.0) for name in NAMES]), NAMES)


def test_eyes_at_rest_look_straight_ahead_in_an_optical_frame():
    gaze = looking()
    # z along the face's x, x to the person's right (head -y), y down (head -z).
    np.testing.assert_allclose(gaze @ np.eye(3), [[0, 0, 1], [-1, 0, 0], [0, -1, 0]], atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(gaze), 1.0)


def test_a_head_model_without_eyelook_looks_straight_ahead():
    np.testing.assert_allclose(gaze_rotation(np.array([0.7]), ('jawOpen',)), looking())


@pytest.mark.parametrize(('weights', 'left_deg', 'up_deg'), [
    ({'eyeLookOut_L': 1.0, 'eyeLookIn_R': 1.0}, 32, 0),
    ({'eyeLookIn_L': 1.0, 'eyeLookOut_R': 1.0}, -32, 0),
    ({'eyeLookUp_L': 1.0, 'eyeLookUp_R': 1.0}, 0, 22),
    ({'eyeLookDown_L': 1.0, 'eyeLookDown_R': 1.0}, 0, -28),
    # Eyes that converge look between the two.
    ({'eyeLookIn_L': 1.0, 'eyeLookIn_R': 1.0}, 0, 0),
])
def test_the_gaze_follows_the_eyes(weights, left_deg, up_deg):
    gaze = looking(**weights)
    x, y, z = gaze[:, 2]
    assert np.degrees(np.arctan2(y, x)) == pytest.approx(left_deg)
    assert np.degrees(np.arcsin(z)) == pytest.approx(up_deg)
    assert gaze[2, 0] == pytest.approx(0.0), 'the x axis of the gaze stays level'


def test_the_largest_eye_rotation_is_that_of_the_training_data():
    assert MAX_EYE_ROTATION_DEG == MAX_GAZE_DEG


def test_pupils_move_with_the_eyes(facing):
    """The person's own left is the image's right."""
    still = pupils(facing, looking())
    np.testing.assert_allclose(still[0], facing.landmarks[36:42, :2].mean(0))
    np.testing.assert_allclose(still[1], facing.landmarks[42:48, :2].mean(0))
    left = pupils(facing, looking(eyeLookOut_L=1.0, eyeLookIn_R=1.0)) - still
    # 11 mm times the sine of 32 degrees at 1000 px a metre.
    np.testing.assert_allclose(left, [[5.83, 0.0]] * 2, atol=0.05)
    up = pupils(facing, looking(eyeLookUp_L=1.0, eyeLookUp_R=1.0)) - still
    np.testing.assert_allclose(up, [[0.0, -4.12]] * 2, atol=0.05)


@pytest.fixture
def facing() -> Head:
    """A head that looks into the camera, 1000 px to a metre."""
    half = np.random.default_rng(3).uniform(-60, 60, (68, 2))
    points = half + half[MIRROR_68] * [-1, 1] + 300
    vertices = np.random.default_rng(4).uniform(-0.1, 0.1, (500, 3)) + np.array([0, 0, 1])
    box = np.concatenate([points.min(0), points.max(0)])
    return Head(
        box=box, score=0.9, track_id=3, landmarks=np.column_stack([points, np.zeros(68)]),
        landmarks_contour=points, landmark_scale=np.ones(68),
        rotation=rotation_from_euler(np.zeros(3)), translation=np.array([0.0, 0.0, 1.0]),
        metric=True, pose_covariance=np.eye(6), euler_deg=(0.0, 0.0, 0.0), shape=np.zeros(1),
        expression=np.zeros(len(NAMES)), landmarks_m=vertices[:68],
        mesh=HeadMesh(vertices, vertices[:, :2] * 1000))
