"""Synthetic pictures with complete truth: crops around one head, and whole scenes of several."""

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
from trans3dhead_ros.head_model import HeadModel
from trans3dhead_training.synthesis.appearance.portrait_skin import PortraitSkins
from trans3dhead_training.synthesis.occluders.placement import (
    OccluderDistribution,
    OccluderPlacement,
)
from trans3dhead_training.synthesis.people.person import Person
from trans3dhead_training.synthesis.people.person_meshes import draw_person
from trans3dhead_training.synthesis.people.wardrobe import Wardrobe
from trans3dhead_training.synthesis.render.mesh import Mesh
from trans3dhead_training.synthesis.render.renderer import Scene, render
from trans3dhead_training.synthesis.scenes.backgrounds import draw_background
from trans3dhead_training.synthesis.scenes.bodies import draw_lower_body
from trans3dhead_training.synthesis.scenes.cameras import CameraDistribution, View, draw_view
from trans3dhead_training.synthesis.scenes.effects import Effects, apply_effects
from trans3dhead_training.synthesis.scenes.environments import Environment, read_environments
from trans3dhead_training.synthesis.scenes.expression_sampling import draw_expression
from trans3dhead_training.synthesis.scenes.labeller import Labeller, SyntheticHead
from trans3dhead_training.synthesis.scenes.lights import DrawnLight, LightDistribution, draw_light
from trans3dhead_training.synthesis.scenes.poses import HeldPose, PoseDistribution
from trans3dhead_training.synthesis.scenes.posture import draw_body

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

CROP_SIZE = 256
PICTURES_PER_PERSON = 8
MAXIMUM_HEADS = 8
HEAD_PARTS = ('skin', 'eye', 'lashes', 'teeth', 'gums', 'sockets', 'brows')
"""Beginnings of the names of meshes that belong to the head itself."""
_BODY_WIDTH = 0.42
"""m: two heads nearer than that would share a shoulder."""
UPRIGHT = PoseDistribution(behind_share=0.2, nod_deg=18.0, wide_nod_share=0.08, tilt_sigma_deg=6.0,
                           elevation_sigma_deg=6.0, turn_sigma_deg=3.0, wide_turn_share=0.02)


@dataclass(frozen=True)
class Recipe:
    """
    What is drawn; the defaults are the training set.

    :ivar poses: of heads in crops. :ivar standing: of people in frames, who hardly lie or lean.
    """

    poses: PoseDistribution | HeldPose = field(default_factory=PoseDistribution)
    standing: PoseDistribution = field(default_factory=lambda: UPRIGHT)
    cameras: CameraDistribution = field(default_factory=CameraDistribution)
    lights: LightDistribution = field(default_factory=LightDistribution)
    occluders: OccluderDistribution = field(default_factory=OccluderDistribution)
    effects: Effects = field(default_factory=Effects)


@dataclass(frozen=True, eq=False)
class SceneAssets:
    """
    All that pictures are made with: people, light, wear, and the head model that labels are for.

    :ivar draw: returns a person.
    """

    draw: Callable[[np.random.Generator], Person]
    environments: tuple[Environment, ...]
    room: OccluderPlacement
    labeller: Labeller
    recipe: Recipe = Recipe()

    @classmethod
    def load(cls, data_root: Path, cache: Path, model: HeadModel, recipe: Recipe = Recipe(),
             portraits: bool = True) -> SceneAssets:
        """
        Load people and light.

        :param data_root: the folder of the data. :param cache: where prepared people are kept.
        :param model: on the CPU, of the documented expressions and the first identity modes.
        :param portraits: some skins are those of photographed people; without, none are, as in what
            the repository shows.
        :raises ValueError: for a missing or damaged input.
        """
        wardrobe = Wardrobe.load(data_root, cache)
        if not portraits:
            wardrobe = replace(wardrobe, portraits=PortraitSkins.none())
        return cls(partial(draw_person, wardrobe),
                   read_environments(data_root / 'appearance' / 'hdri'),
                   OccluderPlacement.of(model), Labeller.of(model), recipe)


@dataclass(frozen=True, eq=False)
class PosedPerson:
    """One person at one moment, in the head frame."""

    meshes: tuple[Mesh, ...]
    vertices: Array
    """(V, 3) m, the true vertices at the head model's sampling."""
    shape: Array
    expression: Array


def sit(studio: SceneAssets, generator: np.random.Generator, person: Person, expression: Array,
        body_rotation: Array) -> PosedPerson:
    """
    Return a person with an expression (53,), dressed with what is drawn.

    :param body_rotation: (3, 3) shoulders → head frame.
    """
    vertices = np.asarray(person.head_vertices(expression), np.float64)
    meshes = studio.room.dress(
        generator, person.meshes(expression, body_rotation=body_rotation), vertices,
        studio.recipe.occluders)
    count = studio.labeller.model.shape_count
    return PosedPerson(meshes, vertices, np.asarray(person.identity[:count], np.float64), expression)


