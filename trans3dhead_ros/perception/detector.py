"""
Detectors, which find heads in a whole image: our own network, or YuNet.

A *landmark box* is the tight box of the 68 landmarks, from which crops are made. Detections can be
false positives: the aligner verifies those that show a face.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.inference.head_detections import (
    MAX_OVERLAP,
    HeadDetections,
    suppress_duplicates,
)
from trans3dhead_ros.inference.head_search import HeadSearch, resized
from trans3dhead_ros.model_files.detector_files import is_detector
from trans3dhead_ros.model_files.model_metadata import is_bundled_name
from trans3dhead_ros.model_files.model_pair import CHECKPOINT_SUFFIX
from trans3dhead_ros.types import Array, Image

MIN_SCORE = 0.2
"""Smallest score of a detection: such a low one confirms a track, and does not start one."""


class Detector(Protocol):
    """The interface of a detector."""

    def detect(self, image: Image) -> HeadDetections:
        """
        Find heads.

        :param image: (H, W, 3) BGR.
        :return: the heads with a score of at least `MIN_SCORE`, best first.
        """
        ...

    def moved(self, device: str, backend: str = 'auto', threads: int = 0) -> Detector:
        """
        Return the same detector on a device.

        :param device: 'auto', 'cpu', 'cuda' or 'cuda:N'.
        :param backend: the engine, where the detector has one.
        :param threads: of the CPU; 0 is at most two.
        :return: this detector where it is there already, else another one.
        """
        ...


QUARTER_TURNS = (2, 1, 3)
"""Turns by 90° of an image in which an upright head is sought, after the image as it is."""


def detect_turned(detector: Detector, image: Image, quarters: int) -> HeadDetections:
    """
    Find the heads of an image after turning it, because detectors find upright heads best.

    :param detector: finds them.
    :param image: (H, W, 3) BGR.
    :param quarters: turns by 90°, counter-clockwise.
    :return: the heads, in px of the image.
    """
    if quarters % 4 == 0:
        return detector.detect(image)
    turned = np.ascontiguousarray(np.rot90(image, quarters))
    return detector.detect(turned).turned_back(quarters, image.shape[1::-1])


def detect_with_border(detector: Detector, image: Image) -> HeadDetections:
    """
    Find the heads of an image after adding a border, because detectors miss heads that fill it.

    :param detector: finds them.
    :param image: (H, W, 3) uint8 BGR.
    :return: the heads, in px of the image.
    """
    size = np.array(image.shape[1::-1])
    # A large image is reduced first, so that the border does not multiply its memory.
    framed = resized(image, min(_FRAMED_SIDE, size.max()))
    ratio, border = size / framed.shape[1::-1], round(_BORDER * max(framed.shape[:2]))
    framed = cv2.copyMakeBorder(framed, *[border] * 4, cv2.BORDER_REPLICATE)
    return detector.detect(framed).mapped(ratio, ratio * (0.5 - border) - 0.5)


@dataclass(frozen=True)
class BoxMap:
    """Map from a detector's boxes to landmark boxes, in units of the sides of the former."""

    dx: float
    """Offset of the centre to the right."""
    dy: float
    """Offset of the centre down."""
    width: float
    """Width of the landmark box."""
    height: float
    """Height of the landmark box."""

    def __call__(self, boxes: Array) -> Array:
        """Map boxes (N, 4) x y w h to (N, 4) x0 y0 x1 y1."""
        sides = boxes[:, 2:]
        centres = boxes[:, :2] + sides * (0.5 + np.array([self.dx, self.dy]))
        halves = 0.5 * sides * np.array([self.width, self.height])
        return np.concatenate([centres - halves, centres + halves], axis=1)


# Medians over photographs, as printed by `python benchmarks/calibrate_yunet.py`.
_YUNET = BoxMap(0.0, 0.128, 1.028, 0.738)
# Of the longer side of a face; in a profile, eyes that are closer do not tell the roll.
_MIN_EYE_DISTANCE = 0.25
# Longer side of an image that gets a border, px, and the width of the border in that side.
_FRAMED_SIDE, _BORDER = 640, 0.5


