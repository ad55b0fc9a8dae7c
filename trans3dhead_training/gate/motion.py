"""Jitter and lag of tracked and smoothed heads: what a robot gets of a model over time."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from trans3dhead_ros.geometry import euler_from_rotation, geodesic_distance_deg, nearest_rotation
from trans3dhead_ros.inference.head_detections import HeadDetections
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.perception.head import Head
from trans3dhead_ros.perception.pipeline import HeadPipeline, PipelineConfig
from trans3dhead_ros.perception.smoothing import UNIT_ROTATION, Smoothing
from trans3dhead_ros.perception.tracker import Tracking
from trans3dhead_ros.types import Array, Image
from trans3dhead_training.core import metrics
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.evaluation.image_perturbations import NOISE_LEVELS
from trans3dhead_training.gate.frozen_sets import TURN_STEP_DEG
from trans3dhead_training.gate.head_errors import clips

FRAME_RATE = 25.0
"""Hz, of all clips."""
STILL_FRAMES = 14
"""Frames of a still head, which differ by the noise of the sensor."""
SETTLING_FRAMES = 4
"""Frames at the start of a clip that are not measured, while the filters settle."""


def exact_lag_ms() -> float:
    """Return how many ms the filter lags behind exact answers for the heads of `turn_lag`."""
    smoothing = Smoothing()
    speed = np.deg2rad(TURN_STEP_DEG * FRAME_RATE) / UNIT_ROTATION
    return 1000.0 / (2.0 * np.pi * (smoothing.min_cutoff + smoothing.beta * speed))


class _KnownHead:
    """A detector that reports the true box: the gate judges aligners, not detectors."""

    def __init__(self) -> None:
        self.box = np.zeros(4)

    def detect(self, image: Image) -> HeadDetections:
        box, one = self.box[None], np.ones(1)
        return HeadDetections(one, one, 0 * one, box, box)

    def moved(self, device: str, backend: str = 'auto', threads: int = 0) -> _KnownHead:
        return self


def still_jitter(aligner: HeadAligner, samples: Sequence[Sample]) -> tuple[Array, Array]:
    """
    Measure how much heads move that stand still before a noisy sensor.

    :param aligner: the model.
    :param samples: N heads.
    :return: (N,) RMS distance of the landmarks from their means, % of the box, and of the rotation
        from its mean, degrees.
    """
    points, turns = [], []
    for sample in tqdm(samples, desc='still', unit='head', leave=False, disable=None):
        image = sample.image()
        generator = np.random.default_rng(zlib.crc32(sample.group.encode()))
        noisy = [_with_noise(image, generator) for _ in range(STILL_FRAMES)]
        heads = _track(aligner, noisy, [sample.box] * STILL_FRAMES)[SETTLING_FRAMES:]
        landmarks = np.stack([head.landmarks[:, :2] for head in heads])
        size = float(metrics.box_size(sample.points))
        points.append(100 * np.sqrt(landmarks.var(axis=0).sum(axis=-1).mean()) / size)
        rotations = np.stack([head.rotation for head in heads])
        mean = np.broadcast_to(nearest_rotation(rotations.mean(axis=0)), rotations.shape)
        turns.append(np.sqrt((geodesic_distance_deg(rotations, mean) ** 2).mean()))
    return np.array(points), np.array(turns)


def turn_lag(aligner: HeadAligner, samples: Sequence[Sample]) -> Array:
    """
    Measure how far tracked heads lag behind heads that turn.

    Each clip is played forwards and backwards. A constant error of the yaw of a picture is in both
    passes, and the lag has opposite signs: it is half of their difference over the angular speed.
    The filter takes noise for speed and then smooths less, so that a less steady model lags less
    than exact answers would: such a lag counts as theirs, or to be steadier would be worse.

    :param aligner: the model.
    :param samples: frames of C clips, a group each.
    :return: (C,) ms.
    """
    lags = []
    for _, frames in tqdm([*clips(samples)], desc='turns', unit='clip', leave=False, disable=None):
        images, boxes = [frame.image() for frame in frames], [frame.box for frame in frames]
        yaw, back = (np.array([float(euler_from_rotation(head.rotation)[0]) for head in heads])
                     for heads in (_track(aligner, images, boxes),
                                   _track(aligner, images[::-1], boxes[::-1])[::-1]))
        measured = slice(SETTLING_FRAMES, len(frames) - SETTLING_FRAMES)
        speed = TURN_STEP_DEG * FRAME_RATE
        lags.append(1000 * float(np.mean(back[measured] - yaw[measured])) / (2 * speed))
    return np.maximum(lags, exact_lag_ms())


def _track(aligner: HeadAligner, images: Sequence[Image], boxes: Sequence[Array]) -> list[Head]:
    """Return the head in every frame, smoothed as the node does."""
    detector = _KnownHead()
    # A head that is hardly believed is still tracked: its score is judged elsewhere.
    pipeline = HeadPipeline(aligner, detector, PipelineConfig(
        tracking=Tracking(new_track_threshold=0.0, keep_track_threshold=0.0)))
    heads: list[Head] = []
    for number, (image, detector.box) in enumerate(zip(images, boxes, strict=True)):
        found = pipeline.track(image, stamp=number / FRAME_RATE)
        heads.append(found[0] if found else pipeline.align(image, detector.box[None])[0])
    return heads


def _with_noise(image: Image, generator: np.random.Generator) -> Image:
    noise = generator.standard_normal(image.shape, np.float32) * NOISE_LEVELS
    return np.clip(np.round(image + noise), 0, 255).astype(np.uint8)
