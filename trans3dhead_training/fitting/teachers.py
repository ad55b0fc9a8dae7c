"""Second opinions on a face: other people's networks, asked once for every picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from trans3dhead_ros.media.sources import read_picture
from trans3dhead_training.predictors import make_predictor

Array = NDArray[np.float64]

SIDEWAYS_DEG = 45.0
"""Beyond this yaw MediaPipe's points are guesses and 3DDFA_V2's are asked instead."""


@dataclass(frozen=True, eq=False)
class TeacherPredictions:
    """
    What the teachers see in N faces.

    :ivar frontal: (N, 68, 2) px, MediaPipe's points under their iBUG numbers.
    :ivar sideways: (N, 68, 2) px, those of 3DDFA_V2, jaw fixed on the head.
    :ivar rotation: (N, 3, 3) of 3DDFA_V2, apparent.
    """

    frontal: Array
    sideways: Array
    rotation: Array

    def points(self, yaw_deg: Array) -> Array:
        """Return (N, 68, 2) px of the teacher that is the better one at each yaw (N,)."""
        turned = np.abs(yaw_deg) > SIDEWAYS_DEG
        return np.where(turned[:, None, None], self.sideways, self.frontal)


def ask(pictures: Sequence[Path], boxes: Array, baselines: Path) -> TeacherPredictions:
    """
    Ask both teachers about one face in each picture.

    :param boxes: (N, 4) px, of the 68 landmarks.
    :param baselines: folder with `mediapipe/` and `3ddfa_v2/`.
    :raises ValueError: where weights are missing or a picture cannot be read.
    """
    frontal = make_predictor('mediapipe', baselines=baselines)
    sideways = make_predictor('3ddfa_v2', baselines=baselines)
    rows = []
    for path, box in zip(tqdm(pictures, desc='teachers', unit='face', disable=None), boxes,
                         strict=True):
        image = read_picture(path)
        other = sideways.predict(image, box[None])[0]
        rows.append((frontal.predict(image, box[None])[0].landmarks, other.landmarks,
                     other.rotation))
    return TeacherPredictions(*(np.stack(column) for column in zip(*rows, strict=True)))
