"""Detectors: proposals on real clips, and the arithmetic of boxes."""

import cv2
import numpy as np
import pytest
from clips import DATA, clip

from trans3dhead_ros.perception.detector import (
    CascadeDetector,
    iou,
    make_detector,
    non_maximum_suppression,
    rotate_uncropped,
)
from trans3dhead_ros.perception.head_finder import same_head

YUNET = DATA.parent / 'baselines' / 'yunet' / 'yunet_n_640_640.onnx'


@pytest.fixture(scope='module')
def cascade():
    return make_detector('cascade')


def hit(boxes, place):
    """Return whether a box (N, 4) fits the hand-drawn landmark box `place`."""
    return len(boxes) > 0 and iou(boxes, np.array([place], dtype=float)).max() > 0.4


def test_the_half_profile_at_the_start_of_a_clip_is_proposed(cascade):
    boxes, scores = cascade.detect(clip('head-pose-face-detection-female')[0])
    assert hit(boxes, (177, 75, 233, 155))
    assert len(scores) == len(boxes) and (np.diff(scores) <= 0).all()
    assert scores.min() > 0 and scores.max() <= 1


def test_the_other_profile_is_proposed_by_the_mirrored_pass(cascade):
    picture = clip('head-pose-face-detection-female')[0][:, ::-1]
    boxes, _ = cascade.detect(np.ascontiguousarray(picture))
    assert hit(boxes, (479 - 233, 75, 479 - 177, 155))


def test_heads_that_tilt_are_proposed(cascade):
    boxes, _ = cascade.detect(clip('head-pose-face-detection-female-and-male')[28])
    assert hit(boxes, (28, 103, 98, 157)) and hit(boxes, (295, 77, 375, 141))


def test_many_small_heads_are_proposed(cascade):
    boxes, _ = cascade.detect(clip('classroom')[0])
    for place in [(306, 158, 328, 179), (64, 153, 84, 175), (129, 131, 141, 144),
                  (231, 132, 244, 144)]:
        assert hit(boxes, place)


def test_the_passes_together_find_what_the_full_search_finds(cascade):
    picture = clip('head-pose-face-detection-female-and-male')[0]
    full, _ = cascade.detect(picture)
    passes = [cascade.detect(picture, index)[0] for index in range(7)]
    np.testing.assert_allclose(cascade.detect(picture, 7)[0], passes[0])
    together = np.concatenate(passes)
    assert (iou(full, together).max(axis=1) > 0.999).all()


@pytest.mark.parametrize('shape', [(1, 1), (3, 200), (300, 2), (40, 40)])
def test_small_and_thin_images_contain_no_head(cascade, shape):
    boxes, scores = cascade.detect(np.full((*shape, 3), 120, np.uint8))
    assert boxes.shape == (0, 4) and scores.shape == (0,)


def test_points_of_a_rotated_image_map_back():
    picture = np.zeros((90, 160), np.uint8)
    picture[20:23, 130:133] = 255  # its middle is at (131, 21); from the edges (131.5, 21.5)
    for degrees in (40.0, -40.0):
        view, back = rotate_uncropped(picture, degrees)
        y, x = np.nonzero(view > 60)
        weight = view[y, x].astype(float)
        middle = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum() + 0.5
        np.testing.assert_allclose(back[:, :2] @ middle + back[:, 2], [131.5, 21.5], atol=0.3)


def test_overlap_is_the_shared_part():
    boxes = np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    others = np.array([[5.0, 0, 15, 10], [0, 0, 10, 10], [10, 0, 12, 2]])
    np.testing.assert_allclose(iou(boxes, others), [[1 / 3, 1, 0], [0, 0, 0]])
    assert iou(np.zeros((0, 4)), others).shape == (0, 3)


def test_suppression_keeps_the_best_of_each_place():
    boxes = np.array([[0.0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60], [0, 1, 10, 11]])
    kept, scores = non_maximum_suppression(boxes, np.array([0.2, 0.9, 0.4, 0.3]))
    np.testing.assert_array_equal(kept, boxes[[1, 2]])
    np.testing.assert_array_equal(scores, [0.9, 0.4])


@pytest.mark.skipif(not YUNET.is_file(), reason=f'no {YUNET}')
def test_yunet_boxes_are_landmark_boxes_at_every_size_of_picture():
    yunet = make_detector(YUNET)
    picture = clip('head-pose-face-detection-female-and-male')[28]
    places = np.array([(28, 103, 98, 157), (295, 77, 375, 141)], dtype=float)
    for scale in (0.5, 1.0, 3.0):
        boxes, scores = yunet.detect(cv2.resize(picture, None, fx=scale, fy=scale))
        assert len(boxes) == len(scores) == 2
        assert (iou(boxes, scale * places).max(axis=0) > 0.55).all()
    assert yunet.detect(np.zeros((100, 100, 3), np.uint8))[0].shape == (0, 4)


def test_a_missing_or_invalid_detector_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r'^detector: no such file .*yunet\.onnx'):
        make_detector(tmp_path / 'yunet.onnx')
    (tmp_path / 'yunet.onnx').write_bytes(b'not a network')
    with pytest.raises(ValueError, match='^detector: .*not a YuNet model'):
        make_detector(tmp_path / 'yunet.onnx')
    assert isinstance(make_detector('cascade'), CascadeDetector)


def test_a_part_of_a_face_is_the_same_head():
    face = np.array([[100.0, 100.0, 200.0, 200.0]])
    parts = np.array([[92.0, 130.0, 120.0, 160.0],    # an ear, mostly inside
                      [150.0, 120.0, 190.0, 145.0],   # an eye
                      [100.0, 96.0, 205.0, 203.0]])   # itself
    others = np.array([[60.0, 120.0, 100.0, 160.0],   # somebody farther off, beside it
                       [185.0, 90.0, 240.0, 145.0],   # one who is hidden in part
                       [300.0, 100.0, 400.0, 200.0]])
    assert same_head(parts, face).all() and same_head(face, parts).all()
    assert not same_head(others, face).any() and not same_head(face, others).any()
