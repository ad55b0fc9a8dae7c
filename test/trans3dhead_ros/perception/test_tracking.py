"""Tracking on real clips with the bundled checkpoint: identity, start and end, jitter and lag."""

from dataclasses import replace

import numpy as np
import pytest
from clips import clip

from trans3dhead_ros import Camera, HeadPipeline
from trans3dhead_ros.boxes import iou
from trans3dhead_ros.geometry import geodesic_distance_deg
from trans3dhead_ros.perception.box_assignment import assign_boxes
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_ros.perception.head_track import Track
from trans3dhead_ros.perception.smoothing import Smoothing

PERIOD = 0.08
FEMALE, MALE = 'head-pose-face-detection-female', 'head-pose-face-detection-male'


@pytest.fixture(scope='module')
def pipeline():
    return HeadPipeline.load()


@pytest.fixture
def tracking(pipeline):
    """Return a pipeline without tracks."""
    return HeadPipeline(pipeline.aligner, pipeline.detector)


def follow(tracking, frames, start=0, **options):
    return [tracking.track(frame, stamp=PERIOD * (start + i), **options)
            for i, frame in enumerate(frames)]


def ids(answers):
    return {head.track_id for heads in answers for head in heads}


def test_a_head_that_turns_keeps_its_id_from_the_first_frame(tracking):
    answers = follow(tracking, clip(FEMALE))
    assert sum(len(heads) == 1 for heads in answers) >= 0.9 * len(answers)
    assert len(answers[0]) == 1 and len(ids(answers)) == 1
    yaw = [head.euler_deg[0] for heads in answers for head in heads]
    assert yaw[0] > 30.0 and min(yaw) < -15.0 and yaw[-1] > 0.0


def test_two_heads_that_tilt_keep_their_two_ids(tracking):
    answers = follow(tracking, clip('head-pose-face-detection-female-and-male'))
    assert len(ids(answers)) == 2
    for heads in answers[-30:]:
        assert len(heads) == 2 and all(head.euler_deg[2] < -25.0 for head in heads)


def test_a_head_at_rest_does_not_jitter(tracking, pipeline):
    frames = clip(MALE)
    answers = follow(tracking, frames)
    assert len(ids(answers)) == 1 and all(len(heads) == 1 for heads in answers)
    assert max(abs(heads[0].euler_deg[0]) for heads in answers) <= 5.0
    raw = HeadPipeline(pipeline.aligner, pipeline.detector, replace(
        pipeline.config, smoothing=Smoothing(enabled=False)))

    def jitter(sequence):
        points = np.array([heads[0].landmarks[:, :2] for heads in sequence])
        # Second differences: a slow drift is motion, not jitter.
        return np.sqrt((np.diff(points, n=2, axis=0) ** 2).sum(-1).mean())

    assert jitter(answers) < 0.35
    assert jitter(answers) < 0.7 * jitter(follow(raw, frames))


def test_tracking_does_not_lag_behind_a_head_that_turns(tracking, pipeline):
    for i, frame in enumerate(clip(FEMALE)):
        heads = tracking.track(frame, stamp=PERIOD * i)
        if heads:
            alone, = pipeline.align(frame, [heads[0].box])
            lag = geodesic_distance_deg(heads[0].rotation, alone.rotation)
            away = np.linalg.norm((heads[0].landmarks - alone.landmarks)[:, :2], axis=1)
            assert lag < 10.0 and away.mean() < 6.0, f'frame {i}'


@pytest.mark.parametrize('shade', [0, 128, 255])
def test_the_track_of_a_head_that_disappears_ends_within_five_frames(tracking, shade):
    frames = clip(MALE)
    follow(tracking, frames[:10])
    blank = np.full_like(frames[0], shade)
    answers = follow(tracking, [blank] * 6, start=10)
    assert all(not heads for heads in answers[5:])


def test_heads_are_found_within_two_images_of_their_appearance(tracking):
    """The first after an empty room, the second while that one is tracked."""
    frame = clip('head-pose-face-detection-female-and-male')[0]
    shade = frame[:20, :20].mean((0, 1)).astype(np.uint8)
    room, one = np.full_like(frame, shade), frame.copy()
    one[:, :200] = shade
    answers = follow(tracking, [room] * 3 + [one] * 3 + [frame] * 2)
    assert [len(heads) for heads in answers[:3]] == [0] * 3
    assert len(answers[4]) == 1 and len(answers[7]) == 2


