"""Our own network as a predictor."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.perception.aligner import Alignments, HeadAligner
from trans3dhead_training.data.sample import Placement
from trans3dhead_training.predictors.predictor import Alignment, Array, Look, Predictor


class AlignerPredictor(Predictor):
    """What `HeadPipeline.align` answers without a camera: rotations are those that crops show."""

    name = 'ours'

    def __init__(self, model: str | Path | None, device: str) -> None:
        self._aligner = HeadAligner.load(model, device)
        self.head_model = self._aligner.network.head_model

    def predict(self, image: NDArray[np.uint8], boxes: Array) -> list[Alignment]:
        """Align the head of every box; see `Predictor`."""
        return self.predict_each([(image, boxes)])[0]

    def predict_each(self, looks: Sequence[Look]) -> list[list[Alignment]]:
        """Align the heads of several pictures, all crops in one batch; see `Predictor`."""
        return [_listed(found) for found in self._aligner.align_images(looks)]


def _listed(found: Alignments) -> list[Alignment]:
    return [Alignment(
        landmarks=found.landmarks[i, :, :2], contour=found.contour[i], rotation=found.rotation[i],
        score=float(found.score[i]), landmark_scale=found.landmark_scale[i], shape=found.shape[i],
        expression=found.expression[i],
        placement=Placement(found.origin[i], float(np.log(found.scale[i]))))
        for i in range(len(found))]
