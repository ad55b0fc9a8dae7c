"""
What an update is worth: `python benchmarks/update_rendered_robot.py --output out/robot`.

A rendered robot: one camera (wide angle, from below), dark rooms, eight people who turn their
heads before it in pairs. Its clips are given to `trans3dhead update` without their truth. Measured
is the pose error before and after on other people before the same camera, whose truth is kept
aside, and the verdict of the gate. Faces that are hidden, by a hand for example, are a row of their
own: their poses are guesses, and a few of 150° would decide a mean. The frames are rendered once; a
run that was stopped goes on.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import FACING_CAMERA, viewing_ray_rotation
from trans3dhead_ros.landmarks import JAW_COUNT
from trans3dhead_ros.network.checkpoint import load_head_model
from trans3dhead_ros.perception.crop import crop_square, crop_window
from trans3dhead_training.core.data_root import data_root
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.data.shards import write_shard
from trans3dhead_training.evaluation.dataset_evaluation import evaluate_dataset, read_dataset
from trans3dhead_training.predictors import make_predictor
from trans3dhead_training.preparation.picture_bytes import encode_jpeg
from trans3dhead_training.reports.evaluation_report import ALL, make_report
from trans3dhead_training.synthesis.render.renderer import Scene, render
from trans3dhead_training.synthesis.scenes.background_sampling import sample_background
from trans3dhead_training.synthesis.scenes.camera_effects import add_sensor_noise
from trans3dhead_training.synthesis.scenes.expression_sampling import sample_expression
from trans3dhead_training.synthesis.scenes.light_sampling import LightDistribution, sample_light
from trans3dhead_training.synthesis.scenes.neck_pose import limit_neck_rotation
from trans3dhead_training.synthesis.scenes.scene_generator import (
    SceneAssets,
    occluder_mask,
    transform_meshes,
)
from trans3dhead_training.update.update_config import UpdateConfig
from trans3dhead_training.update.update_stages import UpdateTask, update
from trans3dhead_training.update.whole_files import read_json

SIZE, FPS, FIELD_OF_VIEW_DEG, FROM_BELOW_DEG = (640, 480), 10.0, 105.0, 32.0
DARK = LightDistribution(shares=(0.0, 0.0, 0.0, 0.0, 1.0), low_exposure=(0.06, 0.2))
NOISE_LEVELS = 5.0
TEST_CROP_SCALE, TEST_CROP_PX = 2.4, 224
VISIBLE, HIDDEN = 'visible faces', 'hidden faces'
MIN_VISIBLE = 0.25
"""Share of the inner landmarks in sight from which a face is visible; of a profile, half are."""


class Person:
    """A person who turns the head before the camera."""

    def __init__(self, assets, generator, side: float) -> None:
        self.model = assets.sample_person(generator)
        self.names = assets.labeller.model.expression_names
        self.faces = [sample_expression(generator, self.names) for _ in range(6)]
        self.phase = generator.uniform(0, 2 * np.pi, 3)
        self.speed = generator.uniform(0.4, 1.1, 3)
        self.extent = np.array([generator.uniform(35, 65), generator.uniform(8, 18),
                                generator.uniform(4, 12)])
        self.place = np.array([side * generator.uniform(0.18, 0.5), generator.uniform(-0.2, 0.12),
                               generator.uniform(0.55, 1.1)])
        self.seed = int(generator.integers(2 ** 31))

    def pose(self, seconds: float):
        """Return rotation (3, 3) and translation (3,) m, head → camera, and the body's."""
        turn, nod, lean = self.extent * np.sin(self.speed * 2 * seconds + self.phase)
        neck = Rotation.from_euler('xy', [lean, -nod], degrees=True).as_matrix()
        yaw = Rotation.from_euler('z', -turn, degrees=True).as_matrix()
        below = Rotation.from_euler('x', -FROM_BELOW_DEG, degrees=True).as_matrix()
        sway = 0.02 * np.sin(seconds * self.speed + self.phase)
        place = self.place + sway
        towards = viewing_ray_rotation(np.array([place[0], 0.0, place[2]]))
        rotation = below @ towards @ FACING_CAMERA @ yaw @ neck
        body = limit_neck_rotation(rotation.T @ below @ towards @ FACING_CAMERA)
        return rotation, place, body

    def face(self, seconds: float):
        """Return the expression (E,), which changes every second."""
        place = (seconds + self.phase[0]) % len(self.faces)
        first, part = int(place), place - int(place)
        other = self.faces[(first + 1) % len(self.faces)]
        return (1 - part) * self.faces[first] + part * other


def render_pair(assets, generator, seconds: float, step: float):
    """Yield (image, [labels]) of two people in one room."""
    people = [Person(assets, generator, side) for side in (-1.0, 1.0)]
    light = sample_light(generator, assets.environments, DARK)
    backdrop = torch.from_numpy(sample_background(generator, light, SIZE))
    camera = Camera.from_fov(SIZE, FIELD_OF_VIEW_DEG)
    for time in np.arange(0.0, seconds, step):
        meshes, poses = [], []
        for person in people:
            rotation, place, body = person.pose(time)
            face = person.face(time)
            vertices = np.asarray(person.model.head_vertices(face), np.float64)
            worn = assets.occluders.add_occluders(
                np.random.default_rng(person.seed), person.model.meshes(face, body_rotation=body),
                vertices, assets.config.occluders)
            meshes += transform_meshes(worn, rotation, place)
            poses.append((person, vertices, rotation, place, face))
        scene = Scene(tuple(meshes), torch.tensor(camera.K, dtype=torch.float32), light.lighting,
                      backdrop)
        rendering = render([scene])
        image = np.ascontiguousarray(rendering.image[0].numpy()[..., ::-1])
        depth, cover = rendering.depth[0].numpy(), occluder_mask(rendering.part[0].numpy(), scene)
        image = add_sensor_noise(image, generator, NOISE_LEVELS)
        count = assets.labeller.model.shape_count
        yield image, [assets.labeller.label(
            vertices, rotation, place, camera.K,
            np.asarray(person.model.identity[:count], np.float64), face, depth, cover)
            for person, vertices, rotation, place, face in poses]


