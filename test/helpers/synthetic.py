"""A small head model, network and clip for tests that need no trained weights."""

from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.spatial import ConvexHull

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.inference.torch_engine import TorchEngine
from trans3dhead_ros.landmarks import COUNT, JAW_COUNT, SELLION
from trans3dhead_ros.media.clip_truth import ClipTruth, write_truth
from trans3dhead_ros.model_files.model_metadata import bundled_model
from trans3dhead_ros.model_files.model_pair import ModelFiles
from trans3dhead_ros.network.checkpoint import load_checkpoint
from trans3dhead_ros.network.config import NetworkConfig
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_ros.network.model import Trans3DHead
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_training.synthesis.preview.head_renderer import HeadRenderer

EXPRESSIONS = ('jawOpen', 'eyeBlink_L', 'eyeBlink_R')


def small_head_model(seed: int = 0) -> HeadModule:
    """Return an egg of 200 vertices; the 68 landmarks lie on the face's half, one at the origin."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(200, 3))
    directions[:COUNT, 0] = np.abs(directions[:COUNT, 0])
    directions[SELLION] = [1.0, 0.0, 0.4]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    vertices = directions * [0.095, 0.075, 0.11]
    triangles = ConvexHull(vertices).simplices
    corners = vertices[triangles]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inwards = (normal * corners.mean(1)).sum(1) < 0
    triangles[inwards] = triangles[inwards][:, ::-1]
    identity = 0.002 * rng.normal(size=(4, 200, 3))
    identity[:, SELLION] = 0.0
    return HeadModule(*(torch.from_numpy(np.ascontiguousarray(array)) for array in (
        vertices - vertices[SELLION], identity, 0.005 * rng.normal(size=(3, 200, 3)),
        triangles.astype(np.int64), np.arange(COUNT),
        rng.integers(0, 200, (JAW_COUNT, 4)))), EXPRESSIONS)


def bundled_head_model() -> HeadModule:
    """Return the head model of the checkpoint that comes with the package."""
    return load_checkpoint(bundled_model(), torch.device('cpu'))[0].head_model


def small_network(seed: int = 0) -> Trans3DHead:
    """Return an untrained network that a test runs in milliseconds."""
    torch.manual_seed(seed)
    config = NetworkConfig(input_size=32, widths=(8, 8, 16, 16), dim=16, num_heads=2, ffn_dim=16)
    network = Trans3DHead(config, small_head_model()).eval()
    with torch.no_grad():
        # About the size of a head in its crop; training sets this average.
        network.mean_parameters[8] = 2.0
    return network


def aligner_of(network: Trans3DHead, kind: type[HeadAligner] = HeadAligner) -> HeadAligner:
    """Return an aligner of a network that lies in no file, on the CPU."""
    metadata = {'input_size': network.config.input_size, 'network': network.config.to_dict()}
    return kind(TorchEngine(network), network.head_model.numpy(),
                ModelFiles(Path('network'), None, None, metadata))


def write_turning_head(folder: Path, model: HeadModule, frames: int = 10) -> Path:
    """Render a clip of one head that turns 30 degrees, with its truth, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path, size = folder / 'turning_head.mp4', (480, 360)
    camera, renderer = Camera.from_fov(size, 60.0), HeadRenderer.from_model(model)
    yaw = np.linspace(-15, 15, frames)
    rotation = rotation_from_euler(np.stack([yaw, 0 * yaw, 0 * yaw], axis=-1))
    translation = np.tile([0.02, -0.02, 0.5], (frames, 1))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 25.0, size)
    wall = np.full((size[1], size[0], 3), 120, np.uint8)
    for index in range(frames):
        writer.write(renderer.render(wall, camera, rotation[index], translation[index]))
    writer.release()
    write_truth(path, ClipTruth(rotation[:, None], translation[:, None], camera.K, size, 25.0))
    return path
