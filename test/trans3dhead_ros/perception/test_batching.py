"""Cameras that share a network share its batches, and nothing else."""

import numpy as np
import pytest
from synthetic import aligner_of, small_network

from trans3dhead_ros import Camera, HeadPipeline
from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.network.checkpoint import load_head_model
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.perception.batching import InferenceRequest, run_batched, run_single
from trans3dhead_training.synthesis.preview.head_renderer import HeadRenderer

BOXES = np.array([[10.0, 8.0, 50.0, 52.0], [20.0, 20.0, 44.0, 40.0], [0.0, 0.0, 30.0, 30.0]])


@pytest.fixture(scope='module')
def aligner():
    return aligner_of(small_network())


def noise(seed, shape=(64, 80, 3)):
    return np.random.default_rng(seed).integers(0, 255, shape, np.uint8)


def test_boxes_of_several_images_give_the_same_results_as_alone(aligner):
    requests = [(noise(0), BOXES), (noise(1, (96, 48, 3)), BOXES[:0]), (noise(2), BOXES[:2])]
    for (image, boxes), found in zip(requests, aligner.align_images(requests), strict=True):
        alone = aligner.align(image, boxes)
        assert len(found) == len(boxes)
        np.testing.assert_allclose(found.landmarks, alone.landmarks, atol=1e-3)
        np.testing.assert_allclose(found.rotation, alone.rotation, atol=1e-4)


class Counting(HeadAligner):
    """Counts the boxes of each of its batches."""

    def align_images(self, requests):
        self.batches = [*getattr(self, 'batches', []), sum(len(boxes) for _, boxes, *_ in requests)]
        return super().align_images(requests)


def task(image, boxes, count):
    """Make `count` requests and return the scores."""
    scores = []
    for _ in range(count):
        found = yield InferenceRequest(image, boxes)
        scores.append(found.score)
    return scores


def test_simultaneous_requests_go_through_the_network_as_one_batch():
    counting = aligner_of(small_network(), Counting)
    first, second = run_batched(counting, [
        task(noise(0), BOXES, 3), task(noise(1), BOXES[:1], 1)])
    assert counting.batches == [4, 3, 3]
    assert (len(first), len(second)) == (3, 1)
    assert run_batched(counting, []) == []


def test_a_task_that_fails_does_not_affect_the_others(aligner):
    def bad_request():
        yield InferenceRequest('not an image', BOXES)

    def defect():
        yield InferenceRequest(noise(0), BOXES)
        raise RuntimeError('a defect')

    good, refused, broken = run_batched(aligner, [
        task(noise(3), BOXES, 2), bad_request(), defect()])
    np.testing.assert_allclose(good[0], run_single(aligner, task(noise(3), BOXES, 1))[0], atol=1e-5)
    assert isinstance(refused, Exception)
    assert isinstance(broken, RuntimeError) and str(broken) == 'a defect'


def test_batched_pipelines_find_what_each_finds_alone():
    renderer = HeadRenderer.from_model(load_head_model())
    wall = np.full((240, 320, 3), 120, np.uint8)
    camera = Camera.from_fov((320, 240), 60.0)
    clips = [[renderer.render(wall, camera, rotation_from_euler(np.array([yaw, 0.0, 0.0])),
                              np.array([side, 0.0, 0.5])) for yaw in (0.0, 4.0, 8.0)]
             for side in (-0.05, 0.05)]
    first = HeadPipeline.load(device='cpu')
    together = [HeadPipeline(first.aligner, first.detector) for _ in clips]
    alone = [HeadPipeline(first.aligner, first.detector) for _ in clips]
    identities = set()
    for at in range(3):
        answers = run_batched(first.aligner, [
            pipeline.tracking_task(clip[at], 0.04 * at)
            for pipeline, clip in zip(together, clips, strict=True)])
        for heads, pipeline, clip in zip(answers, alone, clips, strict=True):
            expected, = pipeline.track(clip[at], 0.04 * at)
            head, = heads
            np.testing.assert_allclose(head.landmarks, expected.landmarks, atol=0.05)
            identities.add(head.track_id)
    assert len(identities) == 2
