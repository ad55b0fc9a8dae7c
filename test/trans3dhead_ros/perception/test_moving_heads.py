"""Heads that move fast, as in front of a turning camera: a picture moves under a window."""

import itertools

import cv2
import numpy as np
import pytest
from counting_aligner import CountingAligner
from scripted_detector import ScriptedDetector, detections

from trans3dhead_ros import HeadPipeline
from trans3dhead_ros.geometry import geodesic_distance_deg
from trans3dhead_ros.media.clip_truth import bundled_clip
from trans3dhead_ros.media.sources import open_source
from trans3dhead_ros.perception.box_motion import BoxMotion
from trans3dhead_ros.perception.detector import make_detector
from trans3dhead_ros.perception.pipeline import PipelineConfig
from trans3dhead_ros.perception.tracker import Tracking

PERIOD = 1.0 / 15.0
FRAME, BOXES = 100, [(75, 114, 191, 234), (314, 136, 411, 226)]  # landmark boxes of two people
SIDE = 110.0
UP, DOWN, LEFT, RIGHT = (0.0, -1.0), (0.0, 1.0), (-1.0, 0.0), (1.0, 0.0)
# Follows the two people without another search, unless a track asks for one.
RARELY = PipelineConfig(tracking=Tracking(search_interval=1000))


@pytest.fixture(scope='module')
def aligner():
    return CountingAligner.load(device='cpu', threads=1)


def bundled_frame(number):
    with open_source(str(bundled_clip())) as source:
        return next(itertools.islice(source, number, None)).image


@pytest.fixture(scope='module')
def picture():
    return bundled_frame(FRAME)


@pytest.fixture(scope='module')
def still(aligner, picture):
    """Return the heads of the picture at rest, the left one first."""
    heads = HeadPipeline(aligner, ScriptedDetector(detections(BOXES))).detect(picture)
    return sorted(heads, key=lambda head: head.box[0])


def moved(picture, matrix):
    return cv2.warpAffine(picture, np.float32(matrix), picture.shape[1::-1],
                          borderMode=cv2.BORDER_REPLICATE)


def shifts(direction, share, count=5):
    """Return the matrices (2, 3) that move a picture by a share of a box each frame."""
    steps = share * SIDE * (np.arange(count) - 0.5 * (count - 1))
    return [[[1.0, 0.0, direction[0] * step], [0.0, 1.0, direction[1] * step]] for step in steps]


def zooms(factor, picture, count=9):
    """Return the matrices (2, 3) that scale a picture about its middle by a factor each frame."""
    x, y = 0.5 * np.array(picture.shape[1::-1])
    scales = factor ** (np.arange(count) - 0.5 * (count - 1))
    return [[[scale, 0.0, x * (1.0 - scale)], [0.0, scale, y * (1.0 - scale)]] for scale in scales]


def mapped(points, matrix):
    matrix = np.array(matrix)
    return points @ matrix[:, :2].T + matrix[:, 2]


def follow(aligner, picture, matrices, detector=None, config=RARELY):
    """Track a picture that moves; return the heads of each frame, the left one first."""
    if detector is None:
        first = mapped(np.array(BOXES, float).reshape(-1, 2), matrices[0]).reshape(-1, 4)
        detector = ScriptedDetector(detections(first), detections())
    pipeline = HeadPipeline(aligner, detector, config)
    return [sorted(pipeline.track(moved(picture, matrix), PERIOD * i), key=lambda head: head.box[0])
            for i, matrix in enumerate(matrices)]


def check_equal_to_still(answers, still, matrices, max_degrees):
    assert [len(heads) for heads in answers] == [len(still)] * len(answers)
    assert len({head.track_id for heads in answers for head in heads}) == len(still)
    errors = []
    for heads, matrix in zip(answers, matrices, strict=True):
        for head, truth in zip(heads, still, strict=True):
            expected = mapped(truth.landmarks[:, :2], matrix)
            off = np.linalg.norm(head.landmarks[:, :2] - expected, axis=1).mean()
            assert off < 0.06 * np.ptp(expected, axis=0).max()
            errors.append(geodesic_distance_deg(head.rotation, truth.rotation))
    assert np.mean(errors) < max_degrees and max(errors) < 4.0 * max_degrees


@pytest.mark.parametrize('share', [0.1, 0.2])
@pytest.mark.parametrize('direction', [UP, DOWN, LEFT, RIGHT])
def test_heads_in_a_moving_picture_are_aligned_as_in_the_still_one(
        aligner, picture, still, direction, share):
    matrices = shifts(direction, share)
    check_equal_to_still(follow(aligner, picture, matrices), still, matrices, max_degrees=2.0)


@pytest.fixture(scope='module')
def detector():
    return make_detector(device='cpu', threads=1)


@pytest.mark.parametrize('direction', [UP, DOWN, LEFT, RIGHT])
def test_with_the_detector_no_head_is_far_off_at_three_tenths_of_a_box_per_frame(
        aligner, detector, direction):
    """In this picture, crops of the woman settle on her chin when they come from below."""
    picture = bundled_frame(0)
    still = [head for head in HeadPipeline(aligner, detector).detect(picture) if head.score > 0.9]
    matrices = shifts(direction, 0.27, count=7)
    answers = follow(aligner, picture, matrices, detector, PipelineConfig())
    compared = 0
    for heads, matrix in zip(answers, matrices, strict=True):
        for truth in still:
            expected = mapped(truth.landmarks[:, :2], matrix)
            near = [head for head in heads if head.score > 0.5 and np.linalg.norm(
                (head.landmarks[:, :2] - expected).mean(0)) < 0.6 * SIDE]
            compared += len(near)
            assert all(geodesic_distance_deg(head.rotation, truth.rotation) < 15.0
                       for head in near)
    assert compared >= 2 * len(matrices) - 1


