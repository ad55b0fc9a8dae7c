"""The demo clip: two synthetic people who turn their heads, with ground truth for every frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import FACING_CAMERA, rotation_from_euler
from trans3dhead_ros.media.clip_truth import ClipTruth, bundled_clip, write_truth
from trans3dhead_ros.types import Array
from trans3dhead_training.synthesis.occluders.occluder_placement import only_occluders
from trans3dhead_training.synthesis.render.lighting import rotate_irradiance
from trans3dhead_training.synthesis.render.renderer import Lighting, Scene, render
from trans3dhead_training.synthesis.render.texture_atlas import encode_srgb
from trans3dhead_training.synthesis.render.textured_mesh import Mesh
from trans3dhead_training.synthesis.scenes.camera_effects import add_sensor_noise
from trans3dhead_training.synthesis.scenes.expression_sampling import (
    expression_coefficients,
    gaze_expression,
)
from trans3dhead_training.synthesis.scenes.neck_pose import limit_neck_rotation
from trans3dhead_training.synthesis.scenes.scene_generator import SceneAssets, transform_meshes

SIZE, FPS, SECONDS = (480, 360), 25.0, 10.0
FIELD_OF_VIEW_DEG = 50.0
_NECK = np.array([-0.095, 0.0, -0.150])
_ENVIRONMENT = 'venice_sunset_1k'


@dataclass(frozen=True)
class Actor:
    """One of the two people and their motion."""

    seed: int
    """Seed of the person."""
    neck: tuple[float, float, float]
    """(3,) m, position of the neck, camera optical frame."""
    facing_deg: float
    """Mean yaw of the shoulders."""
    phase: float
    """rad, phase of the motion."""
    blinks_s: tuple[float, ...]
    """s, times of the blinks."""
    talking_s: tuple[float, float]
    """s, start and end of talking."""
    glasses: bool
    """Whether the person wears glasses."""

    def pose(self, seconds: float) -> tuple[Array, Array]:
        """Return rotation (3, 3) and translation (3,) m, head → camera optical frame."""
        turn = 2 * np.pi * seconds / SECONDS + self.phase
        euler_deg = np.array([52 * np.sin(turn) + 8 * np.sin(3 * turn + self.phase),
                              9 * np.sin(2 * turn + 1) + 4 * np.sin(5 * turn),
                              9 * np.sin(2 * turn + 2.4 * self.phase)])
        rotation = rotation_from_euler(euler_deg)
        sway = 0.012 * np.array([np.sin(turn + 1), 0.3 * np.sin(2 * turn), np.sin(turn + 2.5)])
        return rotation, np.array(self.neck) + sway - rotation @ _NECK

    def body(self, seconds: float) -> Array:
        """Return the rotation (3, 3) of the shoulders, body → camera optical frame."""
        sway = 6 * np.sin(2 * np.pi * seconds / SECONDS + self.phase)
        return FACING_CAMERA @ Rotation.from_euler(
            'z', -(self.facing_deg + sway), degrees=True).as_matrix()

    def face(self, seconds: float, names: tuple[str, ...]) -> Array:
        """Return the expression (53,): blinks, gaze towards the camera, talking, a smile."""
        rotation, _ = self.pose(seconds)
        away = np.rad2deg(np.arctan2(-rotation[0, 0], -rotation[2, 0]))
        wander = np.sin(2 * np.pi * 0.37 * seconds + self.phase)
        blink = max(np.exp(-((seconds - at) / 0.075) ** 4) for at in self.blinks_s)
        start, end = self.talking_s
        talking = np.clip(min(seconds - start, end - seconds) / 0.3, 0, 1)
        syllable = 0.5 + 0.5 * np.sin(2 * np.pi * 3.1 * seconds + self.phase)
        vowel = 0.5 + 0.5 * np.sin(2 * np.pi * 1.3 * seconds)
        smile = 0.75 * np.exp(-((seconds - end - 1.0) / 0.8) ** 2)
        brows = 0.6 * talking * np.clip(np.sin(2 * np.pi * 0.45 * seconds), 0, 1)
        weights = gaze_expression(np.clip(0.35 * away + 6 * wander, -26, 26), 3 * wander)
        for side in 'LR':
            weights |= {f'eyeBlink_{side}': blink, f'mouthSmile_{side}': smile,
                        f'cheekSquint_{side}': 0.5 * smile, f'browInnerUp_{side}': brows,
                        f'browOuterUp_{side}': 0.7 * brows,
                        f'mouthLowerDown_{side}': 0.4 * talking * syllable}
        weights |= {'jawOpen': 0.32 * talking * syllable + 0.08 * smile,
                    'mouthFunnel': 0.5 * talking * syllable * vowel,
                    'mouthPucker': 0.35 * talking * (1 - syllable) * vowel}
        return expression_coefficients(weights, names)


ACTORS = (
    Actor(15, (-0.150, 0.100, 0.72), -12.0, 0.4, (1.2, 4.1, 6.3, 8.8), (0.8, 4.2), False),
    Actor(14, (0.150, 0.115, 0.78), 12.0, 3.6, (0.7, 2.9, 5.6, 7.4, 9.3), (4.8, 8.2), True),
)


def clip_truth(seconds: float = SECONDS) -> ClipTruth:
    """Return the poses of both heads in every frame."""
    times = np.arange(round(FPS * seconds)) / FPS
    poses = [[actor.pose(float(time)) for actor in ACTORS] for time in times]
    return ClipTruth(np.array([[rotation for rotation, _ in heads] for heads in poses]),
                     np.array([[translation for _, translation in heads] for heads in poses]),
                     Camera.from_fov(SIZE, FIELD_OF_VIEW_DEG).K, SIZE, FPS)


def write_clip(
    assets: SceneAssets, folder: Path, seconds: float = SECONDS,
    progress: Callable[[range], object] = lambda frames: frames,
) -> Path:
    """
    Render the clip at 480 × 360 and 25 frames a second, with its ground truth beside it.

    :param assets: people and light.
    :param folder: created if it does not exist.
    :param seconds: length of the clip.
    :param progress: wraps the frame numbers, as tqdm does.
    :return: the path of the clip.
    :raises UserError: the folder is not writable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / bundled_clip().name
    truth = clip_truth(seconds)
    animations = [_animate(assets, actor) for actor in ACTORS]
    backdrop, lighting = _backdrop(assets)
    intrinsics = torch.tensor(truth.intrinsics, dtype=torch.float32)
    noise = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), FPS, SIZE)
    if not writer.isOpened():
        raise UserError(f'folder: {path} cannot be written')
    try:
        for index in progress(range(len(truth.rotation))):
            meshes: list[Mesh] = []
            for number, (actor, meshes_at) in enumerate(zip(ACTORS, animations, strict=True)):
                rotation = truth.rotation[index, number]
                body = limit_neck_rotation(rotation.T @ actor.body(index / FPS))
                meshes += transform_meshes(meshes_at(index / FPS, body), rotation,
                                           truth.translation[index, number])
            picture = render([Scene(tuple(meshes), intrinsics, lighting, backdrop)]).image[0]
            image = np.ascontiguousarray(picture.numpy()[..., ::-1])
            writer.write(add_sensor_noise(image, noise, 0.5))
    finally:
        writer.release()
    write_truth(path, truth)
    return path


