"""
Detectors, which propose where heads are.

A *landmark box* is the tight box of the 68 landmarks, from which crops are made. Detectors report
other boxes (with the forehead, or square), so each has a calibrated map to landmark boxes.
Proposals can be false positives: the network verifies them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.types import Array, Image


class Detector(Protocol):
    """The interface of a detector."""

    def detect(self, image: Image, pass_index: int | None = None) -> tuple[Array, Array]:
        """
        Propose heads.

        :param image: (H, W, 3) BGR.
        :param pass_index: None for the full search. A number lets a slow detector run one of the
            passes of its search, so that a tracker can spread it over frames.
        :return: landmark boxes (N, 4) x0 y0 x1 y1 px and scores (N,) 0…1, best first.
        """
        ...


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


# Medians over photographs, as printed by `python benchmarks/calibrate_detectors.py`; symmetric
# where the detector is.
_FRONTAL_DEFAULT = BoxMap(0.0, 0.146, 0.842, 0.825)
_FRONTAL_ALT2 = BoxMap(0.0, 0.150, 0.854, 0.842)
_PROFILE = BoxMap(-0.104, 0.159, 0.769, 0.755)
_YUNET = BoxMap(0.0, 0.128, 1.028, 0.738)


@dataclass(frozen=True)
class _CascadePass:
    """One run of one cascade over a resized, mirrored or rotated image."""

    cascade: str
    box_map: BoxMap
    longer_side: int
    """The image is resized to this longer side, px; the smallest face of a cascade is 20 px."""
    weights: tuple[float, float]
    """Cascade weights that map to the scores 0 and 1."""
    mirrored: bool = False
    rotated_deg: float = 0.0


_DEFAULT = _CascadePass('haarcascade_frontalface_default.xml', _FRONTAL_DEFAULT, 640, (0.0, 8.0))
_ALT2 = _CascadePass('haarcascade_frontalface_alt2.xml', _FRONTAL_ALT2, 640, (53.0, 57.0))
# The profile cascade detects one side only.
_SIDE = _CascadePass('haarcascade_profileface.xml', _PROFILE, 480, (0.0, 4.0))
# The order matters when one pass runs per image: the likeliest ones first.
_PASSES = (
    _ALT2, _SIDE, _DEFAULT, replace(_SIDE, mirrored=True), replace(_ALT2, longer_side=960),
    replace(_ALT2, longer_side=480, rotated_deg=40.0),
    replace(_ALT2, longer_side=480, rotated_deg=-40.0),
)
# Further enlargement does not help a cascade.
_MAX_ENLARGEMENT = 2.0
_MIN_NEIGHBOURS = 3
_NMS_IOU = 0.45


class CascadeDetector:
    """
    The frontal and profile Haar cascades that come with OpenCV's wheels.

    Detects heads up to about ±60° of yaw and of roll, with many false positives. Not thread-safe.

    :param min_neighbours: windows that must agree on a head; fewer give more heads and more false
        positives.
    :raises UserError: when this OpenCV comes without the cascades.

    Example::

        boxes, scores = CascadeDetector().detect(cv2.imread('people.jpg'))
    """

    def __init__(self, min_neighbours: int = _MIN_NEIGHBOURS) -> None:
        folder = _cascade_folder()
        self._min_neighbours = min_neighbours
        self._cascades = {
            name: cv2.CascadeClassifier(str(folder / name))
            for name in {step.cascade for step in _PASSES}
        }

    def detect(self, image: Image, pass_index: int | None = None) -> tuple[Array, Array]:
        """Propose heads, see `Detector.detect`; there are seven passes."""
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        steps = _PASSES if pass_index is None else (_PASSES[pass_index % len(_PASSES)],)
        found = [self._run(grey, step) for step in steps]
        boxes, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return non_maximum_suppression(boxes, scores)

    def _run(self, grey: Image, step: _CascadePass) -> tuple[Array, Array]:
        height, width = grey.shape
        scale = min(step.longer_side / max(height, width), _MAX_ENLARGEMENT)
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        view = cv2.resize(grey, size,
                          interpolation=cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR)
        if step.mirrored:
            view = cv2.flip(view, 1)
        view, back = (
            rotate_uncropped(view, step.rotated_deg) if step.rotated_deg else (view, None))
        found, _, weights = self._cascades[step.cascade].detectMultiScale3(
            view, scaleFactor=1.1, minNeighbors=self._min_neighbours, outputRejectLevels=True)
        if len(found) == 0:
            return np.zeros((0, 4)), np.zeros(0)
        low, high = step.weights
        scores = np.clip((np.ravel(weights) - low) / (high - low), 0.01, 1.0)
        boxes = step.box_map(np.asarray(found, dtype=np.float64))
        centres, halves = 0.5 * (boxes[:, :2] + boxes[:, 2:]), 0.5 * (boxes[:, 2:] - boxes[:, :2])
        # Coordinates here count from the edge: the view spans 0…size, the image 0…(W, H).
        if back is not None:
            centres = centres @ back[:, :2].T + back[:, 2]
        if step.mirrored:
            centres[:, 0] = size[0] - centres[:, 0]
        ratio = np.array([width, height]) / size
        centres, halves = centres * ratio - 0.5, halves * ratio
        return np.concatenate([centres - halves, centres + halves], axis=1), scores


class YuNetDetector:
    """
    The YuNet face detector through `cv2.FaceDetectorYN`.

    :param path: a YuNet ONNX model of fixed input size (OpenCV cannot read the dynamic one); images
        can have any size.
    :param score_threshold: smallest score of a proposal.
    :raises UserError: when the file is missing or not such a model.

    Example::

        pipeline = HeadPipeline(HeadAligner.load(), YuNetDetector('yunet_n_640_640.onnx'))
    """

    LONGER_SIDE = 960
    """Larger images are shrunk to this longer side, px; heads of 10 px are detected in that."""

    def __init__(self, path: str | os.PathLike[str], score_threshold: float = 0.5) -> None:
        path = Path(path)
        if not path.is_file():
            raise UserError(f"detector: no such file {path}; name a YuNet .onnx file or 'cascade'")
        try:
            self._network = cv2.FaceDetectorYN.create(str(path), '', (320, 320), score_threshold)
            self._network.detect(np.zeros((320, 320, 3), np.uint8))
        except cv2.error as error:
            reason = str(error).strip().splitlines()[-1]
            raise UserError(f'detector: {path} is not a YuNet model of fixed input size that this '
                            f'OpenCV reads ({reason})') from None

    def detect(self, image: Image, pass_index: int | None = None) -> tuple[Array, Array]:
        """Propose heads, see `Detector.detect`; always the full search."""
        height, width = image.shape[:2]
        scale = min(self.LONGER_SIDE / max(height, width), 1.0)
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        if size != (width, height):
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        self._network.setInputSize(size)
        _, found = self._network.detect(image)
        if found is None:
            return np.zeros((0, 4)), np.zeros(0)
        found = found[np.isfinite(found).all(axis=1)].astype(np.float64)
        ratio = np.array([width, height]) / size
        boxes = _YUNET(found[:, :4]) * np.tile(ratio, 2) - 0.5
        return non_maximum_suppression(boxes, found[:, 14])


def make_detector(name: str | os.PathLike[str]) -> Detector:
    """
    Create a detector.

    :param name: 'cascade' (the default), or the path of a YuNet ONNX file.
    :return: the detector.
    :raises UserError: when the file is missing or not a YuNet model.
    """
    return CascadeDetector() if str(name) in ('cascade', 'default') else YuNetDetector(name)


def iou(boxes: Array, others: Array) -> Array:
    """Return the intersection over union (N, M) of boxes (N, 4) and (M, 4): x0 y0 x1 y1."""
    overlap, area, other_area = _areas(boxes, others)
    return overlap / np.maximum(area + other_area - overlap, 1e-12)


def containment(boxes: Array, others: Array) -> Array:
    """Return the part (N, M) of the smaller of two boxes, (N, 4) and (M, 4), inside the larger."""
    overlap, area, other_area = _areas(boxes, others)
    return overlap / np.maximum(np.minimum(area, other_area), 1e-12)


def _areas(boxes: Array, others: Array) -> tuple[Array, Array, Array]:
    """Return the areas of the intersections (N, M), of boxes (N, 1) and of others (1, M)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    overlap = np.prod(np.clip(high - low, 0.0, None), axis=-1)
    area, other_area = (np.prod(b[:, 2:] - b[:, :2], axis=-1) for b in (boxes, others))
    return overlap, area[:, None], other_area[None]


