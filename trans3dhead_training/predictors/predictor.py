"""The interface of everything that aligns the head in a box."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trans3dhead_ros.types import Array, Image
from trans3dhead_training.data.sample import Placement

if TYPE_CHECKING:
    from trans3dhead_ros.network.head_module import HeadModule

ImageBoxes = tuple[Image, Array]
"""An image (H, W, 3) BGR and boxes (N, 4) x0 y0 x1 y1 px in it, around the 68 landmarks."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """The prediction for one box; what a predictor does not estimate is None."""

    landmarks: Array
    """(68, 2) px, iBUG order: points fixed on the head, occluded ones included."""
    contour: Array | None = None
    """(68, 2) px with the jaw on the visible contour."""
    rotation: Array | None = None
    """(3, 3) head frame → camera optical frame, as it appears in the crop (weak perspective)."""
    score: float | None = None
    """Probability that the box holds a head, 0…1."""
    landmark_scale: Array | None = None
    """(68,) px, expected absolute error of a coordinate of `landmarks`, Laplace distributed."""
    shape: Array | None = None
    """(I,) identity coefficients of the predictor's `head_model`."""
    expression: Array | None = None
    """(E,) expression coefficients."""
    placement: Placement | None = None
    """Where the head model appears in the image."""
    pose_rotation: Array | None = None
    """(3, 3) rotation that `pose_covariance` belongs to, fitted to the landmarks as they appear to
    a distant camera that looks at the head."""
    pose_covariance: Array | None = None
    """(6, 6) of position and rotation about the fixed camera axes, m² and rad²."""


class Predictor(ABC):
    """
    Aligns the head in a box.

    Example::

        predictor = make_predictor('ours')
        alignment, = predictor.predict(image, box[None])
    """

    name: str
    head_model: HeadModule | None = None
    """The model of its coefficients; None where it predicts no mesh."""

    @abstractmethod
    def predict(self, image: Image, boxes: Array) -> list[Alignment]:
        """
        Align the head of every box.

        :param image: (H, W, 3) BGR.
        :param boxes: (N, 4) x0 y0 x1 y1 px, around the 68 landmarks.
        :return: one alignment per box, in order.
        """

    def predict_batch(self, requests: Sequence[ImageBoxes]) -> list[list[Alignment]]:
        """
        Align the heads of several images, in one batch where the predictor can.

        :param requests: images with their boxes.
        :return: for each image one alignment per box.
        """
        return [self.predict(image, boxes) for image, boxes in requests]
