"""The public pipeline: images in, heads out."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.inference.backends import unused_gpu
from trans3dhead_ros.inference.head_detections import HeadDetections
from trans3dhead_ros.perception.aligner import Alignments, HeadAligner
from trans3dhead_ros.perception.assembly import HeadSize, build_heads, estimate_poses
from trans3dhead_ros.perception.batching import InferenceTask, run_single
from trans3dhead_ros.perception.detector import (
    QUARTER_TURNS,
    Detector,
    detect_turned,
    detect_with_border,
    make_detector,
)
from trans3dhead_ros.perception.head import Head
from trans3dhead_ros.perception.head_finder import (
    DOUBTFUL_UNCERTAINTY,
    NEW_HEAD_SCORE,
    align_boxes,
    align_detections,
    shown_in_turned_image,
    suppress_duplicates,
)
from trans3dhead_ros.perception.smoothing import Smoothing, smooth_heads
from trans3dhead_ros.perception.tracker import Tracker, Tracking
from trans3dhead_ros.types import Array, Image, IndexArray

_LOG = logging.getLogger(__name__)
# Of a picture in which the first search finds nobody.
_OTHER_SEARCHES = (detect_with_border, *(
    functools.partial(detect_turned, quarters=quarters) for quarters in QUARTER_TURNS))
# Boxes beyond it are mistakes, not heads outside of the image.
_MAX_BOX_COORDINATE_PX = 1e6


@dataclass(frozen=True)
class PipelineConfig:
    """
    The settings of a pipeline. To change some, assign another configuration between images.

    :raises ValueError: for a number out of its range.

    Example::

        config = PipelineConfig(tracking=Tracking(max_missed_frames=10))
        pipeline = HeadPipeline.load(config=config)
        pipeline.config = replace(config, smoothing=Smoothing(enabled=False))
    """

    detect_score: float = 0.5
    """Smallest score of a head that `detect` returns, 0 to 1."""
    tracking: Tracking = field(default_factory=Tracking)
    """When tracks start and end."""
    smoothing: Smoothing = field(default_factory=Smoothing)
    """How tracked heads are smoothed over time."""
    head_size: HeadSize = field(default_factory=HeadSize)
    """The size of heads, on which their distance rests."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.detect_score <= 1.0:
            raise UserError(f'detect_score: expected 0 to 1, got {self.detect_score!r}')


