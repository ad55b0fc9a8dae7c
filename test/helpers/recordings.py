"""Recordings of rendered heads, for tests of `trans3dhead update`."""

from pathlib import Path

import cv2
import numpy as np
from synthetic import bundled_head_model

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_training.synthesis.preview.head_renderer import HeadRenderer

SIZE, FPS = (320, 240), 10.0


def turning_head(seed: int, frames: int) -> list[np.ndarray]:
    """Render a head of its own shape that turns by 5 degrees an image."""
    model = bundled_head_model()
    renderer, camera = HeadRenderer.from_model(model), Camera.from_fov(SIZE, 60.0)
    shape = dict(enumerate(np.random.default_rng(seed).normal(0.0, 0.5, model.shape_count)))
    wall = np.full((*SIZE[::-1], 3), 120, np.uint8)
    yaws = 5.0 * (np.arange(frames) - frames / 2)
    return [renderer.render(wall, camera, rotation_from_euler(np.array([yaw, -3.0, 0.0])),
                            np.array([0.0, 0.0, 0.42]), shape=shape) for yaw in yaws]


def write_video(path: Path, images: list[np.ndarray]) -> Path:
    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), FPS, (width, height))
    for image in images:
        writer.write(image)
    writer.release()
    return path


def write_recordings(folder: Path, people: int = 2, frames: int = 16) -> list[Path]:
    return [write_video(folder / f'person_{number}.mp4', turning_head(number, frames))
            for number in range(people)]
