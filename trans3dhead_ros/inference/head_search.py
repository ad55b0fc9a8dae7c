"""Search a whole image for heads with a detector in an engine."""

from __future__ import annotations

import cv2
import numpy as np

from trans3dhead_ros.inference.engine import Engine
from trans3dhead_ros.inference.head_detections import (
    DEFAULT_SCORE,
    HeadDetections,
    select_heads,
)
from trans3dhead_ros.model_files.detector_metadata import DETECTOR_STRIDE
from trans3dhead_ros.types import Float32Array, Image


class HeadSearch:
    """
    A detector of whole heads for images of any size.

    :param engine: runs a graph of a detector.
    :param longer_side: images are resized to this longer side, px; 0 leaves them as they are.
    :param min_score: smallest score of a head.

    Example::

        heads = HeadSearch(engine).search(cv2.imread('people.jpg'))
    """

    def __init__(self, engine: Engine, longer_side: int = 640,
                 min_score: float = DEFAULT_SCORE) -> None:
        self.engine = engine
        self.longer_side = longer_side
        self.min_score = min_score

    def search(self, image: Image) -> HeadDetections:
        """
        Find the heads of an image.

        :param image: (H, W, 3) uint8 BGR.
        :return: the heads, in px of the image.
        """
        height, width = image.shape[:2]
        scale = self.longer_side / max(height, width) if self.longer_side else 1.0
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        if size != (width, height):
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1
                               else cv2.INTER_LINEAR)
        heads, = select_heads(self.engine.run(network_input(image)[None]), self.min_score)
        ratio = np.array([width, height]) / size
        return heads.mapped(ratio, 0.5 * ratio - 0.5)


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
