"""Rendering of turned photographs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from trans3dhead_ros.types import Array, Float32Array, Image
from trans3dhead_training.synthesis.render.renderer import Lighting, Scene, render
from trans3dhead_training.synthesis.render.textured_mesh import Material, Mesh
from trans3dhead_training.synthesis.turned_photos.head_surface import HeadSurface, neck_fade
from trans3dhead_training.synthesis.turned_photos.photograph import (
    FaceFit,
    Photograph,
    prepare_photograph,
)
from trans3dhead_training.synthesis.turned_photos.target_pose import (
    PosedHead,
    TargetPose,
    TurnedFace,
    pose_photograph,
)

SIZE = 256
_DISTANCE_M = 8.0
_VISIBLE_TOLERANCE_M = 0.008
"""A landmark counts as visible if the surface is at most that much nearer."""

_NECK = 1
"""Index of the neck in the surface's parts."""


def turn_photograph(
    picture: Image, points: Array, fit: FaceFit, surface: HeadSurface, target: TargetPose,
    size: int = SIZE,
) -> tuple[Image, TurnedFace]:
    """
    Turn one labelled photograph.

    :param picture: (H, W, 3) uint8 BGR.
    :param points: (68, 2) px, jaw on the visible contour.
    :param fit: the head model fitted to it.
    :param surface: the head's surface.
    :param target: the target pose.
    :param size: px, side of the picture.
    :return: (size, size, 3) BGR, with twice the side of the new landmark box, and its labels.
    :raises RejectedError: the photograph is not suitable; the message says why.
    """
    return next(render_poses(prepare_photograph(picture, points, fit, surface), [target], size))


def render_poses(
    photograph: Photograph, targets: Sequence[TargetPose], size: int = SIZE, oversampling: int = 2,
) -> Iterator[tuple[Image, TurnedFace]]:
    """Yield a picture (size, size, 3) BGR and its labels for every target pose."""
    for target in targets:
        yield render_posed_head(pose_photograph(photograph, target, size), size, oversampling)


def render_posed_head(
    posed: PosedHead, size: int = SIZE, oversampling: int = 2
) -> tuple[Image, TurnedFace]:
    """Render a picture (size, size, 3) BGR and determine the visible landmarks."""
    rendering = render([_scene(posed, size)], oversampling)
    truth = posed.truth
    column, row = np.clip(np.round(truth.landmarks[:, :2]), 0, size - 1).astype(int).T
    nearest = rendering.depth[0].numpy()[row, column]
    visible = posed.landmark_depth + _DISTANCE_M < nearest + _VISIBLE_TOLERANCE_M
    image = np.ascontiguousarray(rendering.image[0].numpy()[..., ::-1])
    _fade_neck(image, rendering.part[0].numpy(), rendering.depth[0].numpy(), posed)
    return image, replace(truth, visible=visible)


def _fade_neck(
    image: Image, part: NDArray[np.int16], depth: Float32Array, posed: PosedHead,
) -> None:
    """Blend the neck into the background where the model ends, in place."""
    row, column = np.nonzero(part == _NECK)
    truth = posed.truth
    across = (np.column_stack([column, row]) - truth.translation) / np.exp(truth.log_scale)
    away = depth[row, column] - _DISTANCE_M
    height = across @ truth.rotation[:2, 2] + away * truth.rotation[2, 2]
    share = neck_fade(height)[:, None]
    below = posed.background[row, column]
    image[row, column] = np.round(below + share * (image[row, column].astype(float) - below))


def _scene(posed: PosedHead, size: int) -> Scene:
    """Return a scene whose perspective camera shows the weak perspective of the posed head."""
    scale, middle = np.exp(posed.truth.log_scale), (size - 1) / 2
    z = _DISTANCE_M + posed.vertices[:, 2]
    focal = scale * _DISTANCE_M
    # Scaled with depth, which cancels the perspective division.
    scaled = np.column_stack([(posed.vertices[:, :2] - middle) * (z / focal)[:, None], z])
    vertices = torch.from_numpy(scaled.astype(np.float32))
    surface, texture = posed.photograph.surface, posed.texture
    uv = ((posed.uv + 0.5) / texture.shape[1::-1]).astype(np.float32)
    rgba = np.full((*texture.shape[:2], 4), 255, np.uint8)
    rgba[..., :3] = texture[..., ::-1]
    material = Material(unlit=True)
    meshes = tuple(Mesh(vertices, torch.from_numpy(surface.triangles[part]),
                        torch.from_numpy(uv[part]), torch.from_numpy(rgba), material, name)
                   for part, name in zip(surface.parts, ('head', 'neck'), strict=True))
    intrinsics = torch.tensor([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
    nothing = Lighting(torch.zeros(9, 3), torch.zeros(0, 3), torch.zeros(0, 3), shadows=False)
    background = torch.from_numpy(np.ascontiguousarray(posed.background[..., ::-1]))
    return Scene(meshes, intrinsics.float(), nothing, background)
