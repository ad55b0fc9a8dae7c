"""Random cameras: field of view, distance, and the head's position in the frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trans3dhead_ros.geometry import viewing_ray_rotation
from trans3dhead_ros.types import Array
from trans3dhead_training.synthesis.scenes.head_labels import project_points

_HEAD_MIDDLE = np.array([-0.07, 0.0, -0.035])
"""m, head frame: about the centre of the 68 landmarks, which is placed at the sampled position."""
_NEAREST = 0.32  # m


@dataclass(frozen=True)
class CameraDistribution:
    """Distribution of cameras."""

    field_of_view_deg: tuple[float, float] = (25.0, 100.0)
    """Range along the longer side of the frame, uniform."""
    head_share: tuple[float, float] = (0.07, 0.6)
    """Range of the head's height in frame heights, log-uniform; heads keep at least 32 cm
    distance."""
    aspect: tuple[float, float] = (0.75, 1.78)
    """Range of the frame's width by its height, log-uniform."""
    crop_scale: tuple[float, float] = (1.95, 2.15)
    """Range of the crop's side in longer sides of the landmark box."""
    crop_shift: float = 0.03
    """Largest shift of the crop's centre, in longer sides of the landmark box."""


@dataclass(frozen=True, eq=False)
class CameraView:
    """A head before a camera, and the intrinsics of the crop."""

    rotation: Array
    """(3, 3) head → camera optical frame."""
    translation: Array
    """(3,) m."""
    intrinsics: Array
    """(3, 3) px of the crop; the principal point is that of the whole frame, mostly outside the
    crop."""
    magnification: float
    """px of the crop per px of a frame with 720 rows."""


def sample_view(
    generator: np.random.Generator, apparent: Array, landmarks: Array, size: int,
    distribution: CameraDistribution = CameraDistribution(),
) -> CameraView:
    """
    Return a random camera before which the head has the apparent rotation `apparent`.

    :param generator: source of the choices.
    :param apparent: (3, 3) rotation as it appears in the crop.
    :param landmarks: (68, 3) m, head frame.
    :param size: px, side of the square crop.
    :param distribution: distribution of the camera.
    :return: pose and intrinsics.
    """
    degrees = generator.uniform(*distribution.field_of_view_deg)
    low, high = np.log(distribution.aspect)
    aspect = np.exp(generator.uniform(low, high))
    # Units of frame heights, with the origin at the principal point.
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
