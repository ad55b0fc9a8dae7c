"""The stages of the pipeline, each as a function to be timed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from trans3dhead_ros.bench.timing import Action
from trans3dhead_ros.camera import Camera
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.perception.assembly import build_heads, estimate_poses
from trans3dhead_ros.perception.crop import crop_square, crop_window
from trans3dhead_ros.perception.pipeline import HeadPipeline
from trans3dhead_ros.types import Array, Image

CROP_TO_DECODE = 'crop + network + decode'


def network_action(aligner: HeadAligner, batch: int) -> Action:
    """
    Return the network alone.

    :param aligner: whose network it is.
    :param batch: number of crops.
    :return: the action.
    """
    size = aligner.input_size
    crops = np.random.default_rng(0).random((batch, 3, size, size), np.float32)
    return lambda: aligner.engine.run(crops)


def network_actions(aligner: HeadAligner, batches: Sequence[int]) -> dict[str, Action]:
    """Return the network alone for several numbers of crops, by name."""
    return {f'network, {batch} crop{"s" * (batch > 1)}': network_action(aligner, batch)
            for batch in batches}


def pose_action(
    pipeline: HeadPipeline, image: Image, boxes: Array, camera: Camera,
) -> Action:
    """Return the metric pose alone; arguments as for `align_actions`."""
    found = pipeline.aligner.align(image, boxes)
    return lambda: estimate_poses(found, image, camera, pipeline.config.head_size)


def dense_action(
    pipeline: HeadPipeline, image: Image, boxes: Array, camera: Camera,
) -> Action:
    """
    Return all of `align`, from the image to pose, landmarks and the vertices of every head.

    :param pipeline: whose stages they are.
    :param image: (H, W, 3) BGR.
    :param boxes: (N, 4) x0 y0 x1 y1 px.
    :param camera: for the metric pose.
    :return: the action.
    """
    return lambda: [head.vertices for head in pipeline.align(image, boxes, camera=camera)]


def align_actions(
    pipeline: HeadPipeline, image: Image, boxes: Array, camera: Camera,
) -> dict[str, Action]:
    """
    Return the stages that follow when boxes are known: the parts of `align`, and all of it.

    :param pipeline: whose stages they are.
    :param image: (H, W, 3) BGR.
    :param boxes: (N, 4) x0 y0 x1 y1 px.
    :param camera: for the metric pose.
    :return: actions by name.
    """
    aligner, size = pipeline.aligner, pipeline.config.head_size
    windows = [crop_window(box, aligner.crop_scale) for box in boxes]
    found = aligner.align(image, boxes)
    poses = estimate_poses(found, image, camera, size)
    return {
        'crop': lambda: [crop_square(image, *window, aligner.input_size) for window in windows],
        CROP_TO_DECODE: lambda: aligner.align(image, boxes),
        'metric pose': pose_action(pipeline, image, boxes, camera),
        'vertices + projection': lambda: [
            (head.vertices, head.vertices_px)
            for head in build_heads(aligner, found, poses, camera, size)],
        'align, no camera': lambda: pipeline.align(image, boxes),
        'align, camera': lambda: pipeline.align(image, boxes, camera=camera),
    }


def stream_actions(
    pipeline: HeadPipeline, images: Sequence[Image], camera: Camera | None,
) -> dict[str, Action]:
    """
    Return the stages that find heads: the detector alone, `detect`, and `track` image by image.

    :param pipeline: whose stages they are.
    :param images: (H, W, 3) BGR, consecutive frames.
    :param camera: for metric poses; may be None.
    :return: actions by name.
    """
    first, turns = images[0], itertools.count()

    def track() -> None:
        turn = next(turns)
        pipeline.track(images[turn % len(images)], stamp=turn / 30.0, camera=camera)

    return {
        'detector alone': lambda: pipeline.detector.detect(first),
        'detect': lambda: pipeline.detect(first, camera=camera),
        'track': track,
    }
