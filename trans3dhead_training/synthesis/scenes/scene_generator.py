"""Rendered people with labels, in crops around one head."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_ros.types import Array, BoolArray, Image
from trans3dhead_training.synthesis.appearance.portrait_texture import PortraitTextures
from trans3dhead_training.synthesis.occluders.occluder_placement import OccluderPlacement
from trans3dhead_training.synthesis.people.person import Person
from trans3dhead_training.synthesis.people.person_assets import PersonAssets
from trans3dhead_training.synthesis.people.person_sampling import sample_person
from trans3dhead_training.synthesis.render.renderer import Scene, render
from trans3dhead_training.synthesis.render.textured_mesh import Mesh
from trans3dhead_training.synthesis.scenes.background_sampling import sample_background
from trans3dhead_training.synthesis.scenes.camera_effects import apply_camera_effects
from trans3dhead_training.synthesis.scenes.camera_sampling import CameraView, sample_view
from trans3dhead_training.synthesis.scenes.expression_sampling import sample_expression
from trans3dhead_training.synthesis.scenes.hdr_environments import Environment, read_environments
from trans3dhead_training.synthesis.scenes.head_labels import HeadLabeller, SyntheticHead
from trans3dhead_training.synthesis.scenes.light_sampling import SceneLight, sample_light
from trans3dhead_training.synthesis.scenes.neck_pose import sample_torso_rotation
from trans3dhead_training.synthesis.scenes.scene_config import SceneConfig

PICTURES_PER_PERSON = 8
HEAD_PARTS = ('skin', 'eye', 'lashes', 'teeth', 'gums', 'sockets', 'brows')
"""Prefixes of the names of meshes that belong to the head itself."""


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
    config: SceneConfig = field(default_factory=SceneConfig)
    """What is rendered."""

    @classmethod
    def load(
        cls, data_root: Path, cache: Path, model: HeadModule, config: SceneConfig | None = None,
        portraits: bool = True,
    ) -> SceneAssets:
        """
        Load people and light.

        :param data_root: folder of the data.
        :param cache: folder of the registered assets.
        :param model: on the CPU, with the documented expressions and the first identity modes.
        :param config: what is rendered; None: the defaults.
        :param portraits: whether some skins are those of photographed people.
        :return: the assets.
        :raises UserError: an input is missing or damaged.
        """
        people = PersonAssets.load(data_root, cache)
        if not portraits:
            people = replace(people, portraits=PortraitTextures.empty())
        return cls(partial(sample_person, people),
                   read_environments(data_root / 'appearance' / 'hdri'),
                   OccluderPlacement.from_model(model), HeadLabeller.from_model(model),
                   config or SceneConfig())


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
    assets: SceneAssets, generator: np.random.Generator, count: int, size: int | None = None,
) -> list[tuple[Image, SyntheticHead]]:
    """
    Render one person `count` times, each with new expression, occluders, pose, camera and light.

    :param assets: people and light.
    :param generator: source of the choices.
    :param count: number of pictures.
    :param size: px, side of the pictures; None: that of the configuration.
    :return: pictures (size, size, 3) uint8 BGR and their labels.
    """
    size = size or assets.config.crop_size
    person = assets.sample_person(generator)
    names = assets.labeller.model.expression_names
    landmarks = assets.labeller.model.landmark_indices.numpy()
    prepared: list[tuple[PosedPerson, CameraView, SceneLight, Scene]] = []
    for _ in range(count):
        apparent = assets.config.poses.sample(generator)
        posed = pose_person(assets, generator, person, sample_expression(generator, names),
                            sample_torso_rotation(generator, apparent, assets.config.tilt_bodies))
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
    assets: SceneAssets, seed: int, first: int = 0, size: int | None = None,
) -> Iterator[tuple[int, Image, SyntheticHead]]:
    """
    Yield pictures without end; a number gives the same picture wherever the stream begins.

    :param assets: people and light.
    :param seed: of the people.
    :param first: number of the first picture; `number // PICTURES_PER_PERSON` is its person.
    :param size: px, side of the pictures; None: that of the configuration.
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
