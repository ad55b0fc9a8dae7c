"""Locations near a head learn to find it, and what is not labelled has no loss."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from trans3dhead_ros.network.head_detector import Detection
from trans3dhead_training.detection.detection_batch import DetectionBatch
from trans3dhead_training.detection.labelled_picture import HeadLabels
from trans3dhead_training.detection.view_sampling import ViewLabels
from trans3dhead_training.losses.box_losses import giou_loss, pairwise_iou
from trans3dhead_training.losses.detector_criterion import (
    DetectorCriterion,
    DetectorLossWeights,
    locations,
)
from trans3dhead_training.losses.location_assignment import assign_locations

SIZE = 128
CPU = torch.device('cpu')
NO_BOXES = np.zeros((0, 4))


def batch_of(*heads: HeadLabels, ignored: np.ndarray = NO_BOXES,
             complete: bool = True) -> DetectionBatch:
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    return DetectionBatch.stack([image] * len(heads),
                                [ViewLabels(head, ignored) for head in heads],
                                [complete] * len(heads))


def answers(views: int) -> Detection:
    """Return uninformative outputs: boxes of a stride around every location."""
    cells, strides = locations((SIZE, SIZE), CPU)
    box = torch.cat([cells - strides[:, None], cells + strides[:, None]], dim=1)
    count = len(cells)
    return Detection(torch.zeros(views, count), torch.zeros(views, count),
                     torch.zeros(views, count, 2), box.repeat(views, 1, 1),
                     box.repeat(views, 1, 1))


def head(x: float, y: float, side: float, **more) -> HeadLabels:
    half = side / 2
    return HeadLabels.of_boxes(np.array([[x - half, y - half, x + half, y + half]]), **more)


@pytest.mark.parametrize('side', [6, 10, 24, 60, 110, 400])
def test_every_head_is_assigned_to_locations_at_its_centre(side):
    cells, strides = locations((SIZE, SIZE), CPU)
    assigned = assign_locations(answers(1), batch_of(head(61, 66, side)), cells, strides)
    assert 1 <= len(assigned.location) <= 8
    distance = (cells[assigned.location] - torch.tensor([61.0, 66.0])).abs().amax(dim=1)
    assert (distance <= 1.5 * strides[assigned.location]).all()


def test_large_heads_are_found_at_coarse_levels():
    cells, strides = locations((SIZE, SIZE), CPU)
    for side, expected in ((12, {8.0}), (110, {16.0, 32.0})):
        assigned = assign_locations(answers(1), batch_of(head(64, 64, side)), cells, strides)
        assert set(strides[assigned.location].tolist()) <= expected


def test_a_location_finds_one_head_and_heads_stay_in_their_view():
    cells, strides = locations((SIZE, SIZE), CPU)
    pair = HeadLabels.join([head(40, 40, 24), head(46, 40, 24)])
    assigned = assign_locations(answers(2), batch_of(pair, head(90, 90, 30)), cells, strides)
    places = (assigned.view * len(cells) + assigned.location).tolist()
    assert len(places) == len(set(places))
    assert assigned.view.tolist() == [[0, 0, 1][number] for number in assigned.head.tolist()]
    assert set(assigned.head.tolist()) == {0, 1, 2}


def test_a_better_answer_attracts_the_assignment():
    cells, strides = locations((SIZE, SIZE), CPU)
    batch = batch_of(head(64, 64, 24))
    found = answers(1)
    near = ((cells - 64).abs().amax(dim=1) < 10) & (strides == 8)
    chosen = int(near.nonzero()[0, 0])
    found.head_box[0, chosen] = batch.head_box[0]
    assert chosen in assign_locations(found, batch, cells, strides).location.tolist()


def test_views_without_heads_have_a_loss_of_their_scores_alone():
    loss, terms = DetectorCriterion(DetectorLossWeights())(answers(2), batch_of(
        HeadLabels.none(), HeadLabels.none()))
    assert terms['score'] > 0 and float(loss) == pytest.approx(terms['score'])
    assert all(terms[name] == 0 for name in ('head_box', 'landmark_box', 'roll', 'face'))


def gradient_of_score(batch: DetectionBatch) -> torch.Tensor:
    found = answers(len(batch.images))
    score = found.score.requires_grad_()
    loss, _ = DetectorCriterion(DetectorLossWeights())(replace(found, score=score), batch)
    loss.backward()
    return score.grad


def test_ignored_boxes_have_no_loss():
    box = np.array([[-0.5, -0.5, 63.5, 127.5]])
    gradient = gradient_of_score(batch_of(head(100, 64, 24), ignored=box))[0]
    cells, _ = locations((SIZE, SIZE), CPU)
    left = cells[:, 0] <= 63.5
    near = (cells - torch.tensor([100.0, 64.0])).abs().amax(dim=1) <= 24
    assert gradient[left].abs().max() == 0 and (gradient[~left & ~near] > 0).all()


def test_a_location_near_a_head_is_assigned_to_it_or_ignored():
    cells, strides = locations((SIZE, SIZE), CPU)
    batch = batch_of(head(64, 64, 24))
    assigned = assign_locations(answers(1), batch, cells, strides)
    gradient = gradient_of_score(batch)[0]
    chosen = torch.zeros(len(cells), dtype=torch.bool)
    chosen[assigned.location] = True
    assert (gradient[chosen] < 0).all()
    spared = assigned.candidate[0] & ~chosen
    assert spared.any() and (gradient[spared] == 0).all()
    assert (gradient[~assigned.candidate[0]] > 0).all()


def test_a_labelled_head_in_an_ignored_box_still_has_a_loss():
    box = np.array([[-0.5, -0.5, 127.5, 127.5]])
    gradient = gradient_of_score(batch_of(head(64, 64, 24), ignored=box))[0]
    assert 1 <= int((gradient < 0).sum()) <= 8 and int((gradient > 0).sum()) == 0


def test_views_with_unlabelled_heads_have_no_loss_of_false_heads():
    gradient = gradient_of_score(batch_of(head(64, 64, 24), complete=False))[0]
    assert int((gradient > 0).sum()) == 0 and int((gradient < 0).sum()) >= 1


def test_unknown_boxes_roll_and_face_have_no_gradient():
    face_only = HeadLabels.of_boxes(None, np.array([[50.0, 50, 74, 74]]))
    found = answers(1)
    leaves = {name: getattr(found, name).requires_grad_()
              for name in ('head_box', 'landmark_box', 'up', 'face')}
    loss, _ = DetectorCriterion(DetectorLossWeights())(replace(found, **leaves),
                                                       batch_of(face_only))
    loss.backward()
    assert leaves['landmark_box'].grad.abs().max() > 0
    for name in ('head_box', 'up', 'face'):
        assert leaves[name].grad.abs().max() == 0, name


def test_gradient_descent_makes_the_predictions_correct():
    heads = HeadLabels.of_boxes(np.array([[40.0, 36, 80, 92]]), np.array([[46.0, 52, 74, 88]]),
                                up_weight=1.0, face=1.0)
    turned = heads.moved(np.array([[0.0, -1, 127], [1, 0, 0]]))
    batch = batch_of(turned)
    found = answers(1)
    leaves = {name: value.clone().requires_grad_() for name, value in vars(found).items()}
    optimizer = torch.optim.Adam(leaves.values(), lr=0.3)
    criterion = DetectorCriterion(DetectorLossWeights())
    for _ in range(250):
        optimizer.zero_grad()
        criterion(Detection(**leaves), batch)[0].backward()
        optimizer.step()
    best = int(leaves['score'][0].argmax())
    assert pairwise_iou(leaves['head_box'][0, best], batch.head_box[0]) > 0.95
    assert pairwise_iou(leaves['landmark_box'][0, best], batch.landmark_box[0]) > 0.95
    # A quarter turn clockwise is a roll of 90 degrees.
    assert leaves['up'][0, best].tolist() == pytest.approx([0.0, 1.0], abs=0.02)
    assert leaves['face'][0, best] > 2


def test_giou_pulls_boxes_together_that_do_not_overlap():
    box = torch.tensor([0.0, 0, 10, 10])
    far, near = torch.tensor([30.0, 0, 40, 10]), torch.tensor([12.0, 0, 22, 10])
    assert giou_loss(box, box) == pytest.approx(0.0)
    assert 1 < giou_loss(box, near) < giou_loss(box, far) < 2
    assert pairwise_iou(box, torch.tensor([5.0, 0, 15, 10])) == pytest.approx(1 / 3)
