"""Proposals become heads: thresholds, duplicates, the roll and the way back to the image."""

import numpy as np
import pytest
import torch
from detector_set import small_detector

from trans3dhead_ros.inference.head_detections import (
    HeadDetections,
    group_proposals,
    suppress_duplicates,
)
from trans3dhead_ros.inference.head_search import HeadSearch, network_input
from trans3dhead_ros.inference.torch_engine import TorchEngine
from trans3dhead_ros.network.head_detector import HeadProposals


def outputs(score: list[float], boxes: list[list[float]], roll_deg: float = 0.0) -> dict:
    count, roll = len(score), np.deg2rad(roll_deg)
    boxes = np.array(boxes, np.float32)[None]
    return {'score': np.array([score], np.float32), 'face': np.full((1, count), 0.25, np.float32),
            'up': np.tile(np.array([np.cos(roll), np.sin(roll)], np.float32), (1, count, 1)),
            'head_box': boxes, 'landmark_box': boxes + 1}


def heads(*arguments, min_score: float = 0.5, weights=None) -> HeadDetections:
    group, = group_proposals(outputs(*arguments))
    return group.fused(weights, min_score)


def test_only_heads_above_the_score_are_kept_best_first():
    found = heads([0.3, 0.9, 0.6], [[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]])
    np.testing.assert_allclose(found.score, [0.9, 0.6], atol=1e-6)
    assert found.head_box[:, 0].tolist() == [20, 40]
    assert found.landmark_box[:, 0].tolist() == [21, 41]


def test_of_boxes_that_overlap_the_best_one_remains():
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [7, 0, 17, 10], [40, 40, 50, 50.0]])
    assert suppress_duplicates(boxes, 0.5).tolist() == [0, 2, 3]
    assert suppress_duplicates(boxes, 0.1).tolist() == [0, 3]
    assert suppress_duplicates(np.zeros((0, 4)), 0.5).tolist() == []


def test_a_dropped_box_drops_no_other():
    # The second overlaps the first, the third only the second.
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10.0]])
    assert suppress_duplicates(boxes, 0.4).tolist() == [0, 2]


@pytest.mark.parametrize('roll_deg', [-170.0, -30.0, 0.0, 90.0])
def test_the_roll_is_an_angle(roll_deg):
    found = heads([0.9], [[0, 0, 9, 9]], roll_deg)
    assert found.roll_deg[0] == pytest.approx(roll_deg, abs=1e-3)
    assert found.face[0] == pytest.approx(0.25)


def test_images_are_padded_at_the_right_and_bottom():
    image = np.full((40, 70, 3), (255, 0, 51), np.uint8)
    batch = network_input(image)
    assert batch.shape == (3, 64, 96) and batch.dtype == np.float32
    np.testing.assert_allclose(batch[:, 39, 69], [0.2, 0.0, 1.0])
    assert batch[:, 40:].max() == batch[:, :, 70:].max() == 0


def test_boxes_come_back_in_pixels_of_the_image():
    """An image of twice the size gives boxes twice as large, edges measured from the corner."""
    detector = small_detector().eval()
    detector.calibration[0] = 6.0  # until it is trained, it finds nothing
    engine = TorchEngine(HeadProposals(detector))
    small = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    large = small.repeat(2, axis=0).repeat(2, axis=1)
    found = HeadSearch(engine, 96, 0.0).detect(small)
    twice = HeadSearch(engine, 96, 0.0).detect(large)
    assert len(found) == len(twice) > 0
    np.testing.assert_allclose(twice.head_box + 0.5, 2 * (found.head_box + 0.5), atol=1e-3)
    np.testing.assert_allclose(twice.landmark_box + 0.5, 2 * (found.landmark_box + 0.5), atol=1e-3)


def test_images_of_several_cameras_give_the_same_heads_as_each_alone():
    detector = small_detector().eval()
    detector.calibration[0] = 6.0
    search = HeadSearch(TorchEngine(HeadProposals(detector)), 96, 0.0)
    calls, run = [], search.engine.run
    search.engine.run = lambda batch: calls.append(batch.shape) or run(batch)
    generator = np.random.default_rng(1)
    images = [generator.integers(0, 256, (*size, 3), dtype=np.uint8)
              for size in ((64, 96), (96, 96), (64, 96), (128, 192))]
    together = search.detect_all(images)
    assert sorted(calls) == [(1, 3, 96, 96), (3, 3, 64, 96)]
    for image, found in zip(images, together, strict=True):
        alone = search.detect(image)
        assert len(alone) == len(found) > 0
        np.testing.assert_allclose(found.head_box, alone.head_box, atol=1e-2)
    assert search.detect_all([]) == []


def test_selecting_detections_does_not_import_torch():
    assert not any(isinstance(value, torch.Tensor)
                   for value in vars(heads([0.9], [[0, 0, 9, 9]])).values())


def test_a_head_found_at_several_locations_has_a_higher_score_and_lies_between_them():
    alone, together = [0, 0, 9, 9], [[40, 0, 50, 10], [41, 0, 51, 10], [42, 0, 52, 10]]
    scores = [0.8, 0.6, 0.6, 0.6]
    plain = heads(scores, [alone, *together])
    assert plain.score[0] == pytest.approx(0.8) and plain.head_box[0].tolist() == alone
    fused = heads(scores, [alone, *together], weights=[2.0, 1.0, 0.0, 1.0])
    assert len(fused) == 1  # the first has no support: 2 + logit(0.8) - 5 < 0
    np.testing.assert_allclose(fused.head_box, [[41, 0, 51, 10]], atol=1e-4)
    logit, support = np.log(0.6 / 0.4), (2 * np.log(0.6 / 0.4) - 2 * 5) / 4
    assert fused.score[0] == pytest.approx(1 / (1 + np.exp(-(2 + logit + support))), abs=1e-4)


def test_heights_change_the_score_of_heads():
    boxes = [[0, 0, 16, 16], [100, 0, 132, 32], [200, 0, 250, 50], [300, 0, 700, 400]]
    fused = heads([0.5] * 4, boxes, min_score=0.0, weights=[0.0, 1.0, -1.0, 0.0])
    # Above 45 px the height changes no more.
    factor = np.exp([-0.35, -0.35])
    np.testing.assert_allclose(fused.score, [2 / 3, 0.5, *(factor / (1 + factor))], atol=1e-4)
    assert fused.head_box[:2, 0].tolist() == [0, 100]


def test_an_image_without_proposals_has_no_heads():
    assert len(heads([0.001], [[0, 0, 9, 9]], min_score=0.0, weights=[0.0, 1, 0, 0])) == 0


@pytest.mark.parametrize('quarters', range(4))
def test_boxes_and_rolls_of_a_turned_image_are_turned_back(quarters):
    image = np.zeros((40, 60), np.uint8)
    image[5:11, 20:31] = 255
    y, x = np.nonzero(np.rot90(image, quarters))
    box = np.array([[x.min(), y.min(), x.max(), y.max()]], float)
    found = HeadDetections(np.ones(1), np.ones(1), np.array([10.0]), box, box + 1.0)
    back = found.turned_back(quarters, (60, 40))
    np.testing.assert_array_equal(back.head_box, [[20, 5, 30, 10]])
    np.testing.assert_allclose(np.exp(1j * np.deg2rad(back.roll_deg - 10.0)), 1j ** quarters)
