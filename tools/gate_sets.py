"""`python -m tools.gate_sets`: render the frozen sets by which `trans3dhead gate` judges models."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.camera import Camera
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import FACING_CAMERA, euler_from_rotation, rotation_from_euler
from trans3dhead_ros.types import Array, Image
from trans3dhead_training.core.data_root import data_root
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.data.shards import write_shard
from trans3dhead_training.evaluation.motion import FRAME_RATE, TURN_SPEED_DEG
from trans3dhead_training.fitting.head_basis import load_head_model_npz
from trans3dhead_training.gate.frozen_sets import (
    CLIPS,
    DARK,
    EYES,
    FROZEN,
    HEADS,
    MASKS,
    NO_HEADS,
    NODS,
    POSES,
    REPLAY,
    TURNS,
)
from trans3dhead_training.preparation.synthetic_maker import synthetic_sample
from trans3dhead_training.synthesis.occluders.occluder_placement import only_occluders
from trans3dhead_training.synthesis.render.renderer import Scene, render
from trans3dhead_training.synthesis.scenes.background_sampling import sample_background
from trans3dhead_training.synthesis.scenes.camera_effects import apply_camera_effects
from trans3dhead_training.synthesis.scenes.expression_sampling import (
    expression_coefficients,
    gaze_expression,
    sample_expression,
)
from trans3dhead_training.synthesis.scenes.light_sampling import sample_light
from trans3dhead_training.synthesis.scenes.neck_pose import limit_neck_rotation
from trans3dhead_training.synthesis.scenes.pose_sampling import UniformPoses
from trans3dhead_training.synthesis.scenes.scene_config import SCENE_PRESETS
from trans3dhead_training.synthesis.scenes.scene_generator import (
    PosedPerson,
    SceneAssets,
    occluder_mask,
    pose_person,
    render_crops,
    transform_meshes,
)

SEED = 1_604_044
"""Of the people; no training draws from it."""
SETS = (*HEADS, NO_HEADS, *CLIPS)
SIZE = 176
"""Side of the pictures, px: a head of about 70 px, as two metres before a robot's camera."""
PICTURES_PER_PERSON = 2
_QUALITY = 82
_CLIP_CAMERA = Camera.from_fov((SIZE, SIZE), 30.0)
_CLIP_PLACE = np.array([0.0, -0.02, 0.75])
_STEP_DEG = TURN_SPEED_DEG / FRAME_RATE
_TURN_FRAMES, _NOD_FRAMES = 31, 19
_GAZE_DEG = ((0.0, 0.0), (22.0, 0.0), (-22.0, 0.0), (0.0, 15.0), (0.0, -15.0))


@dataclass(frozen=True)
class ExtremePoses:
    """Faces turned by more than 60°, nodding by more than 25° or tilted by more than 40°."""

    poses: UniformPoses
    """What they are drawn from."""

    def sample(self, generator: np.random.Generator) -> Array:
        """Return one apparent rotation (3, 3), head → camera optical frame."""
        while True:
            rotation = self.poses.sample(generator)
            extreme = np.abs(euler_from_rotation(rotation)) > [60.0, 25.0, 40.0]
            if rotation[2, 0] < 0 and extreme.any():
                return rotation


