"""A person who turns around once, and is seen from behind, is one person."""

import numpy as np
import pytest
import torch
from clips import data
from synthetic import bundled_head_model

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.perception.pipeline import HeadPipeline
from trans3dhead_training.synthesis.render.lighting import rotate_irradiance
from trans3dhead_training.synthesis.render.renderer import Lighting, Scene, render
from trans3dhead_training.synthesis.render.texture_atlas import encode_srgb
from trans3dhead_training.synthesis.scenes.scene_generator import SceneAssets, transform_meshes

pytestmark = pytest.mark.train

SIZE, FPS, STEP_DEG = (320, 240), 30.0, 5.0
MAX_LOST_FRAMES = 3
SEED = 15


@pytest.fixture(scope='module')
def turn(people_cache) -> list[np.ndarray]:
    """Frames of a person who turns by 150° a second."""
    root = data('head_model', 'ict_facekit.npz').parent.parent
    assets = SceneAssets.load(root, people_cache, bundled_head_model(), portraits=False)
    person = assets.sample_person(np.random.default_rng(SEED))
    environment, ahead = assets.environments[0], np.eye(3)
    view = torch.from_numpy(0.6 * environment.view(ahead, SIZE, 75.0))
    backdrop = torch.from_numpy(encode_srgb(view).numpy())
    light = Lighting(0.6 * rotate_irradiance(environment.irradiance, torch.eye(3)),
                     torch.nn.functional.normalize(torch.tensor([[-0.5, -0.5, -0.7]]), dim=1),
                     torch.tensor([[0.7, 0.7, 0.7]]))
    intrinsics = torch.tensor(Camera.from_fov(SIZE, 50.0).K, dtype=torch.float32)
    expression = np.zeros(len(assets.labeller.model.expression_names))
    meshes = person.meshes(expression, body_rotation=np.eye(3))
    frames = []
    for yaw in np.arange(0.0, 360.0, STEP_DEG):
        posed = transform_meshes(meshes, rotation_from_euler(np.array([yaw, 0.0, 0.0])),
                                 np.array([0.0, 0.0, 0.9]))
        image = render([Scene(tuple(posed), intrinsics, light, backdrop)]).image[0].numpy()
        frames.append(np.ascontiguousarray(image[..., ::-1]))
    return frames


def test_a_person_who_turns_around_keeps_one_id(turn):
    pipeline = HeadPipeline.load(device='cpu')
    ids = [[head.track_id for head in pipeline.track(frame, stamp=number / FPS)]
           for number, frame in enumerate(turn)]
    assert {number for frame in ids for number in frame} == {ids[0][0]}
    lost = ''.join('.' if heads else 'x' for heads in ids)
    assert 'x' * (MAX_LOST_FRAMES + 1) not in lost
