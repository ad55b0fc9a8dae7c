"""The pipeline itself as a predictor."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.perception.pipeline import HeadPipeline
from trans3dhead_ros.training.predictors.interface import Alignment, Array


class PipelinePredictor:
    """`HeadPipeline.align` without a camera, so that rotations are those that the crop shows."""

    name = 'ours'

    def __init__(self, model: str | Path | None, device: str) -> None:
        self._pipeline = HeadPipeline.load(model=model, device=device)

    def predict(self, image: NDArray[np.uint8], boxes: Array) -> list[Alignment]:
        """Align the head of every box; see `Predictor`."""
        return [Alignment(head.landmarks[:, :2], head.landmarks_contour, head.rotation,
                          head.score)
                for head in self._pipeline.align(image, boxes)]
