"""Our own network as a predictor."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_ros.perception.aligner import Alignments, HeadAligner
from trans3dhead_ros.perception.assembly import HeadSize, build_heads, estimate_poses
from trans3dhead_ros.perception.head import Head
from trans3dhead_ros.types import Array, Image
from trans3dhead_training.data.sample import Placement
from trans3dhead_training.predictors.predictor import Alignment, ImageBoxes, Predictor

_DISTANCE = 5.0
"""m, of a camera for which the perspective within a head hardly matters."""


class AlignerPredictor(Predictor):
    """
    What `HeadPipeline.align` returns without a camera: rotations are those that crops show.

    :param model: path of either file of a model; None is the bundled one.
    :param device: auto, cpu, cuda or cuda:N.
    """

    name = 'ours'

    def __init__(self, model: str | Path | None, device: str) -> None:
        # An evaluation has the machine to itself, a robot's tracker does not.
        self.aligner = HeadAligner.load(model, device, threads=os.cpu_count() or 1)
        self.head_model = HeadModule.from_model(self.aligner.head_model)

    def predict(self, image: Image, boxes: Array) -> list[Alignment]:
        """Align the head of every box; see `Predictor`."""
        return self.predict_batch([(image, boxes)])[0]

    def predict_batch(self, requests: Sequence[ImageBoxes]) -> list[list[Alignment]]:
        """Align the heads of several images, all crops in one batch; see `Predictor`."""
        return [self._to_list(found, image) for found, (image, _) in zip(
            self.aligner.align_images(requests), requests, strict=True)]

    def _to_list(self, found: Alignments, image: Image) -> list[Alignment]:
        heads = self._pose(found, image)
        return [Alignment(
            landmarks=found.landmarks[i, :, :2], contour=found.contour[i],
            rotation=found.rotation[i], score=float(found.score[i]),
            landmark_scale=found.landmark_scale[i], shape=found.shape[i],
            expression=found.expression[i],
            placement=Placement(found.origin[i], float(np.log(found.scale[i]))),
            pose_rotation=head.rotation, pose_covariance=head.pose_covariance)
            for i, head in enumerate(heads)]

    def _pose(self, found: Alignments, image: Image) -> list[Head]:
        """
        Return the heads as a distant camera that looks at the first of them sees them.

        Datasets do not name their cameras, and their rotations are those that crops show.
        """
        if len(found) == 0:
            return []
        focal_length = _DISTANCE * found.scale[0]
        x, y = found.centre[0]
        camera = Camera(np.array([[focal_length, 0, x], [0, focal_length, y], [0, 0, 1]]))
        poses = estimate_poses(found, image, camera, HeadSize())
        return build_heads(self.aligner, found, poses, camera, HeadSize())