def non_maximum_suppression(
    boxes: Array, scores: Array, threshold: float = _NMS_IOU,
) -> tuple[Array, Array]:
    """Keep the best of boxes (N, 4) that overlap by more than `threshold` (IoU), best first."""
    order = np.argsort(-scores, kind='stable')
    boxes, scores = boxes[order], scores[order]
    overlaps = iou(boxes, boxes) > threshold
    kept: list[int] = []
    for i in range(len(scores)):
        if not overlaps[i, kept].any():
            kept.append(i)
    return boxes[kept], scores[kept]


def rotate_uncropped(image: Image, degrees: float) -> tuple[Image, Array]:
    """
    Rotate an image onto a canvas that is large enough for all of it.

    :param image: (H, W) or (H, W, C).
    :param degrees: counter-clockwise on the screen.
    :return: the canvas, and the (2, 3) affine map of its points back to the image; coordinates
        count from the edges, not from pixel centres.
    """
    height, width = image.shape[:2]
    forward = cv2.getRotationMatrix2D((0.5 * width, 0.5 * height), degrees, 1.0)
    cos, sin = np.abs(forward[0, :2])
    canvas = int(np.ceil(width * cos + height * sin)), int(np.ceil(width * sin + height * cos))
    forward[:, 2] += 0.5 * (np.array(canvas) - (width, height))
    # warpAffine counts from pixel centres, which lie half a pixel inside the edge.
    centred = forward.copy()
    centred[:, 2] += forward[:, :2] @ [0.5, 0.5] - 0.5
    return cv2.warpAffine(image, centred, canvas), cv2.invertAffineTransform(forward)


def _cascade_folder() -> Path:
    """
    Return the folder of the cascade files, in OpenCV's wheel or installed by the distribution.

    :raises UserError: when this OpenCV comes without them.
    """
    folders = [Path('/usr/share/opencv4/haarcascades'), Path('/usr/share/opencv/haarcascades')]
    if hasattr(cv2, 'data'):
        folders.insert(0, Path(cv2.data.haarcascades))
    for folder in folders:
        if all((folder / step.cascade).is_file() for step in _PASSES):
            return folder
    raise UserError('detector: this OpenCV comes without its cascade files; install '
                    'opencv-python-headless<5 (or opencv-data), or name a YuNet file')