def _animate(assets: SceneAssets, actor: Actor) -> Callable[[float, Array], tuple[Mesh, ...]]:
    """Return a function of time (s) and torso rotation that gives an actor's meshes, head frame."""
    person = assets.sample_person(np.random.default_rng(actor.seed))
    names = assets.labeller.model.expression_names
    occluders = only_occluders(glasses=1.0 if actor.glasses else 0.0)

    def meshes_at(seconds: float, body: Array) -> tuple[Mesh, ...]:
        face = actor.face(seconds, names)
        # The same seed in every frame gives the same glasses, fitted to the moving face.
        return assets.occluders.add_occluders(
            np.random.default_rng(actor.seed), person.meshes(face, body_rotation=body),
            person.head_vertices(face).astype(np.float64), occluders)

    return meshes_at


def _backdrop(assets: SceneAssets) -> tuple[torch.Tensor, Lighting]:
    """Return background (H, W, 3) sRGB and lighting: a square in the evening, and a lamp."""
    environment = next((e for e in assets.environments if e.name == _ENVIRONMENT),
                       assets.environments[0])
    turn = Rotation.from_euler('y', -190, degrees=True).as_matrix()
    view = 0.55 * environment.view(turn, SIZE, 75.0)
    picture = encode_srgb(torch.from_numpy(view)).numpy()
    picture = cv2.GaussianBlur(picture, (0, 0), 3.5)
    irradiance = 0.6 * rotate_irradiance(environment.irradiance, torch.from_numpy(turn).float())
    lamp = torch.nn.functional.normalize(torch.tensor([[-0.55, -0.5, -0.75]]), dim=1)
    return torch.from_numpy(picture), Lighting(irradiance, lamp, torch.tensor([[0.75, 0.68, 0.6]]))
