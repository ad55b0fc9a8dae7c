"""Faces at a border: the evaluation crops pictures so that a side of them cuts a face."""

import numpy as np

from trans3dhead_training.detection.labelled_picture import HeadLabels, LabelledPicture
from trans3dhead_training.evaluation.detection_evaluation import evaluate_detector
from trans3dhead_training.predictors.head_detectors import FoundHeads, PeerDetector

FACE = np.array([200, 100, 260, 160])


def bright(image: np.ndarray) -> FoundHeads:
    """Find the bright face if at least 60 % of it are in the image."""
    rows, columns = np.nonzero(image[..., 0])
    if len(rows) < 0.6 * 60 * 60:
        return FoundHeads(np.zeros(0), np.zeros((0, 4)))
    box = np.array([[columns.min(), rows.min(), columns.max(), rows.max()]], dtype=float)
    return FoundHeads(np.array([0.9]), box)


def test_seventy_percent_of_each_face_remain_at_every_border():
    image = np.zeros((300, 400, 3), np.uint8)
    image[FACE[1]:FACE[3], FACE[0]:FACE[2]] = 255
    pictures = [LabelledPicture(image, HeadLabels.of_boxes(None, FACE[None].astype(float)), False)
                for _ in range(4)]
    sizes = []

    def find(searched: np.ndarray) -> FoundHeads:
        sizes.append(searched.shape[:2])
        return bright(searched)

    metrics = evaluate_detector(PeerDetector(find, 0.5), 'masks', pictures).metrics
    assert metrics['recall_cut'] == 1.0
    assert sizes[4:] == [(300, 182), (182, 400), (300, 242), (142, 400)]