@pytest.mark.parametrize('factor', [1.05, 1.0 / 1.05])
def test_heads_that_approach_or_recede_are_aligned_as_in_the_still_picture(
        aligner, picture, still, factor):
    matrices = zooms(factor, picture)
    check_equal_to_still(follow(aligner, picture, matrices), still, matrices, max_degrees=2.0)


def test_heads_in_front_of_a_shaking_camera_are_aligned_as_in_the_still_picture(
        aligner, picture, still):
    places = np.random.default_rng(3).uniform(-0.1, 0.1, (7, 2)) * SIDE
    matrices = [[[1.0, 0.0, x], [0.0, 1.0, y]] for x, y in places]
    check_equal_to_still(follow(aligner, picture, matrices), still, matrices, max_degrees=2.0)


def test_heads_at_rest_take_one_crop_per_frame(aligner, picture):
    pipeline = HeadPipeline(aligner, ScriptedDetector(detections(BOXES), detections()), RARELY)
    pipeline.track(picture, 0.0)
    before = aligner.crops
    answers = [pipeline.track(picture, PERIOD * i) for i in range(1, 9)]
    assert [len(heads) for heads in answers] == [2] * 8
    assert aligner.crops - before == 16


def test_a_head_at_constant_speed_takes_one_crop_per_frame_once_its_motion_is_known(
        aligner, picture):
    first = np.array(BOXES, float) - np.array([50.0, 0.0, 50.0, 0.0])
    detector = ScriptedDetector(detections(first), detections())
    pipeline = HeadPipeline(aligner, detector, RARELY)
    crops = []
    for i in range(8):
        before = aligner.crops
        pipeline.track(moved(picture, [[1.0, 0.0, 14.0 * i - 50.0], [0.0, 1.0, 0.0]]), PERIOD * i)
        crops.append(aligner.crops - before)
    assert crops[-3:] == [2, 2, 2]


def test_a_head_that_jumps_away_is_detected_in_the_same_frame_and_not_smoothed_over(
        aligner, picture, still):
    matrices = [*shifts(RIGHT, 0.0, 3), [[1.0, 0.0, 0.55 * SIDE], [0.0, 1.0, 0.45 * SIDE]]]
    there = mapped(np.array(BOXES, float).reshape(-1, 2), matrices[-1]).reshape(-1, 4)
    detector = ScriptedDetector(detections(BOXES), detections(there))
    answers = follow(aligner, picture, matrices, detector)
    check_equal_to_still(answers, still, matrices, max_degrees=2.0)


@pytest.mark.parametrize('roll', [90.0, -90.0])
def test_turned_heads_that_move_keep_their_crop(aligner, picture, roll):
    turned = np.ascontiguousarray(np.rot90(picture, round(-roll / 90.0)))
    corners = np.array(BOXES, float).reshape(-1, 2)
    height, width = picture.shape[:2]
    turn = np.array([[0.0, -np.sign(roll)], [np.sign(roll), 0.0]])
    corners = (corners - 0.5 * np.array([width - 1, height - 1])) @ turn.T \
        + 0.5 * np.array([height - 1, width - 1])
    boxes = np.concatenate([np.sort(corners.reshape(-1, 2, 2), axis=1)[:, 0],
                            np.sort(corners.reshape(-1, 2, 2), axis=1)[:, 1]], axis=1)
    still, = [HeadPipeline(aligner, ScriptedDetector(detections(boxes[:1], roll=roll))).track(
        turned, 0.0)]
    matrices = shifts(DOWN, 0.2)
    first = boxes[:1] + np.tile(np.array(matrices[0])[:, 2], 2)
    detector = ScriptedDetector(detections(first, roll=roll), detections())
    answers = follow(aligner, turned, matrices, detector)
    check_equal_to_still(answers, still, matrices, max_degrees=2.0)


def test_motion_at_constant_speed_is_predicted():
    motion, box = BoxMotion(), np.array([10.0, 20.0, 110.0, 100.0])
    for i in range(8):
        motion.observe(box + 20.0 * i * np.array([1.0, 0.0, 1.0, 0.0]), PERIOD)
    predicted = motion.predict(PERIOD, min_shift=0.03)
    expected = box + np.array([160.0, 0.0, 160.0, 0.0])
    np.testing.assert_allclose(predicted, expected, atol=4.0)


def test_a_box_that_grows_is_predicted_larger():
    motion, box = BoxMotion(), np.array([-50.0, -40.0, 50.0, 40.0])
    for i in range(8):
        motion.observe(1.1 ** i * box, PERIOD)
    predicted = motion.predict(PERIOD, min_shift=0.03)
    np.testing.assert_allclose(predicted, 1.1 ** 8 * box, rtol=0.02)


def test_no_motion_is_predicted_at_rest_after_a_gap_and_after_a_reset():
    motion, box = BoxMotion(), np.array([0.0, 0.0, 100.0, 80.0])
    assert motion.predict(PERIOD, 0.03) is None
    for noise in (0.0, 1.0, -1.0, 1.0):
        motion.observe(box + noise, PERIOD)
    assert motion.predict(PERIOD, 0.03) is None
    motion.observe(box + 30.0, PERIOD)
    assert motion.predict(PERIOD, 0.03) is not None
    assert motion.predict(2.0, 0.03) is None and motion.predict(0.0, 0.03) is None
    motion.reset()
    assert motion.predict(PERIOD, 0.03) is None