def draw_crops(
    studio: SceneAssets, generator: np.random.Generator, count: int, size: int = CROP_SIZE,
) -> list[tuple[Image, SyntheticHead]]:
    """
    Draw one person `count` times: another expression, wear, pose, camera, light and background.

    :param size: px, side of the pictures; twice the longer side of the landmark box.
    :return: (size, size, 3) uint8 BGR and the truth of each.
    """
    person = studio.draw(generator)
    names = studio.labeller.model.expression_names
    landmarks = studio.labeller.model.landmark_indices.numpy()
    drawn: list[tuple[PosedPerson, View, DrawnLight, Scene]] = []
    for _ in range(count):
        apparent = studio.recipe.poses.draw(generator)
        sitter = sit(studio, generator, person, draw_expression(generator, names),
                     draw_body(generator, apparent))
        view = draw_view(generator, apparent, sitter.vertices[landmarks], size,
                         studio.recipe.cameras)
        light = draw_light(generator, studio.environments, studio.recipe.lights)
        background = draw_background(generator, light, (size, size))
        scene = Scene(placed(sitter.meshes, view.rotation, view.translation),
                      torch.from_numpy(view.intrinsics).float(), light.lighting,
                      torch.from_numpy(background))
        drawn.append((sitter, view, light, scene))
    rendering = render([scene for *_, scene in drawn])
    pictures = []
    for index, (sitter, view, light, scene) in enumerate(drawn):
        image = np.ascontiguousarray(rendering.image[index].numpy()[..., ::-1])
        image = apply_effects(image, generator, studio.recipe.effects, view.magnification,
                              darkness=0.7 if light.kind == 'low' else 0.0)
        truth = studio.labeller.label(
            sitter.vertices, view.rotation, view.translation, view.intrinsics, sitter.shape,
            sitter.expression, rendering.depth[index].numpy(),
            covered(rendering.part[index].numpy(), scene))
        pictures.append((image, truth))
    return pictures


def crops(
    studio: SceneAssets, seed: int, first: int = 0, size: int = CROP_SIZE,
) -> Iterator[tuple[int, Image, SyntheticHead]]:
    """
    Yield pictures without end, the same for the same (seed, number) wherever one begins.

    :param first: number of the first one. `number // PICTURES_PER_PERSON` is its person.
    :return: number, picture and truth as `draw_crops`.
    """
    person = first // PICTURES_PER_PERSON
    while True:
        generator = np.random.default_rng((seed, person))
        for k, (image, truth) in enumerate(
                draw_crops(studio, generator, PICTURES_PER_PERSON, size)):
            number = person * PICTURES_PER_PERSON + k
            if number >= first:
                yield number, image, truth
        person += 1


def placed(meshes: Sequence[Mesh], rotation: Array, translation: Array) -> tuple[Mesh, ...]:
    """Return meshes of the head frame in the camera's, by (3, 3) and (3,) m."""
    turn, shift = torch.from_numpy(rotation).float(), torch.from_numpy(translation).float()
    return tuple(mesh.moved(turn, shift) for mesh in meshes)


def covered(part: NDArray[np.int16], scene: Scene) -> NDArray[np.bool_]:
    """Return where a rendering's parts (H, W) are no part of a head but worn, held or hair."""
    own = [mesh.name.startswith(HEAD_PARTS) for mesh in scene.meshes]
    return ~np.array([*own, True])[part]


def draw_scene(
    studio: SceneAssets, generator: np.random.Generator, size: tuple[int, int] = (640, 480),
    heads: int | None = None,
) -> tuple[Image, list[SyntheticHead]]:
    """
    Draw a frame with several people.

    :param size: (width, height) px. :param heads: 0…8; None draws how many. Where so many find no
        room without sharing shoulders, there are fewer.
    :return: (H, W, 3) uint8 BGR, and the truth of its heads, the nearest first.
    :raises ValueError: for another number of heads.
    """
    if heads is None:
        heads = int(generator.integers(MAXIMUM_HEADS + 1))
    if not 0 <= heads <= MAXIMUM_HEADS:
        raise UserError(f'heads: expected 0…{MAXIMUM_HEADS}, got {heads}')
    camera = Camera.from_fov(size, generator.uniform(*studio.recipe.cameras.field_of_view_deg))
    light = draw_light(generator, studio.environments, studio.recipe.lights)
    background = draw_background(generator, light, size)
    names = studio.labeller.model.expression_names
    meshes: list[Mesh] = []
    sitters = []
    for place in sorted(_places(generator, camera, heads), key=lambda place: place[2]):
        person = studio.draw(generator)
        rotation = viewing_ray_rotation(place) @ studio.recipe.standing.draw(generator)
        body = draw_body(generator, rotation)
        sitter = sit(studio, generator, person, draw_expression(generator, names), body)
        below = draw_lower_body(generator, sitter.meshes, body)
        meshes += placed([*sitter.meshes, *below], rotation, place)
        sitters.append((sitter, rotation, place))
    scene = Scene(tuple(meshes), torch.tensor(camera.K, dtype=torch.float32), light.lighting,
                  torch.from_numpy(background))
    rendering = render([scene])
    image = np.ascontiguousarray(rendering.image[0].numpy()[..., ::-1])
    image = apply_effects(image, generator, studio.recipe.effects,
                          darkness=0.7 if light.kind == 'low' else 0.0)
    depth, cover = rendering.depth[0].numpy(), covered(rendering.part[0].numpy(), scene)
    return image, [
        studio.labeller.label(sitter.vertices, rotation, place, camera.K, sitter.shape,
                              sitter.expression, depth, cover)
        for sitter, rotation, place in sitters]


def _places(generator: np.random.Generator, camera: Camera, heads: int) -> list[Array]:
    """Draw where heads are, (3,) m each, apart from one another and mostly within the frame."""
    width, height = camera.size
    focal = camera.K[0, 0]
    places: list[Array] = []
    for _ in range(40 * heads):
        if len(places) == heads:
            break
        share = np.exp(generator.uniform(np.log(0.06), np.log(0.5 if heads < 4 else 0.3)))
        distance = max(focal * 0.2 / (share * height), 0.35)
        pixel = generator.uniform([0.03, 0.08], [0.97, 0.8]) * [width, height]
        place = camera.unproject(pixel, distance)
        if all(np.linalg.norm(place - other) > _BODY_WIDTH for other in places):
            places.append(place)
    return places
