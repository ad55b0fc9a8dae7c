"""
Where heads may be: detectors that propose landmark boxes.

A *landmark box* is the tight box of the 68 points, which is what crops are made from; detectors
draw other boxes (with forehead, or square), so each has a calibrated map to it. Proposals may be
wrong: the network's head score decides.
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
    """What the pipeline asks of a detector."""

    def detect(self, image: Image, share: int | None = None) -> tuple[Array, Array]:
        """
        Propose heads.

        :param image: (H, W, 3) BGR.
        :param share: None looks as thoroughly as the detector can. A number lets a slow detector do
            one part of that search, another for each number, so that a tracker can spread it over
            frames.
        :return: landmark boxes (N, 4) x0 y0 x1 y1 px and scores (N,) 0…1, best first.
        """
        ...


@dataclass(frozen=True)
class BoxMap:
    """Detector box → landmark box, in units of the detector box's sides."""

    #: Offset of the centre.
    dx: float
    dy: float
    #: Size of the landmark box.
    width: float
    height: float

    def __call__(self, boxes: Array) -> Array:
        """Map boxes (N, 4) x y w h to (N, 4) x0 y0 x1 y1."""
        sides = boxes[:, 2:]
        centres = boxes[:, :2] + sides * (0.5 + np.array([self.dx, self.dy]))
        halves = 0.5 * sides * np.array([self.width, self.height])
        return np.concatenate([centres - halves, centres + halves], axis=1)


# Medians over photographs, as `python benchmarks/calibrate_detectors.py` prints them; left-right
# symmetric where the detector is.
_FRONTAL_DEFAULT = BoxMap(0.0, 0.146, 0.842, 0.825)
_FRONTAL_ALT2 = BoxMap(0.0, 0.150, 0.854, 0.842)
_PROFILE = BoxMap(-0.104, 0.159, 0.769, 0.755)
_YUNET = BoxMap(0.0, 0.128, 1.028, 0.738)


@dataclass(frozen=True)
class _Pass:
    """One sweep of one cascade over one version of the image."""

    cascade: str
    box_map: BoxMap
    #: The image is resized to this longer side, px; a cascade's smallest face is 20 px of that.
    longer_side: int
    #: Weight of a bare and of a certain detection: the cascades' own scales differ.
    weights: tuple[float, float]
    mirrored: bool = False
    turned_deg: float = 0.0


_DEFAULT = _Pass('haarcascade_frontalface_default.xml', _FRONTAL_DEFAULT, 640, (0.0, 8.0))
_ALT2 = _Pass('haarcascade_frontalface_alt2.xml', _FRONTAL_ALT2, 640, (53.0, 57.0))
# The profile cascade knows one side only.
_SIDE = _Pass('haarcascade_profileface.xml', _PROFILE, 480, (0.0, 4.0))
#: In the order in which they are taken when each image pays for one only: likely ones early.
_SWEEPS = (
    _ALT2, _SIDE, _DEFAULT, replace(_SIDE, mirrored=True), replace(_ALT2, longer_side=960),
    replace(_ALT2, longer_side=480, turned_deg=40.0),
    replace(_ALT2, longer_side=480, turned_deg=-40.0),
)
#: Enlarging an image further shows a cascade nothing new.
_MAX_ENLARGEMENT = 2.0
_MIN_NEIGHBOURS = 3
_SAME_HEAD_IOU = 0.45


class CascadeDetector:
    """
    OpenCV's own frontal and profile cascades, which come with its wheels.

    Permissive: it fires on shirts and shelves. Finds heads to about ±60° of yaw and of tilt. Not
    safe to share between threads.

    :param neighbours: windows that must agree on a head; fewer find more, and more that is none.
    """

    def __init__(self, neighbours: int = _MIN_NEIGHBOURS) -> None:
        folder = _cascade_folder()
        self._neighbours = neighbours
        self._cascades = {
            name: cv2.CascadeClassifier(str(folder / name))
            for name in {step.cascade for step in _SWEEPS}
        }

    def detect(self, image: Image, share: int | None = None) -> tuple[Array, Array]:
        """Propose heads, see `Detector.detect`; a share is one sweep of seven."""
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        steps = _SWEEPS if share is None else (_SWEEPS[share % len(_SWEEPS)],)
        found = [self._sweep(grey, step) for step in steps]
        boxes, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return suppress(boxes, scores)

    def _sweep(self, grey: Image, step: _Pass) -> tuple[Array, Array]:
        height, width = grey.shape
        scale = min(step.longer_side / max(height, width), _MAX_ENLARGEMENT)
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        view = cv2.resize(grey, size,
                          interpolation=cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR)
        if step.mirrored:
            view = cv2.flip(view, 1)
        view, back = _turned(view, step.turned_deg) if step.turned_deg else (view, None)
        found, _, weights = self._cascades[step.cascade].detectMultiScale3(
            view, scaleFactor=1.1, minNeighbors=self._neighbours, outputRejectLevels=True)
        if len(found) == 0:
            return np.zeros((0, 4)), np.zeros(0)
        low, high = step.weights
        scores = np.clip((np.ravel(weights) - low) / (high - low), 0.01, 1.0)
        boxes = step.box_map(np.asarray(found, dtype=np.float64))
        centres, halves = 0.5 * (boxes[:, :2] + boxes[:, 2:]), 0.5 * (boxes[:, 2:] - boxes[:, :2])
        # Here the edges of the view are at 0 and `size`, those of the image at 0 and (W, H).
        if back is not None:
            centres = centres @ back[:, :2].T + back[:, 2]
        if step.mirrored:
            centres[:, 0] = size[0] - centres[:, 0]
        ratio = np.array([width, height]) / size
        centres, halves = centres * ratio - 0.5, halves * ratio
        return np.concatenate([centres - halves, centres + halves], axis=1), scores


