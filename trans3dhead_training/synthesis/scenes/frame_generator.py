"""Rendered frames with several people, and what a detector is trained on of each head."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import viewing_ray_rotation
from trans3dhead_ros.types import Array, BoolArray, Image
from trans3dhead_training.synthesis.render.renderer import Scene, render
from trans3dhead_training.synthesis.render.textured_mesh import Mesh
from trans3dhead_training.synthesis.scenes.background_sampling import sample_background
from trans3dhead_training.synthesis.scenes.camera_effects import apply_camera_effects
from trans3dhead_training.synthesis.scenes.expression_sampling import sample_expression
from trans3dhead_training.synthesis.scenes.head_labels import SyntheticHead, project_points
from trans3dhead_training.synthesis.scenes.light_sampling import sample_light
from trans3dhead_training.synthesis.scenes.lower_body import sample_lower_body
from trans3dhead_training.synthesis.scenes.neck_pose import sample_torso_rotation
from trans3dhead_training.synthesis.scenes.scene_config import SceneConfig
from trans3dhead_training.synthesis.scenes.scene_generator import (
    HEAD_PARTS,
    PosedPerson,
    SceneAssets,
    occluder_mask,
    pose_person,
    transform_meshes,
)

MAX_HEADS = 8
_BODY_WIDTH = 0.42
"""m: least distance between two heads."""
_WHOLE_HEAD_PARTS = (*HEAD_PARTS, 'hair', 'hat', 'glasses', 'lens', 'mask')
_CHIN, _CHIN_MARGIN_M = 8, 0.004
_MIN_OUTLINE_PX2 = 400.0


@dataclass(frozen=True, eq=False)
class SceneHead:
    """One head of a frame."""

    labels: SyntheticHead
    """Landmarks, pose and coefficients."""
    head_box: Array
    """(4,) px, x0 y0 x1 y1, tight around skull, hair and hat above the chin; it may extend beyond
    the frame."""
    seen: float
    """Share of the head's outline, 0..1, in which the frame shows it."""


def render_scene(
    assets: SceneAssets, generator: np.random.Generator, size: tuple[int, int] = (640, 480),
    heads: int | None = None,
) -> tuple[Image, list[SceneHead]]:
    """
    Render a frame with several people.

    :param assets: people and light.
    :param generator: source of the choices.
    :param size: (width, height) px.
    :param heads: number of people, 0…8, or None for a random one. There are fewer where they do not
        fit side by side.
    :return: (H, W, 3) uint8 BGR, and its heads, the nearest first.
    :raises UserError: the number of heads is out of range.
    """
    if heads is None:
        heads = int(generator.integers(MAX_HEADS + 1))
    if not 0 <= heads <= MAX_HEADS:
        raise UserError(f'heads: expected 0…{MAX_HEADS}, got {heads}')
    config = assets.config
    camera = Camera.from_fov(size, generator.uniform(*config.cameras.field_of_view_deg))
    light = sample_light(generator, assets.environments, config.lights)
    background = sample_background(generator, light, size)
    names = assets.labeller.model.expression_names
    meshes: list[Mesh] = []
    owner: list[int] = []
    posed_people = []
    positions = _sample_positions(generator, camera, heads, config)
    for number, position in enumerate(sorted(positions, key=lambda position: position[2])):
        person = assets.sample_person(generator)
        rotation = viewing_ray_rotation(position) @ config.standing_poses.sample(generator)
        body = sample_torso_rotation(generator, rotation, config.tilt_bodies)
        posed = pose_person(assets, generator, person, sample_expression(generator, names), body)
        own = [*posed.meshes, *sample_lower_body(generator, posed.meshes, body)]
        meshes += transform_meshes(own, rotation, position)
        owner += [number if mesh.name.startswith(_WHOLE_HEAD_PARTS) else -1 for mesh in own]
        posed_people.append((posed, rotation, position))
    scene = Scene(tuple(meshes), torch.tensor(camera.K, dtype=torch.float32), light.lighting,
                  torch.from_numpy(background))
    rendering = render([scene])
    image = np.ascontiguousarray(rendering.image[0].numpy()[..., ::-1])
    image = apply_camera_effects(image, generator, config.effects,
                                 darkness=0.7 if light.kind == 'low' else 0.0)
    part = rendering.part[0].numpy()
    depth, cover = rendering.depth[0].numpy(), occluder_mask(part, scene)
    shown_head = np.array([*owner, -1])[part]
    found = []
    for number, (posed, rotation, position) in enumerate(posed_people):
        labels = assets.labeller.label(posed.vertices, rotation, position, camera.K, posed.shape,
                                       posed.expression, depth, cover)
        outline = _head_outline(assets, posed, rotation, position, camera)
        found.append(SceneHead(labels, np.concatenate([outline.min(0), outline.max(0)]),
                               _share_seen(outline, shown_head == number)))
    return image, found


def _head_outline(
    assets: SceneAssets, posed: PosedPerson, rotation: Array, position: Array, camera: Camera,
) -> Array:
    """Return the convex outline (P, 2) px of skull, hair and hat above the chin."""
    chin = posed.vertices[int(assets.labeller.model.landmark_indices[_CHIN]), 2] - _CHIN_MARGIN_M
    points = np.concatenate([mesh.vertices.numpy() for mesh in posed.meshes
                             if mesh.name.startswith(('skin', 'hair', 'hat'))]).astype(float)
    points = points[points[:, 2] > chin]
    pixels = project_points(points @ rotation.T + position, camera.K)
    return cv2.convexHull(pixels.astype(np.float32))[:, 0].astype(float)


def _share_seen(outline: Array, shown: BoolArray) -> float:
    """Return the share of the outline's area, also outside the frame, in which `shown` is true."""
    inside = np.zeros(shown.shape, np.uint8)
    cv2.fillConvexPoly(inside, np.round(outline * 16).astype(np.int32), 1, shift=4)
    area = cv2.contourArea(outline.astype(np.float32))
    # The pixels of tiny heads are mostly on their outline, whose area they exceed.
    area = area if area > _MIN_OUTLINE_PX2 else max(float(inside.sum()), 1.0)
    return float(min((shown & (inside > 0)).sum() / area, 1.0))


def _sample_positions(
    generator: np.random.Generator, camera: Camera, heads: int, config: SceneConfig,
) -> list[Array]:
    """Return random positions (3,) m of heads, apart from one another."""
    width, height = camera.size
    focal = camera.K[0, 0]
    (left, right), (top, bottom) = config.scene_x, config.scene_y
    low, high = config.scene_head_share
    if heads >= 4:
        high = min(high, config.crowd_head_share)
    positions: list[Array] = []
    for _ in range(40 * heads):
        if len(positions) == heads:
            break
        share = np.exp(generator.uniform(np.log(low), np.log(high)))
        distance = max(focal * 0.2 / (share * height), 0.35)
        pixel = generator.uniform([left, top], [right, bottom]) * [width, height]
        position = camera.unproject(pixel, distance)
        if all(np.linalg.norm(position - other) > _BODY_WIDTH for other in positions):
            positions.append(position)
    return positions
