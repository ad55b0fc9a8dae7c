"""Cameras that look at one head: near and far, wide and narrow, the head anywhere in the frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trans3dhead_ros.geometry import viewing_ray_rotation
from trans3dhead_ros.types import Array
from trans3dhead_training.synthesis.scenes.head_labels import project_points

_HEAD_MIDDLE = np.array([-0.07, 0.0, -0.035])
"""m, head frame: about the middle of the 68 points, which is held at the drawn place."""
_NEAREST = 0.32  # m


@dataclass(frozen=True)
class CameraDistribution:
    """How a head is filmed."""

    field_of_view_deg: tuple[float, float] = (25.0, 100.0)
    """Across the frame's longer side, evenly."""
    head_share: tuple[float, float] = (0.07, 0.6)
    """Height of the head in frame heights, evenly in its logarithm; nothing comes nearer than 32
    cm."""
    aspect: tuple[float, float] = (0.75, 1.78)
    """The frame's width by its height."""
    crop_scale: tuple[float, float] = (1.95, 2.15)
    """Side of the picture in longer sides of the landmark box."""
    crop_shift: float = 0.03
    """Of its centre, in the same measure."""


@dataclass(frozen=True, eq=False)
class CameraView:
    """Where a head is before a camera, and the picture's intrinsics."""

    rotation: Array
    """(3, 3) head → camera optical frame."""
    translation: Array
    """(3,) m."""
    intrinsics: Array
    """(3, 3) px of the crop; its principal point is that of the whole frame, mostly outside."""
    magnification: float
    """px of the crop per px of a frame with 720 rows: what a real camera would have had to show."""


def sample_view(
    generator: np.random.Generator, apparent: Array, landmarks: Array, size: int,
    distribution: CameraDistribution = CameraDistribution(),
) -> CameraView:
    """
    Draw a camera and set the head before it so that it looks turned by `apparent`.

    :param apparent: (3, 3) rotation as it is to look in the crop.
    :param landmarks: (68, 3) m, head frame.
    :param size: px, side of the square picture.
    """
    degrees = generator.uniform(*distribution.field_of_view_deg)
    low, high = np.log(distribution.aspect)
    aspect = np.exp(generator.uniform(low, high))
    # In frame heights, the origin at the principal point.
    focal = 0.5 * max(aspect, 1.0) / np.tan(np.deg2rad(degrees) / 2)
    low, high = np.log(distribution.head_share)
    share = np.exp(generator.uniform(low, high))
    distance = max(focal * 0.2 / share, _NEAREST)
    room = np.clip(0.5 * np.array([aspect, 1.0]) - 0.45 * share, 0.02, None)
    ray = np.append(generator.uniform(-room, room) / focal, 1.0)
    rotation = viewing_ray_rotation(ray) @ apparent
    translation = distance * ray / np.linalg.norm(ray) - rotation @ _HEAD_MIDDLE
    frame = np.array([[focal, 0.0, 0.0], [0.0, focal, 0.0], [0.0, 0.0, 1.0]])
    points = project_points(landmarks @ rotation.T + translation, frame)
    low, high = points.min(0), points.max(0)
    longer = (high - low).max()
    side = longer * generator.uniform(*distribution.crop_scale)
    shift = distribution.crop_shift * longer
    centre = (low + high) / 2 + generator.uniform(-shift, shift, 2)
    scale = size / side
    intrinsics = np.array([[focal * scale, 0.0, size / 2 - 0.5 - centre[0] * scale],
                           [0.0, focal * scale, size / 2 - 0.5 - centre[1] * scale],
                           [0.0, 0.0, 1.0]])
    return CameraView(rotation, translation, intrinsics, scale / 720)
