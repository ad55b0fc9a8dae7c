"""Aligned crops -> poses in metres -> `Head`s."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import euler_from_rotation
from trans3dhead_ros.perception.aligner import Alignments, HeadAligner
from trans3dhead_ros.perception.head import Head
from trans3dhead_ros.perception.metric_pose import (
    PoseNoise,
    Poses,
    solve_poses,
    weak_perspective_poses,
)
from trans3dhead_ros.types import Array, Image

#: Degrees; a common webcam's. Without intrinsics depth needs one, the rotation does not.
ASSUMED_FIELD_OF_VIEW = 60.0


@dataclass(frozen=True)
class HeadSize:
    """
    What absolute depth rests on: a picture cannot tell a small near head from a large far one.

    :raises ValueError: for numbers that are not positive.
    """

    #: Size of heads relative to the head model's average adult; below 1 for children.
    scale: float = 1.0
    #: Standard deviation of people's heads relative to that; goes into the covariance.
    uncertainty: float = 0.05

    def __post_init__(self) -> None:
        if not 0.0 < self.scale < np.inf:
            raise UserError(f'scale: expected a positive number, got {self.scale!r}')
        if not 0.0 <= self.uncertainty < np.inf:
            raise UserError(
                f'uncertainty: expected a number that is not negative, got {self.uncertainty!r}')


def pose(found: Alignments, image: Image, camera: Camera | None, size: HeadSize) -> Poses:
    """
    Return the poses of aligned heads of one image.

    Without a camera nothing is invented: the rotation stays the apparent one, and the depth comes
    from `ASSUMED_FIELD_OF_VIEW`.
    """
    if camera is None:
        height, width = image.shape[:2]
        assumed = Camera.from_fov((width, height), ASSUMED_FIELD_OF_VIEW)
        depth = size.scale * assumed.K[0, 0] / found.scale
        return weak_perspective_poses(found.rotation, assumed.rays(found.origin), depth)
    rays, ray_per_pixel = rays_with_scale(camera, found.landmarks[..., :2])
    focal = 0.5 * (camera.K[0, 0] + camera.K[1, 1])
    centre = camera.rays(found.centre)
    # Where the lens model cannot be inverted the undistorted ray is the best start there is.
    pinhole = (found.centre - camera.K[:2, 2]) / camera.K[[0, 1], [0, 1]]
    return solve_poses(
        points=size.scale * found.points,
        rays=rays,
        # The standard deviation of a Laplace distribution is sqrt(2) times its scale.
        sigma=np.sqrt(2.0) * found.landmark_scale * ray_per_pixel,
        rotation=found.rotation,
        centre=np.where(np.isfinite(centre), centre, pinhole),
        depth=size.scale * focal / found.scale,
        noise=PoseNoise(head_size=size.uncertainty))


def rays_with_scale(camera: Camera, pixels: Array) -> tuple[Array, Array]:
    """
    Return the viewing rays (..., 2) of pixels (..., 2), and how far a ray moves a pixel (...).

    In the middle of an image that is one over the focal length; towards the edge of a fisheye's it
    is several times as much.
    """
    steps = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    rays = camera.rays(pixels[..., None, :] + steps)
    along_x, along_y = (rays[..., i, :] - rays[..., 0, :] for i in (1, 2))
    area = along_x[..., 0] * along_y[..., 1] - along_x[..., 1] * along_y[..., 0]
    return rays[..., 0, :], np.sqrt(np.abs(area))


def assemble(
    aligner: HeadAligner, found: Alignments, poses: Poses, camera: Camera | None, size: HeadSize,
) -> list[Head]:
    """Return the public answer for each aligned head and its pose."""
    local = size.scale * aligner.vertices(found.shape, found.expression)
    vertices = local @ poses.rotation.swapaxes(-1, -2) + poses.translation[:, None]
    apparent = (local / size.scale) @ found.rotation[:, :2].swapaxes(-1, -2)
    vertices_px = apparent * found.scale[:, None, None] + found.origin[:, None]
    if camera is not None:
        projected = camera.project(vertices)
        vertices_px = np.where(np.isfinite(projected), projected, vertices_px)
    angles = euler_from_rotation(found.rotation)
    boxes = found.boxes
    return [
        Head(
            box=boxes[i],
            score=float(found.score[i]),
            track_id=None,
            landmarks=found.landmarks[i],
            landmarks_contour=found.contour[i],
            landmark_scale=found.landmark_scale[i],
            rotation=poses.rotation[i],
            translation=poses.translation[i],
            metric=camera is not None,
            pose_covariance=poses.covariance[i],
            euler_deg=tuple(float(angle) for angle in angles[i]),
            shape=found.shape[i],
            expression=found.expression[i],
            vertices=vertices[i],
            vertices_px=vertices_px[i],
        )
        for i in range(len(found))
    ]
