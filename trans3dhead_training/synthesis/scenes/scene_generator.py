"""Rendered people with labels: crops around one head, and scenes with several people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import viewing_ray_rotation
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_ros.types import Array, BoolArray, Image
from trans3dhead_training.synthesis.appearance.portrait_texture import PortraitTextures
from trans3dhead_training.synthesis.occluders.occluder_placement import (
    OccluderDistribution,
    OccluderPlacement,
)
from trans3dhead_training.synthesis.people.person import Person
from trans3dhead_training.synthesis.people.person_assets import PersonAssets
from trans3dhead_training.synthesis.people.person_sampling import sample_person
from trans3dhead_training.synthesis.render.renderer import Scene, render
from trans3dhead_training.synthesis.render.textured_mesh import Mesh
from trans3dhead_training.synthesis.scenes.background_sampling import sample_background
from trans3dhead_training.synthesis.scenes.camera_effects import CameraEffects, apply_camera_effects
from trans3dhead_training.synthesis.scenes.camera_sampling import (
    CameraDistribution,
    CameraView,
    sample_view,
)
from trans3dhead_training.synthesis.scenes.expression_sampling import sample_expression
from trans3dhead_training.synthesis.scenes.hdr_environments import Environment, read_environments
from trans3dhead_training.synthesis.scenes.head_labels import HeadLabeller, SyntheticHead
from trans3dhead_training.synthesis.scenes.light_sampling import (
    LightDistribution,
    SceneLight,
    sample_light,
)
from trans3dhead_training.synthesis.scenes.lower_body import sample_lower_body
from trans3dhead_training.synthesis.scenes.neck_pose import sample_torso_rotation
from trans3dhead_training.synthesis.scenes.pose_sampling import FixedPose, PoseDistribution

CROP_SIZE = 256
PICTURES_PER_PERSON = 8
MAX_HEADS = 8
HEAD_PARTS = ('skin', 'eye', 'lashes', 'teeth', 'gums', 'sockets', 'brows')
"""Prefixes of the names of meshes that belong to the head itself."""
_BODY_WIDTH = 0.42
"""m: least distance between two heads."""
UPRIGHT = PoseDistribution(
    behind_share=0.2, nod_deg=18.0, wide_nod_share=0.08, tilt_sigma_deg=6.0,
    elevation_sigma_deg=6.0, in_plane_sigma_deg=3.0, wide_in_plane_share=0.02)


@dataclass(frozen=True)
class SceneConfig:
    """What is rendered; the defaults are those of the training set."""

    poses: PoseDistribution | FixedPose = field(default_factory=PoseDistribution)
    """Rotations of heads in crops."""
    standing_poses: PoseDistribution = field(default_factory=lambda: UPRIGHT)
    """Rotations of heads in scenes, where people hardly lie or lean."""
    cameras: CameraDistribution = field(default_factory=CameraDistribution)
    """Cameras of crops, and the field of view in scenes."""
    lights: LightDistribution = field(default_factory=LightDistribution)
    """Light."""
    occluders: OccluderDistribution = field(default_factory=OccluderDistribution)
    """Glasses, hats, masks and other occluders."""
    effects: CameraEffects = field(default_factory=CameraEffects)
    """Image degradations."""


@dataclass(frozen=True, eq=False)
class SceneAssets:
    """
    People, light, occluders and the head model of the labels.

    Example::

        assets = SceneAssets.load(data_root, Path('runs/people'), load_head_model().cpu())
        for number, image, labels in crop_stream(assets, seed=0):
            ...
    """

    sample_person: Callable[[np.random.Generator], Person]
    """Returns a random person."""
    environments: tuple[Environment, ...]
    """The panoramas."""
    occluders: OccluderPlacement
    """Fits occluders to heads."""
    labeller: HeadLabeller
    """Computes the labels."""
    config: SceneConfig = SceneConfig()
    """What is rendered."""

    @classmethod
    def load(
        cls, data_root: Path, cache: Path, model: HeadModule, config: SceneConfig = SceneConfig(),
        portraits: bool = True,
    ) -> SceneAssets:
        """
        Load people and light.

        :param data_root: folder of the data.
        :param cache: folder of the registered assets.
        :param model: on the CPU, with the documented expressions and the first identity modes.
        :param config: what is rendered.
        :param portraits: whether some skins are those of photographed people.
        :return: the assets.
        :raises UserError: an input is missing or damaged.
        """
        people = PersonAssets.load(data_root, cache)
        if not portraits:
            people = replace(people, portraits=PortraitTextures.empty())
        return cls(partial(sample_person, people),
                   read_environments(data_root / 'appearance' / 'hdri'),
                   OccluderPlacement.from_model(model), HeadLabeller.from_model(model), config)


@dataclass(frozen=True, eq=False)
class PosedPerson:
    """One person with an expression and occluders, in the head frame."""

    meshes: tuple[Mesh, ...]
    """Meshes of person and occluders."""
    vertices: Array
    """(V, 3) m, the true vertices at the head model's sampling."""
    shape: Array
    """(50,) identity coefficients of the head model."""
    expression: Array
    """(53,) expression coefficients."""


