"""Faces and predictions with known errors, for tests of the evaluation."""

from pathlib import Path

import cv2
import numpy as np

from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.evaluation.face_result import FaceResult
from trans3dhead_training.predictors import Alignment, Predictor

POINTS = np.random.default_rng(5).uniform([30, 20], [130, 120], (68, 2))
BOX = np.array([40.0, 30.0, 120.0, 100.0])
SIZE = float(np.sqrt(np.prod(np.ptp(POINTS, axis=0))))


def face_result(
    euler_deg: tuple, predicted_deg: tuple, shift: float, source: str = 'set',
) -> FaceResult:
    """A face labelled in 3D whose points are predicted `shift` px too far right."""
    sample = Sample(Path('face.jpg'), source, 'photo', True, points=POINTS, points_are_3d=True,
                    rotation=rotation_from_euler(np.array(euler_deg, float)))
    return FaceResult(sample, Alignment(POINTS + np.array([shift, 0.0]), POINTS,
                                        rotation_from_euler(np.array(predicted_deg, float))))


def posed(folder: Path, euler_deg: tuple = (10, 0, 0), source: str = 'biwi') -> Sample:
    """A sample of a set that has a pose and a box, and no landmarks."""
    cv2.imwrite(str(folder / 'head.png'), np.full((160, 200, 3), 99, np.uint8))
    return Sample(folder / 'head.png', source, 'person', True, given_box=BOX,
                  rotation=rotation_from_euler(np.array(euler_deg, float)))


def pointed(folder: Path, name: str = 'face') -> Sample:
    """A sample labelled in 2D, with a picture of noise."""
    image = np.random.default_rng(2).integers(0, 256, (160, 160, 3), np.uint8)
    cv2.imwrite(str(folder / f'{name}.png'), image)
    return Sample(folder / f'{name}.png', 'noise', name, True, points=POINTS)


class ConstantPredictor(Predictor):
    """Returns the same rotation for every box, and points that fill the box."""

    name = 'steady'

    def predict(self, image: np.ndarray, boxes: np.ndarray) -> list[Alignment]:
        unit = (POINTS - POINTS.min(axis=0)) / np.ptp(POINTS, axis=0)
        return [Alignment(box[:2] + unit * (box[2:] - box[:2]), score=0.5,
                          rotation=rotation_from_euler(np.array([12.0, 0, 0]))) for box in boxes]
