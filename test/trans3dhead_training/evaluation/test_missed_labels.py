"""Heads that labellers missed: a detector that finds them is not counted as wrong."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from trans3dhead_training.data.labels import is_held_out
from trans3dhead_training.detection.detection_dataset import DetectionDataset, DetectionSampling
from trans3dhead_training.detection.labelled_picture import HeadLabels, LabelledPicture
from trans3dhead_training.detection.picture_sources import MISSED_LABELS
from trans3dhead_training.evaluation.detection_evaluation import evaluate_detector
from trans3dhead_training.predictors.head_detectors import FoundHeads, PeerDetector

LABELLED, MISSED = np.array([[10.0, 10, 40, 50]]), np.array([[60.0, 10, 90, 50]])


def test_detecting_a_missed_head_does_not_count_as_false_in_the_verified_recall():
    # The missed head is the surest, so that at 0.1 false a picture it hides the labelled one.
    found = FoundHeads(np.array([0.9, 0.5]), np.concatenate([MISSED, LABELLED]))
    pictures = [LabelledPicture(np.zeros((100, 100, 3), np.uint8), HeadLabels.of_boxes(LABELLED),
                                missed=HeadLabels.of_boxes(MISSED)) for _ in range(3)]
    metrics = evaluate_detector(PeerDetector(lambda image: found, 0.5), 'heads', pictures,
                                variants=False).metrics
    assert metrics['recall_at_0.1'] == {'24-48': 0.0}
    assert metrics['verified_recall_at_0.1'] == {'24-48': 1.0}


def test_missed_heads_shrink_with_their_picture():
    picture = LabelledPicture(np.zeros((100, 1216, 3), np.uint8), HeadLabels.of_boxes(LABELLED),
                              missed=HeadLabels.of_boxes(MISSED)).shrunk()
    assert picture.missed.head_box[0, 3] == pytest.approx(24.75)


def test_training_views_ignore_missed_heads_in_the_loss():
    picture = LabelledPicture(np.zeros((100, 100, 3), np.uint8), HeadLabels.of_boxes(LABELLED),
                              missed=HeadLabels.of_boxes(MISSED))
    heads = {'heads': [picture]}
    sampling = DetectionSampling(size=96, mosaic_share=0.0)
    batch = DetectionDataset(heads, sampling).training_batch(4, (0,))
    assert len(batch.ignored_box) >= 4
    other = DetectionDataset({'heads': [replace(picture, missed=HeadLabels.none())]}, sampling)
    assert len(other.training_batch(4, (0,)).ignored_box) == len(batch.ignored_box) - 4


def test_the_listed_heads_are_boxes_of_pictures():
    with MISSED_LABELS.open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert {is_held_out(row['file']) for row in rows} == {True, False}
    assert all(float(row['x0']) < float(row['x1']) and float(row['y0']) < float(row['y1'])
               for row in rows)
