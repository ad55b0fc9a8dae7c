"""The picture of frames and angles shows what geometry.py says."""

import re
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tools.frames_figure import (
    SIGNS,
    View,
    draw_frames,
    scene_view,
    sign_pose,
)
from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import (
    FACING_CAMERA,
    axis_points,
    quaternion_from_rotation,
    viewing_ray_rotation,
)
from trans3dhead_ros.landmarks import SELLION
from trans3dhead_ros.network.checkpoint import load_head_model
from trans3dhead_training.synthesis.preview.head_renderer import HeadRenderer

NOSE_TIP, CHIN = 30, 8
FRONT = View(Camera.from_fov((300, 320), 25.0), np.eye(3), np.zeros(3))
#: What moves where in the image: the end of an axis, and the direction that the words name.
SEEN = {
    'yaw > 0': (1, (-1, 0)), 'yaw < 0': (1, (1, 0)),
    'pitch > 0': (1, (0, -1)), 'pitch < 0': (1, (0, 1)),
    'roll > 0': (3, (1, 0)), 'roll < 0': (3, (-1, 0)),
}


def drawn(title: str) -> np.ndarray:
    """Return the pixels of origin and axis ends in the picture of that title."""
    (euler_deg,) = [euler for name, _, euler in SIGNS if name == title]
    return FRONT.pixels(axis_points(*sign_pose(euler_deg), 0.1))


def test_a_facing_head_has_its_left_on_the_right_and_its_crown_up():
    origin, _, left, up = FRONT.pixels(axis_points(FACING_CAMERA, np.array([0.0, 0.0, 0.8])))
    assert left[0] > origin[0] + 20
    assert abs(left[1] - origin[1]) < 1e-6
    assert up[1] < origin[1] - 20
    assert abs(up[0] - origin[0]) < 1e-6


@pytest.mark.parametrize('title', SEEN)
def test_angles_look_as_the_page_describes_them(title):
    axis, direction = SEEN[title]
    pixels = drawn(title)
    assert (pixels[axis] - pixels[0]) @ direction > 15


def test_the_nose_lies_on_the_red_axis_and_the_chin_against_the_blue_one():
    model = load_head_model()
    points = model.mean[model.landmark_indices].cpu().numpy().astype(float)
    np.testing.assert_allclose(points[SELLION], 0.0, atol=1e-4)
    assert points[NOSE_TIP][0] > 0.01
    assert points[CHIN][2] < -0.08


def test_the_scene_shows_the_head_in_front_of_the_camera():
    view = scene_view()
    origin, right, down, forward = view.pixels(axis_points(np.eye(3), np.zeros(3), 0.1))
    head = view.pixels(np.array([0.03, -0.01, 0.62]))
    # Along the optical axis, however perspective turns it.
    towards = (head - origin) / np.linalg.norm(head - origin)
    assert (forward - origin) @ towards / np.linalg.norm(forward - origin) > 0.95
    assert down[1] > origin[1] + 20
    assert abs(np.linalg.det(view.rotation) - 1) < 1e-9
    assert np.linalg.norm(right - origin) > 20


@pytest.mark.train
def test_the_picture_is_drawn(tmp_path: Path):
    pytest.importorskip('matplotlib')
    draw_frames(HeadRenderer.from_model(load_head_model()), tmp_path / 'frames.png')
    height, width = cv2.imread(str(tmp_path / 'frames.png')).shape[:2]
    assert (width, height) == (1600, 1160)


def test_the_example_tells_who_looks_into_the_camera():
    page = (Path(__file__).resolve().parents[2] / 'docs' / 'frames.md').read_text()
    (example,) = re.findall(r'```python\n(.*?)```', page, re.DOTALL)

    def angle_deg(rotation: np.ndarray, position: np.ndarray) -> float:
        pose = SimpleNamespace(
            orientation=SimpleNamespace(**dict(zip(
                'xyzw', quaternion_from_rotation(rotation), strict=True))),
            position=SimpleNamespace(**dict(zip('xyz', position, strict=True))))
        names = {'head': SimpleNamespace(pose=SimpleNamespace(pose=pose))}
        exec(compile(example, 'frames.md', 'exec'), names)
        return names['angle_deg']

    aside = np.array([0.4, 0.0, 0.7])
    assert angle_deg(FACING_CAMERA, np.array([0.0, 0.0, 0.7])) < 0.01
    assert abs(angle_deg(FACING_CAMERA, aside) - np.degrees(np.arctan2(0.4, 0.7))) < 0.01
    assert angle_deg(viewing_ray_rotation(aside) @ FACING_CAMERA, aside) < 0.01