class YuNetDetector:
    """
    The YuNet face detector through `cv2.FaceDetectorYN`; the user names the ONNX file.

    :param path: a YuNet model of a fixed input size (OpenCV does not read the dynamic one); it
        still takes images of any size.
    :param score_threshold: proposals below are left out.
    :raises ValueError: when the file is missing or is not such a model.
    """

    #: Larger images are shrunk to this longer side, px; heads of 10 px of that are found.
    LONGER_SIDE = 960

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

    def detect(self, image: Image, share: int | None = None) -> tuple[Array, Array]:
        """Propose heads, see `Detector.detect`; `share` makes no difference."""
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
        return suppress(boxes, found[:, 14])


def make_detector(name: str | os.PathLike[str]) -> Detector:
    """
    Return the detector 'cascade', or YuNet from the file of that name.

    :raises ValueError: when the file is missing or no such model.
    """
    return CascadeDetector() if str(name) == 'cascade' else YuNetDetector(name)


def iou(boxes: Array, others: Array) -> Array:
    """Return the intersection over union (N, M) of boxes (N, 4) and (M, 4): x0 y0 x1 y1."""
    overlap, area, other_area = _areas(boxes, others)
    return overlap / np.maximum(area + other_area - overlap, 1e-12)


def contained(boxes: Array, others: Array) -> Array:
    """Return the share (N, M) of the smaller of two boxes, (N, 4) and (M, 4), in the larger one."""
    overlap, area, other_area = _areas(boxes, others)
    return overlap / np.maximum(np.minimum(area, other_area), 1e-12)


def _areas(boxes: Array, others: Array) -> tuple[Array, Array, Array]:
    """Return the areas of the intersections (N, M), of the boxes (N, 1) and the others (1, M)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    overlap = np.prod(np.clip(high - low, 0.0, None), axis=-1)
    area, other_area = (np.prod(b[:, 2:] - b[:, :2], axis=-1) for b in (boxes, others))
    return overlap, area[:, None], other_area[None]


def suppress(boxes: Array, scores: Array, threshold: float = _SAME_HEAD_IOU) -> tuple[Array, Array]:
    """Keep the best of boxes (N, 4) that overlap by more than `threshold` (IoU); best first."""
    order = np.argsort(-scores, kind='stable')
    boxes, scores = boxes[order], scores[order]
    overlaps = iou(boxes, boxes) > threshold
    kept: list[int] = []
    for i in range(len(scores)):
        if not overlaps[i, kept].any():
            kept.append(i)
    return boxes[kept], scores[kept]


def _turned(view: Image, degrees: float) -> tuple[Image, Array]:
    """
    Turn an image counter-clockwise on the screen, onto a canvas that holds all of it.

    :return: the canvas, and the (2, 3) map of its points back to the image, edges at 0 and the
        size.
    """
    height, width = view.shape
    forward = cv2.getRotationMatrix2D((0.5 * width, 0.5 * height), degrees, 1.0)
    cos, sin = np.abs(forward[0, :2])
    canvas = int(np.ceil(width * cos + height * sin)), int(np.ceil(width * sin + height * cos))
    forward[:, 2] += 0.5 * (np.array(canvas) - (width, height))
    # warpAffine counts from pixel centres, half a pixel inside the edge.
    centred = forward.copy()
    centred[:, 2] += forward[:, :2] @ [0.5, 0.5] - 0.5
    return cv2.warpAffine(view, centred, canvas), cv2.invertAffineTransform(forward)


def _cascade_folder() -> Path:
    """
    Return the folder of the cascade files: in OpenCV's wheels, or where distributions put them.

    :raises ValueError: when this OpenCV comes without them.
    """
    folders = [Path('/usr/share/opencv4/haarcascades'), Path('/usr/share/opencv/haarcascades')]
    if hasattr(cv2, 'data'):
        folders.insert(0, Path(cv2.data.haarcascades))
    for folder in folders:
        if all((folder / step.cascade).is_file() for step in _SWEEPS):
            return folder
    raise UserError('detector: this OpenCV comes without its cascade files; install '
                     'opencv-python-headless<5 (or opencv-data), or name a YuNet file')
