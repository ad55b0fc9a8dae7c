"""
Temporal jitter: the noise of the predictions on a clip of a head, frame by frame.

A predictor tracks the largest head of the clip: the box of a frame is that of its own landmarks in
the previous frame. The measure is the second difference x(t − 1) − 2 x(t) + x(t + 1), which is zero
for uniform motion: noise of standard deviation σ that is independent between frames gives it the
deviation √6 σ. Smoothing correlates what remains of the noise: slow drift shows in the spread
about the mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.sources import Frame
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_ros.perception.pipeline import HeadPipeline
from trans3dhead_ros.types import Array
from trans3dhead_training.core import metrics
from trans3dhead_training.predictors import Alignment, Predictor

MIN_FRAMES = 5
_SECOND_DIFFERENCE = np.sqrt(6.0)  # of independent noise: 1² + 2² + 1²


@dataclass(frozen=True)
class Jitter:
    """Noise of the predictions on one clip."""

    frames: int
    """Number of frames over which the head was tracked."""
    points_percent: float
    """RMS noise of a landmark's position, in % of √(w h) of the box."""
    rotation_deg: float | None
    """RMS noise of the rotation; None where the predictor returns none."""
    spread_percent: float
    """RMS distance of the landmarks from their means over the clip, in % of √(w h) of the box:
    noise where the head is still, else its motion as well."""
    spread_deg: float | None
    """RMS distance of the rotation from its mean over the clip."""
    smoothed: Jitter | None = None
    """Of the same heads after smoothing; None for networks other than ours."""


def detect_first_head(pipeline: HeadPipeline, frames: Iterable[Frame]) -> tuple[int, Array]:
    """
    Detect the largest head in the first frame that has one.

    :param pipeline: whose detector to use.
    :param frames: of the clip.
    :return: index of the frame, and the landmark box (4,) px.
    :raises UserError: no frame has a head.
    """
    count = 0
    for frame in frames:
        count += 1
        if heads := pipeline.detect(frame.image):
            largest = max(heads, key=lambda head: np.prod(head.box[2:] - head.box[:2]))
            return frame.index, largest.box
    raise UserError(f'clip: no head found in any of its {count} frames')


def track_head(
    predictor: Predictor, frames: Iterable[Frame], start: int, box: Array,
) -> list[Alignment]:
    """
    Track a head by the landmarks of the previous frame, until they leave the image.

    :param predictor: to evaluate.
    :param frames: of the clip.
    :param start: index of the first frame.
    :param box: (4,) px, the landmark box in that frame.
    :return: the predictions from that frame on.
    """
    alignments: list[Alignment] = []
    for frame in frames:
        if frame.index < start:
            continue
        alignment = predictor.predict(frame.image, box[None])[0]
        box = landmark_box(alignment.landmarks)
        height, width = frame.image.shape[:2]
        inside = (np.isfinite(box).all() and (box[2:] - box[:2]).min() > 1
                  and (box[2:] > 0).all() and box[0] < width and box[1] < height)
        if not inside:
            break
        alignments.append(alignment)
    return alignments


def measure_jitter(alignments: Sequence[Alignment]) -> Jitter:
    """
    Measure the noise of the predictions on consecutive frames.

    :param alignments: at least `MIN_FRAMES`.
    :return: the noise.
    :raises UserError: too few frames.
    """
    if len(alignments) < MIN_FRAMES:
        raise UserError(f'clip: the head could be tracked over {len(alignments)} frames only; '
                        f'at least {MIN_FRAMES} are needed')
    points = np.stack([alignment.landmarks for alignment in alignments])
    size = float(np.median(metrics.box_size(points)))
    rotation_deg = spread_deg = None
    if all(alignment.rotation is not None for alignment in alignments):
        rotations = Rotation.from_matrix(np.stack([a.rotation for a in alignments]))
        steps = (rotations[:-1].inv() * rotations[1:]).as_rotvec()
        rotation_deg = float(np.rad2deg(_rms(np.diff(steps, axis=0)) / _SECOND_DIFFERENCE))
        spread_deg = float(np.rad2deg(_rms((rotations.mean().inv() * rotations).as_rotvec())))
    return Jitter(
        frames=len(alignments),
        points_percent=100 * _rms(np.diff(points, n=2, axis=0)) / _SECOND_DIFFERENCE / size,
        rotation_deg=rotation_deg,
        spread_percent=100 * _rms(points - points.mean(axis=0)) / size, spread_deg=spread_deg)


def _rms(vectors: Array) -> float:
    """Return the root mean square length of vectors (..., D)."""
    return float(np.sqrt((vectors ** 2).sum(axis=-1).mean()))