def main(argv: Sequence[str] | None = None) -> int:
    """Write the sets and return the exit code."""
    parser = ArgumentParser(prog='python -m tools.gate_sets', description=__doc__)
    parser.add_argument('--head-model', type=Path, default=Path('runs/head_model.npz'))
    parser.add_argument('--cache', type=Path, default=Path('runs/people'))
    parser.add_argument('--output', type=Path, default=FROZEN, help='folder (default: %(default)s)')
    parser.add_argument('--people', type=int, default=150,
                        help='of the replay set; the others have shares of it '
                             '(default: %(default)s)')
    parser.add_argument('--sets', nargs='+', choices=SETS, default=SETS, metavar='NAME',
                        help=f'which of {", ".join(SETS)} (default: all)')
    options = parser.parse_args(argv)
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', 0)) or torch.get_num_threads())
    wide = SCENE_PRESETS['wide']
    # Only assets that are free for any use, with none of photographed people.
    assets = SceneAssets.load(data_root(), options.cache, load_head_model_npz(options.head_model),
                              wide, portraits=False)
    few = max(options.people // 4, 1)
    plans = {
        REPLAY: (options.people, wide),
        POSES: (few, replace(wide, poses=ExtremePoses(
            UniformPoses(behind_share=0.0, any_tilt_share=0.2)))),
        DARK: (few, replace(wide, lights=replace(
            wide.lights, shares=(0.0, 0.0, 0.0, 0.0, 1.0), low_exposure=(0.05, 0.2)))),
        MASKS: (few, replace(wide, occluders=replace(wide.occluders, mask=1.0, scarf=0.0))),
    }
    made = {name: partial(_crops, replace(assets, config=config), name, people)
            for name, (people, config) in plans.items()}
    made[NO_HEADS] = partial(_backgrounds, assets, 2 * few)
    clips = max(options.people // 25, 1)
    # Nothing hides the eyes that move.
    bare = replace(assets, config=replace(wide, occluders=only_occluders()))
    made |= {TURNS: partial(_clips, assets, TURNS, clips, _turn),
             NODS: partial(_clips, assets, NODS, clips, _nod),
             EYES: partial(_clips, bare, EYES, 2 * clips, _moved_eyes)}
    for number, (name, make) in enumerate(made.items()):
        if name in options.sets:
            _write(options.output, name, tqdm(make(SEED + number), desc=name, disable=None))
    return 0


def _write(folder: Path, name: str, samples: Iterator[Sample]) -> None:
    path = folder / f'{name}.safetensors'
    write_shard(path, list(samples))
    print(f'{path}: {path.stat().st_size / 1e6:.2f} MB')


def _crops(assets: SceneAssets, name: str, people: int, seed: int) -> Iterator[Sample]:
    """Yield the pictures of people who each come from a generator of their own."""
    for person in range(people):
        generator = np.random.default_rng((seed, person))
        for image, truth in render_crops(assets, generator, PICTURES_PER_PERSON, SIZE):
            yield _held_out(synthetic_sample(image, truth, f'{name}{person}', True), name, image)


def _held_out(sample: Sample, name: str, image: Image) -> Sample:
    """Return a sample whose picture is stored with half the bytes."""
    data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    return replace(sample, source=name, picture=data)


def _backgrounds(assets: SceneAssets, count: int, seed: int) -> Iterator[Sample]:
    """Yield places without people."""
    side = SIZE / 4
    for number in range(count):
        generator = np.random.default_rng((seed, number))
        light = sample_light(generator, assets.environments, assets.config.lights)
        image = sample_background(generator, light, (SIZE, SIZE))[..., ::-1]
        image = apply_camera_effects(np.ascontiguousarray(image), generator, assets.config.effects)
        yield _held_out(Sample(
            picture=b'', source=NO_HEADS, group=f'{NO_HEADS}{number}', is_validation=True,
            given_box=np.array([side, side, SIZE - side, SIZE - side])), NO_HEADS, image)


Moments = list[tuple[Array, Array]]
"""Yaw, pitch and roll (3,) in degrees and the expression (53,), frame by frame."""


def _turn(generator: np.random.Generator, names: Sequence[str]) -> Moments:
    """Return a head whose yaw changes at a constant rate."""
    expression = sample_expression(generator, names)
    pitch, roll = generator.uniform(-12, 12, 2)
    return [(np.array([yaw, pitch, roll]), expression) for yaw in _sweep(_TURN_FRAMES)]


def _nod(generator: np.random.Generator, names: Sequence[str]) -> Moments:
    """Return a head whose pitch changes at a constant rate."""
    expression = sample_expression(generator, names)
    yaw, roll = generator.uniform(-12, 12, 2)
    return [(np.array([yaw, pitch, roll]), expression) for pitch in _sweep(_NOD_FRAMES)]


def _sweep(frames: int) -> Array:
    return _STEP_DEG * (np.arange(frames) - (frames - 1) / 2)


def _moved_eyes(generator: np.random.Generator, names: Sequence[str]) -> Moments:
    """Return a head that nothing changes in but the eyes, which are open, closed, and averted."""
    euler_deg = generator.uniform(-1, 1, 3) * [30.0, 15.0, 12.0]
    looks = [gaze_expression(*gaze_deg) for gaze_deg in _GAZE_DEG]
    looks.insert(1, {'eyeBlink_L': 1.0, 'eyeBlink_R': 1.0})
    return [(euler_deg, expression_coefficients(look, names)) for look in looks]


def _clips(
    assets: SceneAssets, name: str, people: int,
    moments: Callable[[np.random.Generator, Sequence[str]], Moments], seed: int,
) -> Iterator[Sample]:
    """Yield the frames of people who move as `moments` says, all else being constant."""
    for number in range(people):
        generator = np.random.default_rng((seed, number))
        person = assets.sample_person(generator)
        light = sample_light(generator, assets.environments)
        background = torch.from_numpy(sample_background(generator, light, (SIZE, SIZE)))
        occluders = generator.integers(2 ** 31)
        for euler_deg, expression in moments(
                generator, assets.labeller.model.expression_names):
            rotation = rotation_from_euler(euler_deg)
            # The same glasses and hat in every frame.
            posed = pose_person(assets, np.random.default_rng(occluders), person, expression,
                                limit_neck_rotation(rotation.T @ FACING_CAMERA))
            image, truth = _render(assets, posed, rotation, light, background)
            yield _held_out(synthetic_sample(image, truth, f'{name}{number}', True), name, image)


def _render(assets: SceneAssets, posed: PosedPerson, rotation: Array, light, background):
    translation = _CLIP_PLACE - rotation @ np.array([-0.07, 0.0, -0.035])
    intrinsics = np.array(_CLIP_CAMERA.K)
    scene = Scene(transform_meshes(posed.meshes, rotation, translation),
                  torch.from_numpy(intrinsics).float(), light.lighting, background)
    found = render([scene])
    truth = assets.labeller.label(
        posed.vertices, rotation, translation, intrinsics, posed.shape, posed.expression,
        found.depth[0].numpy(), occluder_mask(found.part[0].numpy(), scene))
    return np.ascontiguousarray(found.image[0].numpy()[..., ::-1]), truth


if __name__ == '__main__':
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f'gate_sets: error: {error}')