def test_covering_one_head_ends_only_its_track(tracking):
    frames = clip('head-pose-face-detection-female-and-male')[:22]
    answers = follow(tracking, frames[:12])
    left, right = sorted(answers[-1], key=lambda head: head.box[0])
    covered = []
    for frame in frames[12:]:
        covered.append(frame.copy())
        covered[-1][:, :200] = frame[:20, :20].mean((0, 1)).astype(np.uint8)
    answers = follow(tracking, covered, start=12)
    assert ids(answers[5:]) == {right.track_id}
    assert left.track_id != right.track_id


def test_ids_are_never_reused(tracking):
    frames = clip(MALE)
    before = ids(follow(tracking, frames[:3]))
    follow(tracking, [np.zeros_like(frames[0])] * 6, start=3)
    after = ids(follow(tracking, frames[9:20], start=9))
    assert len(before) == len(after) == 1 and max(before) < min(after)


def test_after_a_reset_the_head_has_a_new_id(tracking):
    frame = clip(MALE)[0]
    first, = tracking.track(frame, stamp=0.0)
    tracking.reset()
    second, = tracking.track(frame, stamp=PERIOD)
    assert second.track_id > first.track_id


def test_ids_are_unique_over_all_cameras(pipeline):
    frame = clip(MALE)[0]
    cameras = [HeadPipeline(pipeline.aligner, pipeline.detector) for _ in range(3)]
    found = [camera.track(frame, stamp=0.0)[0].track_id for camera in cameras]
    assert len(set(found)) == 3


def test_a_head_that_crosses_the_picture_keeps_its_id(tracking):
    frame = clip(MALE)[0]
    answers = follow(tracking, [np.roll(frame, 8 * i - 100, axis=1) for i in range(25)])
    assert all(len(heads) == 1 for heads in answers) and len(ids(answers)) == 1
    middle = [0.5 * (heads[0].box[0] + heads[0].box[2]) for heads in answers]
    np.testing.assert_allclose(np.diff(middle)[5:], 8.0, atol=3.0)


def test_small_heads_keep_their_ids_without_duplicates(tracking):
    answers = follow(tracking, clip('classroom'))
    always = [track_id for track_id in ids(answers)
              if sum(track_id in {head.track_id for head in heads} for heads in answers) >= 40]
    assert len(always) >= 3
    for heads in answers:
        boxes = np.array([head.box for head in heads])
        overlap = iou(boxes, boxes)
        assert overlap[~np.eye(len(boxes), dtype=bool)].max(initial=0.0) < 0.35


def test_an_empty_picture_has_no_heads(tracking, pipeline):
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    for picture in (np.zeros_like(noise), noise):
        assert pipeline.detect(picture) == []
        assert all(not heads for heads in follow(tracking, [picture] * 8))


def test_stamps_may_be_missing_or_jump(tracking):
    frames = clip(MALE)
    for i, stamp in enumerate([None, None, 5.0, 5.0, 4.0, 100.0, None, 100.5]):
        head, = tracking.track(frames[i], stamp=stamp)
        assert all(np.isfinite(value).all() for value in vars(head).values()
                   if isinstance(value, np.ndarray))


def test_with_a_camera_the_tracked_pose_is_metric_and_agrees_with_the_picture(tracking):
    camera = Camera.from_fov((480, 270), 55.0)
    for heads in follow(tracking, clip(FEMALE), camera=camera):
        for head in heads:
            assert head.metric
            np.testing.assert_allclose(camera.project(head.vertices), head.vertices_px, atol=1e-6)
            points = head.vertices_px[tracking.landmark_indices]
            size = np.ptp(head.landmarks[:, :2], axis=0).max()
            apart = np.linalg.norm(points - head.landmarks[:, :2], axis=1)
            assert apart.mean() < 0.08 * size
            assert 0.3 < head.translation[2] < 3.0


def test_a_crop_ignores_small_shifts():
    track = Track(1, np.array([10.0, 10.0, 110.0, 110.0]))
    track.move_to(track.box + 2.0)
    np.testing.assert_array_equal(track.box, [10.0, 10.0, 110.0, 110.0])
    track.move_to(track.box + 5.0)
    np.testing.assert_array_equal(track.box, [15.0, 15.0, 115.0, 115.0])


def test_lost_tracks_are_assigned_to_the_nearest_detections():
    lost = [np.array([0.0, 0, 10, 10]), np.array([12.0, 0, 22, 10]), np.array([90.0, 0, 99, 10])]
    found = landmark_box(np.array([[[14.0, 0], [24, 10]], [[4.0, 0], [14, 10]]]))
    assert sorted(assign_boxes(lost, found, max_distance=1.0)) == [(0, 1), (1, 0)]
    assert assign_boxes([], found, max_distance=1.0) == []
