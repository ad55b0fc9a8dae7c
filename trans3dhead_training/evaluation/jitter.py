"""
Jitter over time: the answers to a clip of a head, frame by frame, with nothing smoothed.

A predictor follows the largest head of the clip: each frame's box is that of its own landmarks in
the frame before. What is measured is the second difference x(t − 1) − 2 x(t) + x(t + 1), in which a
head that moves evenly leaves nothing: noise of deviation σ that is independent from frame to frame
gives it the deviation √6 σ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.sources import Frame
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_ros.perception.pipeline import HeadPipeline
from trans3dhead_training.core import metrics
from trans3dhead_training.predictors import Alignment, Predictor

Array = NDArray[np.float64]

LEAST_FRAMES = 5
_SECOND_DIFFERENCE = np.sqrt(6.0)  # of independent noise: 1² + 2² + 1²


@dataclass(frozen=True)
class Jitter:
    """
    How restless the answers to one clip are.

    :ivar frames: that were followed.
    :ivar points_percent: RMS noise of a landmark's position, in % of √(w h) of the box.
    :ivar rotation_deg: RMS noise of the rotation; None where the predictor gives none.
    :ivar spread_percent, spread_deg: RMS distance from the mean over the clip, which is noise too
        where the head is still, and its movement where it is not.
    """

    frames: int
    points_percent: float
    rotation_deg: float | None
    spread_percent: float
    spread_deg: float | None


def first_box(pipeline: HeadPipeline, frames: Iterable[Frame]) -> tuple[int, Array]:
    """
    Return the number of the first frame with a head, and the landmark box (4,) px of its largest.

    :raises ValueError: there is none in any frame.
    """
    count = 0
    for frame in frames:
        count += 1
        if heads := pipeline.detect(frame.image):
            largest = max(heads, key=lambda head: np.prod(head.box[2:] - head.box[:2]))
            return frame.index, largest.box
    raise UserError(f'clip: no head found in any of its {count} frames')


def follow(predictor: Predictor, frames: Iterable[Frame], start: int, box: Array
           ) -> list[Alignment]:
    """Return the answers from frame number `start` on, until they leave every picture's bounds."""
    answers: list[Alignment] = []
    for frame in frames:
        if frame.index < start:
            continue
        answer = predictor.predict(frame.image, box[None])[0]
        box = landmark_box(answer.landmarks)
        height, width = frame.image.shape[:2]
        inside = (np.isfinite(box).all() and (box[2:] - box[:2]).min() > 1
                  and (box[2:] > 0).all() and box[0] < width and box[1] < height)
        if not inside:
            break
        answers.append(answer)
    return answers


def jitter(answers: Sequence[Alignment]) -> Jitter:
    """
    Measure how restless the answers to consecutive frames are.

    :raises ValueError: for fewer than `LEAST_FRAMES`.
    """
    if len(answers) < LEAST_FRAMES:
        raise UserError(f'clip: the head could be followed over {len(answers)} frames only; '
                         f'at least {LEAST_FRAMES} are needed')
    points = np.stack([answer.landmarks for answer in answers])
    size = float(np.median(metrics.box_size(points)))
    rotation_deg = spread_deg = None
    if all(answer.rotation is not None for answer in answers):
        rotations = Rotation.from_matrix(np.stack([answer.rotation for answer in answers]))
        steps = (rotations[:-1].inv() * rotations[1:]).as_rotvec()
        rotation_deg = float(np.rad2deg(_rms(np.diff(steps, axis=0)) / _SECOND_DIFFERENCE))
        spread_deg = float(np.rad2deg(_rms((rotations.mean().inv() * rotations).as_rotvec())))
    return Jitter(
        frames=len(answers),
        points_percent=100 * _rms(np.diff(points, n=2, axis=0)) / _SECOND_DIFFERENCE / size,
        rotation_deg=rotation_deg,
        spread_percent=100 * _rms(points - points.mean(axis=0)) / size, spread_deg=spread_deg)


def _rms(vectors: Array) -> float:
    """Return the root of the mean squared length of vectors (..., D)."""
    return float(np.sqrt((vectors ** 2).sum(axis=-1).mean()))
