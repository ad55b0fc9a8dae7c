"""Teachers: the networks of others, whose predictions check labels and replace missing ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from trans3dhead_ros.media.sources import read_picture
from trans3dhead_ros.types import Array
from trans3dhead_training.predictors import make_predictor

PROFILE_YAW_DEG = 45.0
"""Beyond this yaw 3DDFA_V2's points are used, because MediaPipe's are unreliable there."""


@dataclass(frozen=True, eq=False)
class TeacherPredictions:
    """The predictions of the teachers on N faces."""

    frontal: Array
    """(N, 68, 2) px, MediaPipe's points in iBUG order."""
    profile: Array
    """(N, 68, 2) px, those of 3DDFA_V2, jaw fixed on the head."""
    rotation: Array
    """(N, 3, 3) of 3DDFA_V2, apparent."""

    def points(self, yaw_deg: Array) -> Array:
        """Return the points (N, 68, 2) px of the more reliable teacher at each yaw (N,)."""
        turned = np.abs(yaw_deg) > PROFILE_YAW_DEG
        return np.where(turned[:, None, None], self.profile, self.frontal)


def query_teachers(pictures: Sequence[Path], boxes: Array, baselines: Path) -> TeacherPredictions:
    """
    Run both teachers on one face in each picture.

    :param pictures: N files.
    :param boxes: (N, 4) px, of the 68 landmarks.
    :param baselines: folder with `mediapipe/` and `3ddfa_v2/`.
    :return: their predictions.
    :raises UserError: weights are missing or a picture cannot be read.
    """
    frontal = make_predictor('mediapipe', baselines=baselines)
    profile = make_predictor('3ddfa_v2', baselines=baselines)
    rows = []
    for path, box in zip(tqdm(pictures, desc='teachers', unit='face', disable=None), boxes,
                         strict=True):
        image = read_picture(path)
        other = profile.predict(image, box[None])[0]
        rows.append((frontal.predict(image, box[None])[0].landmarks, other.landmarks,
                     other.rotation))
    return TeacherPredictions(*(np.stack(column) for column in zip(*rows, strict=True)))