def write_clips(assets, folder: Path, pairs: int, seconds: float, seed: int) -> list[Path]:
    """Render the clips that the update sees, without truth."""
    clips = []
    for pair in tqdm(range(pairs), desc='clips'):
        path = folder / f'robot_{pair}.mp4'
        clips.append(path)
        if path.is_file():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f'partial_{pair}.mp4'
        writer = cv2.VideoWriter(str(partial), cv2.VideoWriter_fourcc(*'mp4v'), FPS, SIZE)
        for image, _ in render_pair(assets, np.random.default_rng((seed, pair)), seconds, 1 / FPS):
            writer.write(image)
        writer.release()
        partial.replace(path)
    return clips


def write_truth(assets, path: Path, pairs: int, seconds: float, seed: int) -> None:
    """Render other people before the same camera, as crops with their truth."""
    samples = []
    for pair in tqdm(range(pairs), desc='truth'):
        generator = np.random.default_rng((seed, 1000 + pair))
        for image, heads in render_pair(assets, generator, seconds, 0.5):
            for number, head in enumerate(heads):
                centre, side = crop_window(head.box, TEST_CROP_SCALE)
                size = min(round(side), TEST_CROP_PX)
                points = (2 * (head.landmarks[:, :2] - centre) / side + 1) * size / 2 - 0.5
                contour = (2 * (head.contour - centre) / side + 1) * size / 2 - 0.5
                is_visible = head.visible[JAW_COUNT:].mean() >= MIN_VISIBLE
                samples.append(Sample(
                    encode_jpeg(crop_square(image, centre, side, size)),
                    VISIBLE if is_visible else HIDDEN,
                    f'person {pair} {number}', True, points, points_are_3d=True, contour=contour,
                    rotation=head.rotation))
    write_shard(path, samples)


def record_over_dds(clips: list[Path], folder: Path) -> list[Path]:
    """Record each clip as a bag: the demo's publisher, real DDS, the demo's recorder."""
    bags = []
    for clip in clips:
        bags.append(folder / clip.stem / 'bag')
        if not bags[-1].exists():
            subprocess.run([sys.executable, '-m', 'trans3dhead_ros.ros.demo.demo', '--source',
                            str(clip), '--output', str(folder / clip.stem)], check=True)
    return bags


def errors(models: dict[str, Path | None], folder: Path) -> dict[str, dict[str, dict[str, list]]]:
    """Return the mean pose and point errors of models on a folder of shards, by row of heads."""
    samples = read_dataset(f'shards:{folder}', 'validation')
    found = evaluate_dataset(samples, {
        name: make_predictor('ours', model=path, device='cpu') for name, path in models.items()},
        label_free=False)
    result = {}
    for name, results in found.results.items():
        rows = make_report(results, draws=1000)
        result[name] = {row: {'heads': rows.counts[row]['faces'], **{
            figure: [round(float(value), 3) for value in (
                estimates[figure].value, *estimates[figure].interval)]
            for figure in ('geodesic_deg', 'inner_51_percent')}}
            for row, estimates in rows.estimates.items() if row in (ALL, VISIBLE, HIDDEN)}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--output', type=Path, default=Path('out/robot'))
    parser.add_argument('--cache', type=Path, default=Path('runs/people'))
    parser.add_argument('--pairs', type=int, default=4,
                        help='pairs of people to learn from, and to test on')
    parser.add_argument('--seconds', type=float, default=20.0, help='length of a clip, s')
    parser.add_argument('--minutes', type=float, default=20.0)
    parser.add_argument('--steps', type=int, default=0)
    parser.add_argument('--learning-rate', type=float, default=UpdateConfig.learning_rate)
    parser.add_argument('--share', type=float, default=UpdateConfig.share)
    parser.add_argument('--bags', action='store_true', help='record the clips over DDS first')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--threads', type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    folder = options.output / f'seed{options.seed}'
    truth = folder / 'truth' / '00000.safetensors'
    assets = SceneAssets.load(data_root(), options.cache, load_head_model())
    clips = write_clips(assets, folder / 'clips', options.pairs, options.seconds, options.seed)
    if not truth.is_file():
        write_truth(assets, truth, options.pairs, options.seconds / 2, options.seed)
    del assets
    recordings = record_over_dds(clips, folder / 'bags') if options.bags else clips
    run, stopped_by = update(
        UpdateTask(tuple(map(str, recordings)), folder / (
            'update_of_bags' if options.bags else 'update')),
        UpdateConfig(minutes=options.minutes, steps=options.steps, seed=options.seed,
                     threads=options.threads, share=options.share, fov_deg=FIELD_OF_VIEW_DEG,
                     learning_rate=options.learning_rate))
    if not stopped_by:
        found = errors({'before': None, 'after': run.candidate}, truth.parent)
        change = {row: round(100 * (found['after'][row]['geodesic_deg'][0]
                                    / figures['geodesic_deg'][0] - 1), 1)
                  for row, figures in found['before'].items()}
        print(json.dumps({'seed': options.seed, **found, 'change of the pose error, %': change,
                          'gate': read_json(run.report)['gate']['reasons'] or 'passed'}, indent=1))


if __name__ == '__main__':
    main()
