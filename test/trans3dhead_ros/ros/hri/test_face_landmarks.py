"""A head in the numbers of REP-155; these tests need no ROS."""

from dataclasses import replace

import numpy as np
import pytest

from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.perception.head import Head, HeadMesh
from trans3dhead_ros.ros.hri.face_landmarks import (
    cropped_face,
    normalised_landmarks,
    normalised_region,
)
from trans3dhead_ros.ros.hri.gaze import AHEAD

SIZE = (200, 100)


@pytest.fixture
def head() -> Head:
    """A head whose landmarks fill the box 40…80, 20…60."""
    points = np.random.default_rng(8).uniform([40, 20], [80, 60], (68, 2))
    points[0], points[1] = (40, 20), (80, 60)
    vertices = np.random.default_rng(9).uniform(-0.1, 0.1, (200, 3)) + np.array([0, 0, 1])
    return Head(
        box=np.array([40.0, 20.0, 80.0, 60.0]), score=0.9, track_id=1,
        landmarks=np.column_stack([points, np.zeros(68)]), landmarks_contour=points,
        landmark_scale=np.full(68, 2.0), rotation=rotation_from_euler(np.zeros(3)),
        translation=np.array([0.0, 0.0, 1.0]), metric=True, pose_covariance=np.eye(6),
        euler_deg=(0.0, 0.0, 0.0), shape=np.zeros(1), expression=np.zeros(1),
        landmarks_m=vertices[:68], mesh=HeadMesh(vertices, vertices[:, :2] * 400))


def moved(head: Head, x: float, y: float) -> Head:
    shift = np.array([x, y])
    return replace(head, box=head.box + np.tile(shift, 2),
                   landmarks=head.landmarks + np.array([x, y, 0.0]))


def test_seventy_landmarks_in_fractions_of_the_image(head):
    answer = normalised_landmarks(head, AHEAD, SIZE)
    assert answer.shape == (70, 3)
    # The middle of pixel (0, 0) lies half a pixel from the image's corner.
    np.testing.assert_allclose(answer[:68, :2] * SIZE - 0.5, head.landmarks[:, :2])


def test_the_pupils_come_last_the_right_one_first(head):
    answer = normalised_landmarks(head, AHEAD, SIZE)
    np.testing.assert_allclose(
        answer[68:, :2] * SIZE - 0.5,
        [head.landmarks[36:42, :2].mean(0), head.landmarks[42:48, :2].mean(0)])


def test_confidence_is_the_probability_to_lie_within_five_percent_of_the_face(head):
    answer = normalised_landmarks(head, AHEAD, SIZE)
    np.testing.assert_allclose(answer[:68, 2], 1 - np.exp(-0.05 * 40 / 2.0))
    assert (answer[68:, 2] < answer[67, 2]).all(), 'a pupil is less sure than the rim of its eye'


def test_a_point_outside_the_image_is_clipped_to_its_border_with_low_confidence(head):
    answer = normalised_landmarks(moved(head, 145.0, 0.0), AHEAD, SIZE)
    outside = head.landmarks[:, 0] + 145.0 > 199.5
    assert outside.any() and not outside.all()
    assert (answer[:68, 2][outside] == 0).all() and (answer[:68, 2][~outside] > 0).all()
    assert (answer[:68, 0][outside] == 1).all()
    assert answer.min() >= 0 and answer.max() <= 1


def test_the_region_is_the_part_of_the_box_inside_the_image(head):
    np.testing.assert_allclose(
        normalised_region(head, SIZE) * np.tile(SIZE, 2), [40.5, 20.5, 80.5, 60.5])
    np.testing.assert_allclose(
        normalised_region(moved(head, -60.0, 60.0), SIZE), [0.0, 0.805, 20.5 / 200, 1.0])


@pytest.mark.parametrize('size', [(40, 40), (20, 40), (300, 90)])
def test_the_picture_shows_the_region_and_black_bars(head, size):
    low = np.array([30, 20])
    image = np.zeros((200, 400, 3), np.uint8)
    image[low[1]:low[1] + size[1], low[0]:low[0] + size[0]] = (10, 200, 90)
    box = np.concatenate([low, low + size]) - 0.5
    picture = cropped_face(image, replace(head, box=box.astype(float)))
    assert picture.shape == (128, 128, 3)
    rows, columns = np.flatnonzero(picture.any((1, 2))), np.flatnonzero(picture.any((0, 2)))
    shown = np.array([len(columns), len(rows)])
    np.testing.assert_allclose(shown, 128 * np.array(size) / max(size), atol=1)
    assert abs(columns[0] + columns[-1] - 127) <= 1 and abs(rows[0] + rows[-1] - 127) <= 1
    assert (picture[64, 64] == (10, 200, 90)).all()


def test_a_face_outside_the_image_is_black(head):
    image = np.full((SIZE[1], SIZE[0], 3), 255, np.uint8)
    assert not cropped_face(image, moved(head, 500.0, 0.0)).any()