def pose_person(
    assets: SceneAssets, generator: np.random.Generator, person: Person, expression: Array,
    body_rotation: Array,
) -> PosedPerson:
    """
    Return a person with an expression and random occluders.

    :param assets: the occluders.
    :param generator: source of the choices.
    :param person: the person.
    :param expression: (53,) coefficients.
    :param body_rotation: (3, 3) shoulders → head frame.
    :return: the posed person.
    """
    vertices = np.asarray(person.head_vertices(expression), np.float64)
    meshes = assets.occluders.add_occluders(
        generator, person.meshes(expression, body_rotation=body_rotation), vertices,
        assets.config.occluders)
    count = assets.labeller.model.shape_count
    return PosedPerson(
        meshes, vertices, np.asarray(person.identity[:count], np.float64), expression
    )


def render_crops(
    assets: SceneAssets, generator: np.random.Generator, count: int, size: int = CROP_SIZE,
) -> list[tuple[Image, SyntheticHead]]:
    """
    Render one person `count` times, each with new expression, occluders, pose, camera and light.

    :param assets: people and light.
    :param generator: source of the choices.
    :param count: number of pictures.
    :param size: px, side of the pictures, about twice the longer side of the landmark box.
    :return: pictures (size, size, 3) uint8 BGR and their labels.
    """
    person = assets.sample_person(generator)
    names = assets.labeller.model.expression_names
    landmarks = assets.labeller.model.landmark_indices.numpy()
    prepared: list[tuple[PosedPerson, CameraView, SceneLight, Scene]] = []
    for _ in range(count):
        apparent = assets.config.poses.sample(generator)
        posed = pose_person(assets, generator, person, sample_expression(generator, names),
                            sample_torso_rotation(generator, apparent))
        view = sample_view(generator, apparent, posed.vertices[landmarks], size,
                           assets.config.cameras)
        light = sample_light(generator, assets.environments, assets.config.lights)
        background = sample_background(generator, light, (size, size))
        scene = Scene(transform_meshes(posed.meshes, view.rotation, view.translation),
                      torch.from_numpy(view.intrinsics).float(), light.lighting,
                      torch.from_numpy(background))
        prepared.append((posed, view, light, scene))
    rendering = render([scene for *_, scene in prepared])
    pictures = []
    for index, (posed, view, light, scene) in enumerate(prepared):
        image = np.ascontiguousarray(rendering.image[index].numpy()[..., ::-1])
        image = apply_camera_effects(image, generator, assets.config.effects, view.magnification,
                                     darkness=0.7 if light.kind == 'low' else 0.0)
        truth = assets.labeller.label(
            posed.vertices, view.rotation, view.translation, view.intrinsics, posed.shape,
            posed.expression, rendering.depth[index].numpy(),
            occluder_mask(rendering.part[index].numpy(), scene))
        pictures.append((image, truth))
    return pictures


def crop_stream(
    assets: SceneAssets, seed: int, first: int = 0, size: int = CROP_SIZE,
) -> Iterator[tuple[int, Image, SyntheticHead]]:
    """
    Yield pictures without end; a number gives the same picture wherever the stream begins.

    :param assets: people and light.
    :param seed: of the people.
    :param first: number of the first picture; `number // PICTURES_PER_PERSON` is its person.
    :param size: px, side of the pictures.
    :yield: number, picture and labels, as `render_crops` returns them.
    """
    person = first // PICTURES_PER_PERSON
    while True:
        generator = np.random.default_rng((seed, person))
        for k, (image, truth) in enumerate(
                render_crops(assets, generator, PICTURES_PER_PERSON, size)):
            number = person * PICTURES_PER_PERSON + k
            if number >= first:
                yield number, image, truth
        person += 1


