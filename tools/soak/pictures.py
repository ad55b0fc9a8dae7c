"""Pictures for the tracker."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
from clips import DATA

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.media.sources import open_source
from trans3dhead_ros.network.checkpoint import load_head_model
from trans3dhead_training.synthesis.preview.head_renderer import HeadRenderer

SIZE = (640, 480)
CAMERA = Camera.from_fov(SIZE, 60.0)
_CLIP = 'head-pose-face-detection-male.gif'


def rendered(count: int, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    """Return pictures (H, W, 3) of a rendered head that turns and moves about."""
    renderer, camera = HeadRenderer.from_model(load_head_model()), Camera.from_fov(size, 60.0)
    wall = np.full((size[1], size[0], 3), (120, 128, 122), np.uint8)
    pictures = []
    for turn in np.linspace(0.0, 2.0 * np.pi, count, endpoint=False):
        rotation = rotation_from_euler(np.array([15.0 * np.sin(turn), -3.0, 4.0]))
        place = np.array([0.05 * np.sin(turn), 0.02 * np.cos(turn), 0.55])
        pictures.append(renderer.render(wall, camera, rotation, place))
    return pictures


def empty(size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return a picture without a head."""
    return np.full((size[1], size[0], 3), 90, np.uint8)


def coming_and_going(count: int = 120) -> tuple[list[np.ndarray], str]:
    """
    Return pictures to be repeated, and what they show.

    A person in two thirds of them, then nobody: tracks start and end in every round, so that
    anything kept for each of them would accumulate. A real clip if available, else a rendered head.
    """
    clip = DATA / 'video' / _CLIP
    seen = count * 2 // 3
    if clip.exists():
        frames = itertools.islice(open_source(str(clip)), seen)
        people, what = [cv2.resize(frame.image, SIZE) for frame in frames], 'a real clip'
    else:
        people, what = rendered(seen), 'a rendered head'
    return people + [empty()] * (count - len(people)), what
