"""One head of known pose, written as the files of DAD-3DHeads."""

import json
from pathlib import Path

import cv2
import numpy as np

from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_training.formats.dad_3dheads import VERTEX_COUNT

K = np.array([[517.679, 0, 320.0], [0, 517.679, 240.5], [0, 0, 1]])
TRUE_EULER = np.array([25.0, -10.0, 15.0])
# Tip of the nose, chin, left ear, crown in our head frame, metres: x out, y to the left, z up.
HEAD = np.array([[0.03, 0, -0.04], [0, 0, -0.12], [-0.1, 0.08, -0.02], [-0.1, 0, 0.1]])
CENTRE_RGB = np.array([0.16, -0.12, 0.95])


def dad_head() -> np.ndarray:
    """(5023, 3) of our head frame: an ellipsoid with a nose, then the points of `HEAD`."""
    generator = np.random.default_rng(0)
    direction = generator.normal(size=(VERTEX_COUNT - len(HEAD), 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return np.concatenate([direction * [0.09, 0.08, 0.12] + [-0.08, 0, -0.03], HEAD])


def dad_frame(points: np.ndarray) -> np.ndarray:
    """Our head frame → FLAME's: x to the person's left, y up, z out of the face."""
    out, left, up = points.T
    return np.stack([left, up, out], axis=-1)


def open_gl(camera: np.ndarray) -> np.ndarray:
    """Our optical frame → OpenGL's camera frame: x right, y up, z backwards."""
    return camera * [1, -1, -1]


def perspective(height: float) -> np.ndarray:
    """K as a matrix of OpenGL's camera frame whose pixels count upwards from the lower edge."""
    return np.array([[K[0, 0], 0, -K[0, 2], 0], [0, K[1, 1], -(height - K[1, 2]), 0],
                     [0, 0, -1, -0.1], [0, 0, -1, 0]])


def write_dad(root: Path, projection: np.ndarray, scale: float = 1.0, subset: str = 'val') -> Path:
    """Write the head in its true pose; `scale` is a scale of the mesh that the matrix undoes."""
    points = dad_head()
    own = dad_frame(points) * scale
    camera = open_gl(points @ rotation_from_euler(TRUE_EULER).T + CENTRE_RGB)
    model_view = np.linalg.lstsq(np.column_stack([own, np.ones(len(own))]),
                                 np.column_stack([camera, np.ones(len(own))]), rcond=None)[0].T
    folder = root / subset
    for name in ('images', 'annotations'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / 'images' / 'a1.png'), np.full((480, 640, 3), 90, np.uint8))
    (folder / 'annotations' / 'a1.json').write_text(json.dumps({
        'vertices': own.tolist(), 'model_view_matrix': model_view.tolist(),
        'projection_matrix': projection.tolist()}))
    (folder / f'{subset}.json').write_text(json.dumps([
        {'item_id': 'a1', 'bbox': [1, 2, 3, 4], 'attributes': {'pose': 'sided'}}]))
    return folder