def transform_meshes(
    meshes: Sequence[Mesh], rotation: Array, translation: Array
) -> tuple[Mesh, ...]:
    """Return meshes of the head frame in the camera frame, by (3, 3) and (3,) m."""
    turn, shift = torch.from_numpy(rotation).float(), torch.from_numpy(translation).float()
    return tuple(mesh.transformed(turn, shift) for mesh in meshes)


def occluder_mask(part: NDArray[np.int16], scene: Scene) -> BoolArray:
    """Return where parts (H, W) of a rendering show an occluder: worn, held, hair or cloth."""
    own = [mesh.name.startswith(HEAD_PARTS) for mesh in scene.meshes]
    return ~np.array([*own, True])[part]


def render_scene(
    assets: SceneAssets, generator: np.random.Generator, size: tuple[int, int] = (640, 480),
    heads: int | None = None,
) -> tuple[Image, list[SyntheticHead]]:
    """
    Render a frame with several people.

    :param assets: people and light.
    :param generator: source of the choices.
    :param size: (width, height) px.
    :param heads: number of people, 0…8, or None for a random one. There are fewer where they do not
        fit side by side.
    :return: (H, W, 3) uint8 BGR, and the labels of its heads, the nearest first.
    :raises UserError: the number of heads is out of range.
    """
    if heads is None:
        heads = int(generator.integers(MAX_HEADS + 1))
    if not 0 <= heads <= MAX_HEADS:
        raise UserError(f'heads: expected 0…{MAX_HEADS}, got {heads}')
    camera = Camera.from_fov(size, generator.uniform(*assets.config.cameras.field_of_view_deg))
    light = sample_light(generator, assets.environments, assets.config.lights)
    background = sample_background(generator, light, size)
    names = assets.labeller.model.expression_names
    meshes: list[Mesh] = []
    posed_people = []
    for position in sorted(
        _sample_positions(generator, camera, heads), key=lambda position: position[2]
    ):
        person = assets.sample_person(generator)
        rotation = viewing_ray_rotation(position) @ assets.config.standing_poses.sample(generator)
        body = sample_torso_rotation(generator, rotation)
        posed = pose_person(assets, generator, person, sample_expression(generator, names), body)
        below = sample_lower_body(generator, posed.meshes, body)
        meshes += transform_meshes([*posed.meshes, *below], rotation, position)
        posed_people.append((posed, rotation, position))
    scene = Scene(tuple(meshes), torch.tensor(camera.K, dtype=torch.float32), light.lighting,
                  torch.from_numpy(background))
    rendering = render([scene])
    image = np.ascontiguousarray(rendering.image[0].numpy()[..., ::-1])
    image = apply_camera_effects(image, generator, assets.config.effects,
                                 darkness=0.7 if light.kind == 'low' else 0.0)
    depth, cover = rendering.depth[0].numpy(), occluder_mask(rendering.part[0].numpy(), scene)
    return image, [
        assets.labeller.label(posed.vertices, rotation, position, camera.K, posed.shape,
                              posed.expression, depth, cover)
        for posed, rotation, position in posed_people]


def _sample_positions(generator: np.random.Generator, camera: Camera, heads: int) -> list[Array]:
    """Return random positions (3,) m of heads, apart from one another."""
    width, height = camera.size
    focal = camera.K[0, 0]
    positions: list[Array] = []
    for _ in range(40 * heads):
        if len(positions) == heads:
            break
        share = np.exp(generator.uniform(np.log(0.06), np.log(0.5 if heads < 4 else 0.3)))
        distance = max(focal * 0.2 / (share * height), 0.35)
        pixel = generator.uniform([0.03, 0.08], [0.97, 0.8]) * [width, height]
        position = camera.unproject(pixel, distance)
        if all(np.linalg.norm(position - other) > _BODY_WIDTH for other in positions):
            positions.append(position)
    return positions
