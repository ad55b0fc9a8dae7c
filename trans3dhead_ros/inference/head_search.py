"""Search a whole image for heads with a detector in an engine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from trans3dhead_ros.inference.engine import Engine
from trans3dhead_ros.inference.head_detections import (
    DEFAULT_SCORE,
    HeadDetections,
    HeadProposalGroups,
    group_proposals,
)
from trans3dhead_ros.inference.open_engine import choose_engine, open_engine
from trans3dhead_ros.model_files.detector_files import open_detector
from trans3dhead_ros.model_files.detector_metadata import DETECTOR_STRIDE, SCORE_FUSION
from trans3dhead_ros.model_files.model_pair import NetworkFiles
from trans3dhead_ros.types import Float32Array, Image


class HeadSearch:
    """
    A detector of whole heads, from every side, for images of any size.

    :param engine: runs the detector's graph.
    :param longer_side: images are resized to this longer side, px; 0 leaves them as they are.
    :param min_score: smallest score of a head.
    :param files: of the detector; None for one that `moved` leaves where it is.
    :param fusion: see `HeadProposalGroups.fused`; None: that of the files.

    Example::

        heads = HeadSearch.load().detect(cv2.imread('people.jpg'))
    """

    def __init__(
        self, engine: Engine, longer_side: int = 640, min_score: float = DEFAULT_SCORE,
        files: NetworkFiles | None = None, fusion: Sequence[float] | None = None,
    ) -> None:
        self.engine = engine
        self.longer_side = longer_side
        self.min_score = min_score
        self.files = files
        if fusion is None and files is not None:
            fusion = files.metadata.get(SCORE_FUSION)
        self.fusion = fusion

    @classmethod
    def load(
        cls, model: str | os.PathLike[str] | None = None, device: str = 'auto',
        backend: str = 'auto', threads: int = 0, *, longer_side: int = 640,
        min_score: float = DEFAULT_SCORE,
    ) -> HeadSearch:
        """
        Load a detector.

        :param model: path of either file of a detector, or the name of one that comes with the
            package, 'default' or 'open'; None is 'default'.
        :param device: 'auto', 'cpu', 'cuda' or 'cuda:N'.
        :param backend: 'auto', 'onnxruntime', 'openvino', 'opencv' or 'torch'.
        :param threads: of the CPU; 0 is at most two.
        :param longer_side: see the class.
        :param min_score: see the class.
        :return: the detector.
        :raises UserError: for a device or an engine that does not exist, or a file that is not a
            valid detector.
        """
        files = open_detector(model)
        engine = open_engine(files, backend, device, threads)
        return cls(engine, longer_side, min_score, files)

    def moved(self, device: str, backend: str = 'auto', threads: int = 0) -> HeadSearch:
        """Return this detector on a device, see `HeadAligner.moved`."""
        if self.files is None or choose_engine(self.files, backend, device) == (
                self.engine.backend, self.engine.device):
            return self
        return HeadSearch(open_engine(self.files, backend, device, threads), self.longer_side,
                          self.min_score, self.files)

    def detect(self, image: Image) -> HeadDetections:
        """
        Find the heads of an image.

        :param image: (H, W, 3) uint8 BGR.
        :return: the heads, in px of the image.
        """
        return self.detect_all([image])[0]

    def detect_all(self, images: Sequence[Image]) -> list[HeadDetections]:
        """
        Find the heads of several images, such as those of several cameras.

        :param images: as for `detect`. Those of one size are searched in one call of the network.
        :return: the heads of each image, in its px.
        """
        return [found.fused(self.fusion, self.min_score) for found in self.groups(images)]

    def groups(self, images: Sequence[Image]) -> list[HeadProposalGroups]:
        """Return what speaks for the heads of images, see `detect_all`."""
        searched = [image if not self.longer_side else resized(image, self.longer_side)
                    for image in images]
        inputs = list(map(network_input, searched))
        found: dict[int, HeadProposalGroups] = {}
        for shape in dict.fromkeys(single.shape for single in inputs):
            numbers = [number for number, single in enumerate(inputs) if single.shape == shape]
            outputs = self.engine.run(np.stack([inputs[number] for number in numbers]))
            for number, group in zip(numbers, group_proposals(outputs), strict=True):
                ratio = np.divide(images[number].shape[1::-1], searched[number].shape[1::-1])
                found[number] = replace(group, heads=group.heads.mapped(ratio, 0.5 * ratio - 0.5))
        return [found[number] for number in range(len(images))]


def resized(image: Image, longer_side: int) -> Image:
    """Return an image (H, W, 3) scaled to a longer side, px; itself if it has that size."""
    height, width = image.shape[:2]
    scale = longer_side / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    if size == (width, height):
        return image
    if height == width == 1:
        image = np.repeat(image, 2, axis=0)  # OpenCV 4.5 takes no image of one pixel
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1
                      else cv2.INTER_LINEAR)


def network_input(image: Image) -> Float32Array:
    """
    Return what a detector takes: an image that is padded with black at the right and bottom.

    :param image: (H, W, 3) uint8 BGR.
    :return: (3, H', W') RGB in 0..1; H' and W' are multiples of 32.
    """
    height, width = image.shape[:2]
    padded = np.zeros((3, -(-height // DETECTOR_STRIDE) * DETECTOR_STRIDE,
                       -(-width // DETECTOR_STRIDE) * DETECTOR_STRIDE), np.float32)
    np.divide(image[..., ::-1].transpose(2, 0, 1), np.float32(255),
              out=padded[:, :height, :width])
    return padded