class YuNetDetector:
    """
    The YuNet face detector through `cv2.FaceDetectorYN`; it runs on the CPU.

    :param path: a YuNet ONNX model of fixed input size (OpenCV cannot read the dynamic one); images
        can have any size.
    :param score_threshold: smallest score of a proposal.
    :raises UserError: when the file is missing or not such a model.

    Example::

        pipeline = HeadPipeline(HeadAligner.load(), YuNetDetector('yunet_n_640_640.onnx'))
    """

    LONGER_SIDE = 960
    """Larger images are shrunk to this longer side, px; heads of 10 px are detected in that."""

    def __init__(
        self, path: str | os.PathLike[str], score_threshold: float = MIN_SCORE,
    ) -> None:
        path = Path(path)
        if not path.is_file():
            raise UserError(f'detector: no such file {path}; name a head detector or a YuNet '
                            '.onnx file, or none for the bundled one')
        try:
            self._network = cv2.FaceDetectorYN.create(str(path), '', (320, 320), score_threshold)
            self._network.detect(np.zeros((320, 320, 3), np.uint8))
        except cv2.error as error:
            reason = str(error).strip().splitlines()[-1]
            raise UserError(f'detector: {path} is neither a head detector nor a YuNet model of '
                            f'fixed input size that this OpenCV reads ({reason})') from None

    def detect(self, image: Image) -> HeadDetections:
        """Find faces, see `Detector.detect`; their head box is YuNet's own, of the face."""
        height, width = image.shape[:2]
        image = resized(image, min(self.LONGER_SIDE, max(height, width)))
        size = image.shape[1::-1]
        self._network.setInputSize(size)
        _, found = self._network.detect(image)
        found = np.zeros((0, 15)) if found is None else found.astype(np.float64)
        found = found[np.isfinite(found).all(axis=1)]
        found = found[np.argsort(-found[:, 14], kind='stable')]
        boxes = found[:, :4]
        # From the person's right eye to the left one, which is the image's right.
        eyes = found[:, 6:8] - found[:, 4:6]
        apart = np.linalg.norm(eyes, axis=1)
        roll = np.where(apart > _MIN_EYE_DISTANCE * boxes[:, 2:].max(axis=1, initial=0.0),
                        np.rad2deg(np.arctan2(eyes[:, 1], eyes[:, 0])), 0.0)
        heads = HeadDetections(
            score=found[:, 14], face=np.ones(len(found)), roll_deg=roll,
            head_box=np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1),
            landmark_box=_YUNET(boxes))
        ratio = np.array([width, height]) / size
        return heads[suppress_duplicates(heads.landmark_box, MAX_OVERLAP)].mapped(
            ratio, np.full(2, -0.5))

    def moved(self, device: str, backend: str = 'auto', threads: int = 0) -> YuNetDetector:
        """Return this detector."""
        return self


def make_detector(
    model: str | os.PathLike[str] | None = None, device: str = 'auto', backend: str = 'auto',
    threads: int = 0,
) -> Detector:
    """
    Load a detector.

    :param model: path of either file of a head detector, or of a YuNet ONNX file, or the name of a
        detector that comes with the package, 'default' or 'open'; None or '' is 'default'.
    :param device: of a head detector: 'auto', 'cpu', 'cuda' or 'cuda:N'.
    :param backend: of a head detector: 'auto' or the name of an engine.
    :param threads: of the CPU for a head detector; 0 is at most two.
    :return: the detector.
    :raises UserError: when the file is missing or not a detector, or there is no such device or
        engine.
    """
    if is_bundled_name(model) or _is_head_detector(Path(model)):
        return HeadSearch.load(model, device, backend, threads, min_score=MIN_SCORE)
    return YuNetDetector(model)


def _is_head_detector(path: Path) -> bool:
    if path.suffix == CHECKPOINT_SUFFIX:
        return True
    try:
        return path.is_file() and is_detector(path)
    except UserError:  # not an ONNX file
        return False