class HeadPipeline:
    """
    Detect, align, pose, track and smooth the heads of one camera.

    The aligner can be shared, the state over time cannot: several cameras take one aligner and a
    pipeline each, and `run_batched` puts their crops into one batch. Not thread-safe. The aligner,
    the detector and the configuration can be replaced between images.

    :param aligner: the network on its device.
    :param detector: finds heads in whole images.
    :param config: settings; None for the defaults.

    Example::

        pipeline = HeadPipeline.load()
        image = cv2.imread('people.jpg')
        for head in pipeline.detect(image, camera=Camera.from_fov(image.shape[1::-1], 60)):
            print(head.euler_deg, head.translation)
    """

    def __init__(
        self, aligner: HeadAligner, detector: Detector, config: PipelineConfig | None = None,
    ) -> None:
        self.aligner = aligner
        self.config = config or PipelineConfig()
        self.detector = detector
        self._tracker = Tracker()

    @classmethod
    def load(
        cls, model: str | os.PathLike[str] | None = 'default', device: str = 'auto',
        backend: str = 'auto', detector: str | os.PathLike[str] = 'default',
        config: PipelineConfig | None = None, *, threads: int = 0,
    ) -> HeadPipeline:
        """
        Load a model and a detector.

        :param model: path of either file of a model (`.onnx` or `.safetensors`), or the name of
            one that comes with the package, 'default' or 'open'; None is 'default'.
        :param device: 'auto', 'cpu', 'cuda' or 'cuda:N'; 'auto' is the GPU where one can be used.
        :param backend: the engine that runs the network: 'auto', 'onnxruntime', 'openvino',
            'opencv' or 'torch'; 'auto' is the first of them that is installed and can run the
            model.
        :param detector: path of either file of a head detector, or of a YuNet ONNX file, or the
            name of one that comes with the package, 'default' or 'open'.
        :param config: settings; None for the defaults.
        :param threads: of the CPU for each of the two networks; 0 is at most two.
        :return: the pipeline.
        :raises ValueError: for a device or an engine that does not exist, or a file that is missing
            or invalid.
        """
        aligner = HeadAligner.load(model, device, backend, threads)
        if device == 'auto' and (message := unused_gpu(aligner.device, backend)):
            _LOG.warning(message)
        return cls(aligner, make_detector(detector, device, backend, threads), config)

    @property
    def triangles(self) -> IndexArray:
        """(T, 3) indices into `Head.vertices`, counter-clockwise seen from outside."""
        return self.aligner.triangles

    @property
    def expression_names(self) -> tuple[str, ...]:
        """Names of the coefficients `Head.expression`."""
        return self.aligner.expression_names

    @property
    def landmark_indices(self) -> IndexArray:
        """(68,) indices of the landmarks into `Head.vertices`."""
        return self.aligner.landmark_indices

    def align(self, image: Image, boxes: ArrayLike, camera: Camera | None = None) -> list[Head]:
        """
        Align the head in each box.

        :param image: (H, W, 3) uint8 BGR.
        :param boxes: (N, 4) x0 y0 x1 y1 px, about the boxes of the 68 landmarks.
        :param camera: of this image, for a metric pose.
        :return: exactly one head per box, in order, whatever its score.
        :raises ValueError: for an invalid argument, naming it.
        """
        image = _checked_image(image)
        boxes = _checked_boxes(boxes)
        _check_camera(camera, image)
        return self._heads(
            run_single(self.aligner, align_boxes(image, boxes)), image, camera)

    def detect(self, image: Image, camera: Camera | None = None) -> list[Head]:
        """
        Find and align the heads of one image.

        Where the landmarks of none are certain, heads are sought in the image with a border, as one
        may fill it, and in the image turned by 180 and by 90°, as before a camera that hangs upside
        down.

        :param image: (H, W, 3) uint8 BGR.
        :param camera: of this image, for a metric pose.
        :return: the heads, those with the most certain landmarks first.
        :raises ValueError: for an invalid argument, naming it.
        """
        image = _checked_image(image)
        _check_camera(camera, image)
        found, detections = self._verified(image, self.detector.detect(image))
        faces = detections.face
        for detect in _OTHER_SEARCHES:
            if (found.uncertainty < DOUBTFUL_UNCERTAINTY).any():
                break
            others, detections = self._verified(image, detect(self.detector, image))
            shown = shown_in_turned_image(detections, others)
            found = Alignments.join([found, others[shown]])
            faces = np.concatenate([faces, detections.face[shown]])
        kept = suppress_duplicates(found)
        return self._heads(found[kept], image, camera, faces[kept])

    def track(
        self, image: Image, stamp: float | None = None, camera: Camera | None = None,
    ) -> list[Head]:
        """
        Track the heads in the next image of a stream, with identity and smoothing.

        :param image: (H, W, 3) uint8 BGR.
        :param stamp: time of the image, s; without stamps, 30 images a second are assumed.
        :param camera: of this image, for a metric pose.
        :return: the heads, the oldest track first.
        :raises ValueError: for an invalid argument, naming it.
        """
        return run_single(self.aligner, self.tracking_task(image, stamp, camera))

    def tracking_task(
        self, image: Image, stamp: float | None = None, camera: Camera | None = None,
    ) -> InferenceTask[list[Head]]:
        """Do what `track` does, as a task for `run_batched` with those of other cameras."""
        image = _checked_image(image)
        _check_camera(camera, image)
        stamp = _checked_stamp(stamp)
        tracks, found = yield from self._tracker.update(
            image, stamp, self.detector, self.config.tracking)
        if found is None:
            return []
        poses = estimate_poses(found, image, camera, self.config.head_size)
        found, poses = smooth_heads(
            [track.smoother for track in tracks], found, poses, stamp, self.config.smoothing,
            metric=camera is not None)
        return build_heads(self.aligner, found, poses, camera, self.config.head_size,
                           [track.id for track in tracks], [track.face for track in tracks])

    def reset(self) -> None:
        """Remove all tracks; their ids are not used again."""
        self._tracker.reset()

    def _verified(
        self, image: Image, detections: HeadDetections,
    ) -> tuple[Alignments, HeadDetections]:
        """Return the heads of an image that the aligner confirms, and their detections."""
        detections = detections[detections.score >= NEW_HEAD_SCORE]
        found, rows = run_single(self.aligner, align_detections(
            image, detections, self.config.detect_score))
        return found, detections[rows]

    def _heads(
        self, found: Alignments, image: Image, camera: Camera | None,
        faces: Sequence[float] | None = None,
    ) -> list[Head]:
        if len(found) == 0:
            return []
        size = self.config.head_size
        poses = estimate_poses(found, image, camera, size)
        return build_heads(self.aligner, found, poses, camera, size, faces=faces)


def _checked_image(image: Image) -> Image:
    if not isinstance(image, np.ndarray):
        raise ValueError(f'image: expected a NumPy array, got {type(image).__name__}')
    if image.dtype != np.uint8:
        raise ValueError(f'image: expected uint8 BGR, got {image.dtype}')
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f'image: expected shape (H, W, 3), got {image.shape}')
    if image.size == 0:
        raise ValueError(f'image: has no pixels, shape {image.shape}')
    return np.ascontiguousarray(image)


def _checked_boxes(boxes: ArrayLike) -> Array:
    try:
        boxes = np.asarray(boxes, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError('boxes: expected numbers of shape (N, 4)') from None
    if boxes.size == 0 and boxes.shape in ((0,), (0, 4)):
        return np.zeros((0, 4))
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f'boxes: expected shape (N, 4), got {boxes.shape}')
    for i, box in enumerate(boxes):
        if not np.isfinite(box).all():
            raise ValueError(f'boxes: box {i} {box.tolist()} holds a number that is not finite')
        if box[2] <= box[0] or box[3] <= box[1]:
            raise ValueError(f'boxes: box {i} {box.tolist()} is empty or reversed; expected '
                             'x0 < x1 and y0 < y1')
        if np.abs(box).max() > _MAX_BOX_COORDINATE_PX:
            raise ValueError(f'boxes: box {i} {box.tolist()} is too far away from any image')
    return boxes


def _check_camera(camera: Camera | None, image: Image) -> None:
    if camera is None:
        return
    if not isinstance(camera, Camera):
        raise ValueError(f'camera: expected a Camera or None, got {type(camera).__name__}')
    height, width = image.shape[:2]
    if camera.size is not None and camera.size != (width, height):
        raise UserError(f'camera: is for images of {camera.size[0]} x {camera.size[1]}, this one '
                        f'has {width} x {height}')


def _checked_stamp(stamp: float | None) -> float | None:
    if stamp is None:
        return None
    try:
        stamp = float(stamp)
    except (TypeError, ValueError):
        raise ValueError(f'stamp: expected seconds or None, got {stamp!r}') from None
    if not np.isfinite(stamp):
        raise ValueError(f'stamp: expected finite seconds, got {stamp!r}')
    return stamp
