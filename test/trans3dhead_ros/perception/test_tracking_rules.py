"""How detections start, confirm, move and end tracks, on real frames with the bundled network."""

import cv2
import numpy as np
import pytest
from clips import clip
from scripted_detector import ScriptedDetector, detections

from trans3dhead_ros import HeadPipeline
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.perception.pipeline import PipelineConfig
from trans3dhead_ros.perception.tracker import Tracking

PERIOD = 0.1
MALE = 'head-pose-face-detection-male'
PAIR = 'head-pose-face-detection-female-and-male'
LEFT, RIGHT = (35, 80, 95, 150), (300, 70, 365, 140)  # landmark boxes in the first frame of PAIR
WALL = np.full((270, 480, 3), 120, np.uint8)
BACK = (200.0, 80.0, 260.0, 150.0)


@pytest.fixture(scope='module')
def aligner():
    return HeadAligner.load(device='cpu', threads=1)


@pytest.fixture(scope='module')
def face(aligner):
    """Return the landmark box of the man who sits still."""
    return HeadPipeline(aligner, ScriptedDetector(detections([(190, 60, 270, 160)]))).detect(
        clip(MALE)[0])[0].box


def follow(pipeline, frames):
    return [pipeline.track(frame, stamp=PERIOD * i) for i, frame in enumerate(frames)]


def test_a_track_that_no_detection_confirms_ends_within_a_second(aligner, face):
    detector = ScriptedDetector(detections([face]), detections())
    answers = follow(HeadPipeline(aligner, detector), [clip(MALE)[0]] * 12)
    assert all(len(heads) == 1 for heads in answers[:8])
    assert not any(answers[11:])


def test_weak_detections_confirm_a_track_and_start_none(aligner, face):
    weak = detections([face], score=0.25)
    answers = follow(HeadPipeline(aligner, ScriptedDetector(detections([face]), weak)),
                     [clip(MALE)[0]] * 12)
    assert all(len(heads) == 1 for heads in answers)
    assert not any(follow(HeadPipeline(aligner, ScriptedDetector(weak)), [clip(MALE)[0]] * 4))


def test_the_detector_searches_every_image_until_there_is_a_track(aligner, face):
    detector = ScriptedDetector(*[detections()] * 6, detections([face]))
    config = PipelineConfig(tracking=Tracking(search_interval=4))
    answers = follow(HeadPipeline(aligner, detector, config), [clip(MALE)[0]] * 17)
    assert [len(heads) for heads in answers] == [0] * 6 + [1] * 11
    assert detector.searches == 7 + 3  # in images 8, 12 and 16


def test_a_detection_in_a_rotated_image_that_is_not_a_face_is_rejected(aligner):
    wall = np.full((270, 480, 3), 90, np.uint8)
    seen = ScriptedDetector(detections([[200.0, 90.0, 260.0, 150.0]]), only=np.rot90(wall, 1))
    assert follow(HeadPipeline(aligner, seen), [wall] * 8) == [[]] * 8
    assert seen.searches > 0


@pytest.mark.parametrize(('blur', 'score', 'quarters', 'believed'), [
    (5.0, 0.7, 0, True), (5.0, 0.7, 2, False), (5.0, 0.9, 2, True), (1.0, 0.7, 2, True)])
def test_a_head_found_only_in_a_rotated_image_needs_a_confident_detection_or_certain_landmarks(
        aligner, face, blur, score, quarters, believed):
    upright = cv2.GaussianBlur(clip(MALE)[0], (0, 0), blur)
    seen = ScriptedDetector(detections([face], score=score), only=upright)
    pipeline = HeadPipeline(aligner, seen)
    image = np.ascontiguousarray(np.rot90(upright, quarters))
    assert any(follow(pipeline, [image] * 4)) is bool(pipeline.detect(image)) is believed


def test_a_second_head_is_found_within_two_images(aligner):
    frame = clip(PAIR)[0]
    detector = ScriptedDetector(*[detections([LEFT])] * 2, detections([LEFT, RIGHT]))
    answers = follow(HeadPipeline(aligner, detector), [frame] * 6)
    assert [len(heads) for heads in answers] == [1] * 4 + [2] * 2


def test_a_detection_moves_the_track_that_disagrees_with_it(aligner, face):
    frame = clip(MALE)[0]
    side = face[2] - face[0]
    part = np.array([face[0], face[1], face[0] + 0.45 * side, face[1] + 0.45 * side])
    config = PipelineConfig(tracking=Tracking(new_track_threshold=0.0, keep_track_threshold=0.0))
    detector = ScriptedDetector(detections([part]), detections([face]))
    answers = follow(HeadPipeline(aligner, detector, config), [frame] * 8)
    assert {head.track_id for heads in answers for head in heads} == {answers[0][0].track_id}
    np.testing.assert_allclose(answers[-1][0].box, face, atol=0.1 * side)


def test_a_confident_head_from_behind_is_tracked_and_marked_as_such(aligner):
    behind = detections([BACK], face=0.1)
    answers = follow(HeadPipeline(aligner, ScriptedDetector(behind)), [WALL] * 12)
    heads = [head for heads in answers for head in heads]
    assert len(heads) == 12 and len({head.track_id for head in heads}) == 1
    for head in heads:
        assert not head.face_visible and head.score < 0.5
        assert (np.sqrt(np.diag(head.pose_covariance)[3:]) > np.deg2rad(30.0)).all()


def test_a_head_from_behind_is_followed_by_its_detections_and_ends_with_them(aligner):
    x0, y0, x1, y1 = BACK
    moving = [detections([[x0 + 4 * i, y0, x1 + 4 * i, y1]], face=0.1) for i in range(6)]
    answers = follow(HeadPipeline(aligner, ScriptedDetector(*moving, detections())), [WALL] * 16)
    assert {len(heads) for heads in answers[:12]} == {1}
    assert len({head.track_id for heads in answers for head in heads}) == 1
    assert not any(answers[12:])


def test_without_the_aligners_agreement_only_a_confident_detection_is_a_head(aligner):
    detector = ScriptedDetector(detections([BACK], score=0.6))
    assert not any(follow(HeadPipeline(aligner, detector), [WALL] * 4))


@pytest.mark.parametrize('roll', [90.0, 180.0, -90.0])
def test_a_head_at_any_roll_is_found_and_keeps_its_crop(aligner, face, roll):
    upright, = HeadPipeline(aligner, ScriptedDetector(detections([face]))).track(clip(MALE)[0])
    turns = round(-roll / 90)  # of np.rot90, counter-clockwise
    frame = np.ascontiguousarray(np.rot90(clip(MALE)[0], turns))
    height, width = frame.shape[:2]
    angle = np.deg2rad(roll)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = 0.5 * np.array([width - 1, height - 1])
    expected = (upright.landmarks[:, :2] - 0.5 * np.array([479, 269])) @ turn.T + middle
    box = np.concatenate([expected.min(0), expected.max(0)])
    detector = ScriptedDetector(detections([box], roll=roll + 15.0), only=frame)
    answers = follow(HeadPipeline(aligner, detector), [frame] * 6)
    assert len({head.track_id for heads in answers for head in heads}) == 1
    for head, in answers:
        assert head.score > 0.9
        error = np.linalg.norm(head.landmarks[:, :2] - expected, axis=1).mean()
        assert error < 0.03 * (face[3] - face[1])
        np.testing.assert_allclose(head.rotation[:2], turn @ upright.rotation[:2], atol=0.1)
