"""
What a model makes of heads over time: jitter, lag, and what moves the pose besides the head.

The clips are rendered, so that all but what moves is constant and every pose is known.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from trans3dhead_ros.geometry import euler_from_rotation, geodesic_distance_deg
from trans3dhead_ros.inference.head_detections import HeadDetections
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.perception.pipeline import HeadPipeline, PipelineConfig
from trans3dhead_ros.perception.smoothing import UNIT_ROTATION, Smoothing
from trans3dhead_ros.perception.tracker import Tracking
from trans3dhead_ros.types import Array, Image
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.evaluation.face_errors import decode_label_euler
from trans3dhead_training.evaluation.image_perturbations import NOISE_LEVELS
from trans3dhead_training.evaluation.jitter import measure_jitter
from trans3dhead_training.predictors import Alignment

FRAME_RATE = 30.0
"""Hz, of all clips."""
TURN_SPEED_DEG = 100.0
"""Degrees per second, of heads that turn or nod."""
STILL_FRAMES = 14
"""Frames of a still head, which differ by the noise of the sensor."""
SETTLING_FRAMES = 4
"""Frames at the start of a clip that are not measured, while the filters settle."""
YAW, PITCH = 0, 1

_RAW = Smoothing(enabled=False)
_STILL_DEG = (45.0, 25.0, 25.0)
_MAX_STILL = 40


@dataclass(frozen=True)
class MotionErrors:
    """The errors of a model on rendered clips; means over the clips unless said otherwise."""

    still_points_percent: float
    """RMS distance of the landmarks of still heads from their means, in % of √(w h) of the box,
    the median over heads, some of which are hidden almost entirely."""
    still_deg: float
    """RMS distance of the rotation of still heads from its mean, the median over heads."""
    largest_still_deg: float
    """The same, the largest over heads."""
    smoothed_still_points_percent: float
    """`still_points_percent` after smoothing."""
    smoothed_still_deg: float
    """`still_deg` after smoothing."""
    largest_smoothed_still_deg: float
    """`largest_still_deg` after smoothing."""
    lag_ms: float
    """Lag of the smoothed yaw behind a turn of `TURN_SPEED_DEG`."""
    lag_frames: float
    """The same in frames at `FRAME_RATE`."""
    exact_lag_ms: float
    """Lag of exact answers, which is that of the filter."""
    exact_lag_frames: float
    """The same in frames."""
    blink_deg: float
    """Change of the rotation when the eyes close."""
    largest_blink_deg: float
    """The largest over the clips."""
    gaze_deg: float
    """Change of the rotation when the eyes look aside, up or down."""
    largest_gaze_deg: float
    """The largest over clips and directions."""
    pitch_over_yaw_deg: float
    """Largest minus smallest error of the pitch while the yaw sweeps."""
    yaw_over_pitch_deg: float
    """Largest minus smallest error of the yaw while the pitch sweeps."""


def measure_motion(
    aligner: HeadAligner, still: Sequence[Sample], turns: Sequence[Sample],
    nods: Sequence[Sample], eyes: Sequence[Sample],
) -> MotionErrors:
    """
    Measure a model on rendered clips.

    :param aligner: the model.
    :param still: heads, see `still_heads`.
    :param turns: clips of heads whose yaw changes by `TURN_SPEED_DEG`.
    :param nods: clips of heads whose pitch does.
    :param eyes: clips of still heads, see `eye_effects`.
    :return: the errors.
    """
    points, rotation = still_jitter(aligner, still, _RAW)
    smoothed_points, smoothed_rotation = still_jitter(aligner, still)
    lag, exact = float(turn_lag(aligner, turns).mean()), exact_lag_ms()
    blink, gaze = eye_effects(aligner, eyes)
    return MotionErrors(
        still_points_percent=float(np.median(points)), still_deg=float(np.median(rotation)),
        largest_still_deg=float(rotation.max()),
        smoothed_still_points_percent=float(np.median(smoothed_points)),
        smoothed_still_deg=float(np.median(smoothed_rotation)),
        largest_smoothed_still_deg=float(smoothed_rotation.max()),
        lag_ms=lag, lag_frames=lag * FRAME_RATE / 1000,
        exact_lag_ms=exact, exact_lag_frames=exact * FRAME_RATE / 1000,
        blink_deg=float(blink.mean()), largest_blink_deg=float(blink.max()),
        gaze_deg=float(gaze.mean()), largest_gaze_deg=float(gaze.max()),
        pitch_over_yaw_deg=float(error_range(aligner, turns, PITCH).mean()),
        yaw_over_pitch_deg=float(error_range(aligner, nods, YAW).mean()))


def still_heads(heads: Sequence[Sample]) -> list[Sample]:
    """Return heads such as often stand before a robot, among heads with a rotation."""
    rotations = np.stack([sample.rotation for sample in heads])
    moderate = (np.abs(decode_label_euler(rotations)) < _STILL_DEG).all(axis=1)
    rows = np.flatnonzero(moderate & (rotations[:, 2, 0] < 0))
    return [heads[row] for row in rows[:_MAX_STILL]]


def still_jitter(
    aligner: HeadAligner, samples: Sequence[Sample], smoothing: Smoothing | None = None,
) -> tuple[Array, Array]:
    """
    Measure how much heads move that stand still before a noisy sensor.

    :param aligner: the model.
    :param samples: N heads.
    :param smoothing: of the tracked heads; None is that of the node.
    :return: (N,) RMS distance of the landmarks from their means, % of the box, and of the rotation
        from its mean, degrees.
    """
    points, turns = [], []
    for sample in tqdm(samples, desc='still', unit='head', leave=False, disable=None):
        image = sample.image()
        generator = np.random.default_rng(zlib.crc32(sample.group.encode()))
        frames = ((_with_noise(image, generator), sample.box, number / FRAME_RATE)
                  for number in range(STILL_FRAMES))
        jitter = measure_jitter(track_in_boxes(aligner, frames, smoothing)[SETTLING_FRAMES:])
        points.append(jitter.spread_percent)
        turns.append(jitter.spread_deg)
    return np.array(points), np.array(turns)


def exact_lag_ms() -> float:
    """Return how many ms the filter lags behind exact answers for the heads of `turn_lag`."""
    smoothing = Smoothing()
    speed = np.deg2rad(TURN_SPEED_DEG) / UNIT_ROTATION
    return float(1000.0 / (2.0 * np.pi * (smoothing.min_cutoff + smoothing.beta * speed)))


def turn_lag(
    aligner: HeadAligner, samples: Sequence[Sample], smoothing: Smoothing | None = None,
) -> Array:
    """
    Measure how far tracked heads lag behind heads that turn.

    Each clip is played forwards and backwards. A constant error of the yaw of a picture is in both
    passes, and the lag has opposite signs: it is half of their difference over the angular speed.
    The filter takes noise for speed and then smooths less, so that a less steady model may lag less
    than exact answers do.

    :param aligner: the model.
    :param samples: frames of C clips, a group each.
    :param smoothing: of the tracked heads; None is that of the node.
    :return: (C,) ms.
    """
    lags = []
    for frames in tqdm([*clips(samples)], desc='turns', unit='clip', leave=False, disable=None):
        images = [frame.image() for frame in frames]
        passes = []
        for order in (range(len(frames)), range(len(frames))[::-1]):
            tracked = track_in_boxes(aligner, (
                (images[index], frames[index].box, number / FRAME_RATE)
                for number, index in enumerate(order)), smoothing)
            passes.append(_euler(tracked)[:, YAW])
        there, back = passes[0], passes[1][::-1]
        measured = slice(SETTLING_FRAMES, len(frames) - SETTLING_FRAMES)
        lags.append(1000 * float(np.mean(back[measured] - there[measured]))
                    / (2 * TURN_SPEED_DEG))
    return np.array(lags)


def error_range(aligner: HeadAligner, samples: Sequence[Sample], angle: int) -> Array:
    """
    Measure by how much the error of one angle varies while another one sweeps.

    Every frame is aligned in its true box, without smoothing.

    :param aligner: the model.
    :param samples: frames of C clips, a group each.
    :param angle: `YAW` or `PITCH`, which is constant in the clips.
    :return: (C,) largest minus smallest error, degrees.
    """
    ranges = []
    for frames in clips(samples):
        found = aligner.align_images([(frame.image(), frame.box[None]) for frame in frames])
        answered = euler_from_rotation(np.concatenate([part.rotation for part in found]))
        true = decode_label_euler(np.stack([frame.rotation for frame in frames]))
        ranges.append(np.ptp((answered - true)[:, angle]))
    return np.array(ranges)


def eye_effects(aligner: HeadAligner, samples: Sequence[Sample]) -> tuple[Array, Array]:
    """
    Measure by how much the rotation of a still head changes with its eyes.

    All frames are aligned in the box of the first, without smoothing.

    :param aligner: the model.
    :param samples: frames of C clips, a group each: eyes open, closed, and K averted.
    :return: degrees from the first frame: (C,) closed, (C, K) averted.
    """
    changes = []
    for frames in clips(samples):
        box = frames[0].box[None]
        found = aligner.align_images([(frame.image(), box) for frame in frames])
        rotations = np.concatenate([part.rotation for part in found])
        first = np.broadcast_to(rotations[0], rotations[1:].shape)
        changes.append(geodesic_distance_deg(rotations[1:], first))
    return np.array(changes)[:, 0], np.array(changes)[:, 1:]


def clips(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """Yield the frames of every group, in order."""
    for name in dict.fromkeys(sample.group for sample in samples):
        yield [sample for sample in samples if sample.group == name]


def track_in_boxes(
    aligner: HeadAligner, frames: Iterable[tuple[Image, Array, float]],
    smoothing: Smoothing | None = None,
) -> list[Alignment]:
    """
    Track a head as the node does, with a detector that is always right.

    :param aligner: the model.
    :param frames: images (H, W, 3) BGR, the box (4,) px of the head in each, and their times, s.
    :param smoothing: of the tracked head; None is that of the node.
    :return: the head in every frame.
    """
    detector = _KnownHead()
    # A head that is hardly believed is still tracked: its score is judged elsewhere.
    pipeline = HeadPipeline(aligner, detector, PipelineConfig(
        tracking=Tracking(new_track_threshold=0.0, keep_track_threshold=0.0),
        smoothing=smoothing or Smoothing()))
    heads = []
    for image, detector.box, stamp in frames:
        found = pipeline.track(image, stamp)
        heads.append(found[0] if found else pipeline.align(image, detector.box[None])[0])
    return [Alignment(landmarks=head.landmarks[:, :2], rotation=head.rotation) for head in heads]


class _KnownHead:
    """A detector that reports the true box: what is measured is the aligner."""

    def __init__(self) -> None:
        self.box = np.zeros(4)

    def detect(self, image: Image) -> HeadDetections:
        box, one = self.box[None], np.ones(1)
        return HeadDetections(one, one, 0 * one, box, box)

    def moved(self, device: str, backend: str = 'auto', threads: int = 0) -> _KnownHead:
        return self


def _euler(alignments: Sequence[Alignment]) -> Array:
    """Return yaw, pitch and roll (N, 3) in degrees."""
    return euler_from_rotation(np.stack([alignment.rotation for alignment in alignments]))


def _with_noise(image: Image, generator: np.random.Generator) -> Image:
    noise = generator.standard_normal(image.shape, np.float32) * NOISE_LEVELS
    return np.clip(np.round(image + noise), 0, 255).astype(np.uint8)
