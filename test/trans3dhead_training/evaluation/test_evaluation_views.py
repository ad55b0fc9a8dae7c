"""Perturbations of a picture move a face as stated, and are the same for every predictor."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from face_results import BOX, POINTS, ConstantPredictor, face_result, pointed, posed

from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_training.evaluation.face_result import evaluate_face
from trans3dhead_training.evaluation.image_perturbations import (
    BOX_DRAWS,
    NOISE_DRAWS,
    corner_boxes,
    face_outline,
    faceless_copies,
    jittered_boxes,
    mirror_image,
    noisy_copies,
    rotate_image,
)
from trans3dhead_training.predictors import Alignment


def test_a_box_without_landmarks_keeps_its_size_when_its_picture_turns(tmp_path):
    sample = replace(posed(tmp_path), given_box=np.array([40.0, 30.0, 110.0, 100.0]))
    image = sample.image()
    np.testing.assert_allclose(landmark_box(face_outline(sample)), sample.box)
    turned = landmark_box(rotate_image(image, face_outline(sample), 25.0)[1])
    np.testing.assert_allclose(turned[2:] - turned[:2], [70, 70], atol=0.3)
    assert face_outline(face_result((0, 0, 0), (0, 0, 0), 0).sample) is POINTS


@pytest.mark.parametrize('degrees', [25.0, -25.0])
def test_points_rotate_with_their_picture(degrees):
    image = np.zeros((160, 160, 3), np.uint8)
    points = POINTS.round()
    x, y = points[40].astype(int)
    image[y - 1:y + 2, x - 1:x + 2] = 255
    turned, moved = rotate_image(image, points, degrees)
    ys, xs = np.nonzero(turned[..., 0] > 127)
    np.testing.assert_allclose([xs.mean(), ys.mean()], moved[40], atol=0.5)
    # Counter-clockwise on the screen: what was right of the middle moves up.
    box = landmark_box(points)
    right = np.array([[(box[0] + box[2]) / 2 + 30, (box[1] + box[3]) / 2]])
    with_right = rotate_image(image, np.concatenate([points, right]), degrees)[1][-1]
    assert (with_right[1] < right[0, 1]) == (degrees > 0)


def test_points_are_mirrored_with_their_picture():
    image = np.zeros((40, 60, 3), np.uint8)
    image[10, 5] = 255
    mirrored, points = mirror_image(image, np.array([[5.0, 10.0]]))
    assert points.tolist() == [[54, 10]] and mirrored[10, 54].all()


def test_jittered_boxes_differ_from_each_other_and_by_the_stated_share():
    boxes = jittered_boxes(BOX, np.random.default_rng(0))
    assert boxes.shape == (BOX_DRAWS, 4) and len(np.unique(boxes, axis=0)) == BOX_DRAWS
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    np.testing.assert_allclose(np.abs(centre - [80, 65]), [[4, 3.5]] * BOX_DRAWS)
    np.testing.assert_allclose(np.abs(size / [80, 70] - 1), 0.05)


def test_noisy_copies_show_the_same_scene_a_part_of_a_pixel_aside():
    image = cv2.GaussianBlur(np.random.default_rng(2).integers(
        0, 256, (160, 160, 3), np.uint8), (0, 0), 4)
    copies = noisy_copies(image, np.random.default_rng(0))
    assert len(copies) == NOISE_DRAWS
    for copy, shift in copies:
        assert copy.shape == image.shape and (np.abs(shift) <= 0.5).all()
        assert 0 < np.abs(copy.astype(float) - image).mean() < 8
    assert not np.array_equal(copies[0][0], copies[1][0])


def test_headless_views_leave_no_face_in_their_box():
    image = np.random.default_rng(2).integers(0, 256, (160, 160, 3), np.uint8)
    box = landmark_box(POINTS)
    assert len(corner_boxes(image, box)) >= 1
    covered, scrambled = faceless_copies(image, box)
    x0, y0, x1, y1 = np.round(box).astype(int)
    assert covered[y0:y1, x0:x1].std(axis=(0, 1)).max() < 1
    face = scrambled[y0:y1, x0:x1].astype(int)
    assert (face != image[y0:y1, x0:x1]).mean() > 0.9
    # The blocks only change places.
    assert abs(face.mean() - image[y0:y1, x0:x1].mean()) < 2
    assert (covered[:y0 - 1] == image[:y0 - 1]).all()


class Restless(ConstantPredictor):
    """Predicts points with noise of 1 px, which does not depend on the picture."""

    def __init__(self) -> None:
        self.generator = np.random.default_rng(0)
        self.seen = []

    def predict(self, image: np.ndarray, boxes: np.ndarray) -> list[Alignment]:
        self.seen.append((image.copy(), boxes.copy()))
        return [Alignment(POINTS + self.generator.normal(size=POINTS.shape), score=0.5)
                for _ in boxes]


def test_noise_of_a_pixel_is_reported_as_such(tmp_path):
    sample = pointed(tmp_path)
    found = [evaluate_face(Restless(), replace(sample, group=str(i))) for i in range(3)]
    size = np.sqrt(np.prod(np.ptp(POINTS, axis=0)))
    # Shifts that it ignores, uniform over a pixel along both axes, add a sixth.
    expected = np.sqrt(2 + 1 / 6) / size
    assert np.mean([a.noise_points for a in found]) == pytest.approx(expected, rel=0.15)
    assert found[0].noise_deg is None and found[0].turn_deg == ()


def test_every_predictor_sees_the_same_views(tmp_path):
    first, second = Restless(), Restless()
    for predictor in (first, second):
        evaluate_face(predictor, pointed(tmp_path))
    for (image, boxes), (same_image, same_boxes) in zip(first.seen, second.seen, strict=True):
        np.testing.assert_array_equal(image, same_image)
        np.testing.assert_array_equal(boxes, same_boxes)
