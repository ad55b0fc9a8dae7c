"""From alignments to metric poses and `Head`s."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import euler_from_rotation
from trans3dhead_ros.perception.aligner import Alignments, HeadAligner
from trans3dhead_ros.perception.head import Head, HeadMesh
from trans3dhead_ros.perception.metric_pose import (
    PoseNoise,
    Poses,
    solve_poses,
    weak_perspective_poses,
)
from trans3dhead_ros.types import Array, Image

# Standard deviations, m and rad, on each axis, of a head whose face is hidden: heads of synthetic
# people that were seen from behind were turned by 37° (median) from where they were said to be.
_HIDDEN_POSITION, _HIDDEN_ROTATION = 0.05, np.deg2rad(35.0)
_HIDDEN_COVARIANCE = np.diag([_HIDDEN_POSITION ** 2] * 3 + [_HIDDEN_ROTATION ** 2] * 3)

ASSUMED_FIELD_OF_VIEW = 60.0
"""Horizontal, degrees, of a common webcam; the depth rests on it where no camera is given."""


@dataclass(frozen=True)
class HeadSize:
    """
    The size of heads, on which metric depth rests.

    An image cannot distinguish a small near head from a large distant one.

    :raises UserError: for numbers that are not positive.
    """

    scale: float = 1.0
    """Size of heads relative to the average adult of the head model; below 1 for children."""
    uncertainty: float = 0.05
    """Relative standard deviation of the size of heads; it enters the covariance."""

    def __post_init__(self) -> None:
        if not 0.0 < self.scale < np.inf:
            raise UserError(f'scale: expected a positive number, got {self.scale!r}')
        if not 0.0 <= self.uncertainty < np.inf:
            raise UserError(
                f'uncertainty: expected a number that is not negative, got {self.uncertainty!r}')


def estimate_poses(
    found: Alignments, image: Image, camera: Camera | None, size: HeadSize,
) -> Poses:
    """
    Return the poses of the aligned heads of one image.

    :param found: B heads.
    :param image: (H, W, 3).
    :param camera: without one, the rotation is the apparent one and the depth rests on
        `ASSUMED_FIELD_OF_VIEW`.
    :param size: of the heads.
    :return: B poses.
    """
    if camera is None:
        height, width = image.shape[:2]
        assumed = Camera.from_fov((width, height), ASSUMED_FIELD_OF_VIEW)
        depth = size.scale * assumed.K[0, 0] / found.scale
        return weak_perspective_poses(found.rotation, assumed.rays(found.origin), depth)
    rays, ray_per_pixel = rays_with_scale(camera, found.landmarks[..., :2])
    centre = camera.rays(found.centre)
    if not camera.is_pinhole:
        # Where the distortion cannot be inverted, the pinhole ray is the best available start.
        pinhole = (found.centre - camera.principal_point) / camera.focal_lengths
        centre = np.where(np.isfinite(centre), centre, pinhole)
    return solve_poses(
        points=size.scale * found.points,
        rays=rays,
        # The standard deviation of a Laplace distribution is sqrt(2) times its scale.
        sigma=math.sqrt(2.0) * ray_per_pixel * found.landmark_scale,
        rotation=found.rotation,
        centre=centre,
        depth=size.scale * 0.5 * sum(camera.focal_lengths) / found.scale,
        noise=PoseNoise(head_size=size.uncertainty))


def rays_with_scale(camera: Camera, pixels: Array) -> tuple[Array, Array | float]:
    """
    Return viewing rays and by how much they change from one pixel to the next.

    In the centre of an image that is one over the focal length; towards the edge of a fisheye image
    it is several times as much.

    :param camera: which saw the pixels.
    :param pixels: (..., 2).
    :return: rays (..., 2), and their change per pixel: (...), or one number without distortion.
    """
    if camera.is_pinhole:
        return camera.rays(pixels), 1.0 / math.sqrt(math.prod(camera.focal_lengths))
    steps = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    rays = camera.rays(pixels[..., None, :] + steps)
    along_x, along_y = (rays[..., i, :] - rays[..., 0, :] for i in (1, 2))
    area = along_x[..., 0] * along_y[..., 1] - along_x[..., 1] * along_y[..., 0]
    return rays[..., 0, :], np.sqrt(np.abs(area))


class _Meshes:
    """The vertices of all heads of an image, computed once, when those of the first are read."""

    def __init__(
        self, aligner: HeadAligner, found: Alignments, poses: Poses, camera: Camera | None,
        size: HeadSize,
    ) -> None:
        self._aligner, self._found, self._poses = aligner, found, poses
        self._camera, self._size = camera, size

    @cached_property
    def vertices(self) -> Array:
        """(B, V, 3) m in the camera optical frame."""
        rotation = self._size.scale * self._poses.rotation.swapaxes(-1, -2)
        return self._local @ rotation + self._poses.translation[:, None]

    @cached_property
    def vertices_px(self) -> Array:
        """(B, V, 2) px."""
        found = self._found
        if self._camera is not None:
            projected = self._camera.project(self.vertices)
            if np.isfinite(projected).all():
                return projected
        apparent = found.scale[:, None, None] * found.rotation[:, :2].swapaxes(-1, -2)
        apparent = self._local @ apparent + found.origin[:, None]
        return apparent if self._camera is None else np.where(
            np.isfinite(projected), projected, apparent)

    @cached_property
    def _local(self) -> Array:
        """(B, V, 3) m in the head frame, of a head of average size."""
        return self._aligner.vertices(self._found.shape, self._found.expression)

    def of(self, index: int) -> HeadMesh:
        return HeadMesh(lambda: self.vertices[index], lambda: self.vertices_px[index])


def build_heads(
    aligner: HeadAligner, found: Alignments, poses: Poses, camera: Camera | None, size: HeadSize,
    track_ids: Sequence[int | None] | None = None, faces: Sequence[float] | None = None,
) -> list[Head]:
    """
    Return the `Head` of each alignment and pose.

    :param aligner: whose head model it is.
    :param found: B heads.
    :param poses: of the same heads.
    :param camera: None without one.
    :param size: of the heads.
    :param track_ids: of the B heads; None: they have no identity.
    :param faces: probabilities of the detector that the B faces are seen; None without a detector.
    :return: B heads.
    """
    meshes = _Meshes(aligner, found, poses, camera, size)
    points = size.scale * aligner.landmark_points(found.shape, found.expression)
    points = points @ poses.rotation.swapaxes(-1, -2) + poses.translation[:, None]
    angles = euler_from_rotation(found.rotation).tolist()
    scores = found.score.tolist()
    boxes = found.boxes
    heads = [
        Head(
            box=boxes[i],
            score=scores[i],
            track_id=track_ids[i] if track_ids is not None else None,
            landmarks=found.landmarks[i],
            landmarks_contour=found.contour[i],
            landmark_scale=found.landmark_scale[i],
            rotation=poses.rotation[i],
            translation=poses.translation[i],
            metric=camera is not None,
            pose_covariance=poses.covariance[i],
            euler_deg=tuple(angles[i]),
            shape=found.shape[i],
            expression=found.expression[i],
            landmarks_m=points[i],
            face_probability=float(faces[i]) if faces is not None else None,
            mesh=meshes.of(i),
        )
        for i in range(len(found))
    ]
    return [head if head.face_visible else replace(
        head, pose_covariance=head.pose_covariance + _HIDDEN_COVARIANCE) for head in heads]
