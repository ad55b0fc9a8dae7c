"""
Reader of DAD-3DHeads (Martyniuk et al., CVPR 2022): a dense mesh and a pose, no landmarks.

    train/train.json, val/val.json: a list of {item_id, bbox [x, y, w, h], attributes, …}
    train/images/<item_id>.png, train/annotations/<item_id>.json:
        {vertices (5023, 3), model_view_matrix (4, 4), projection_matrix (4, 4)}

**Frames.** Matrices are OpenGL's. The frame of the vertices has x to the person's left, y up, z out
of the face, so a point p of our head frame is at (p_y, p_z, p_x) in it: `A p`. `model_view_matrix`
takes it to a camera with x right, y up and z backwards, and D = diag(1, −1, −1) takes that to our
optical frame; a uniform scale in it is divided out. `projection_matrix` gives homogeneous px that
count upwards from the lower edge: (x / w, height − y / w). Hence

    R_camera = D @ model_view[:3, :3] @ A,
    rotation = viewing_ray_rotation(ray).T @ R_camera   where the projection is a perspective one,

with the ray through the middle of the box, which is what a crop around it shows.

The pose error of the benchmark compares D @ model_view[:3, :3], without the last step.

**Vertices** of a sample are the projected mesh in FLAME's topology (5,023): x, y px, and depth in
px by the mesh's mean scale, 0 at the tip of the nose.

**Points** are None: the annotations do not state which vertices of FLAME are the 68 points, and the
table of these has a licence of its own.

**Box.** `bbox` surrounds the whole head. Aligners expect that of the landmarks, so the box is that
of the projected vertices of the face: those within `FACE_LOW`…`FACE_HIGH` of the tip of the nose.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import nearest_rotation, viewing_ray_rotation
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_ros.types import Array, BoolArray, Float32Array
from trans3dhead_training.data.sample import Sample, in_split

VERTEX_COUNT = 5023
SUBSETS = {'train': False, 'val': True}
"""Folder names, and whether they are held out; `test` has no annotations."""

FACE_LOW, FACE_HIGH = np.array([-0.41, -0.44, -0.63]), np.array([0.41, 0.34, 0.0])
"""Extent of the 68 points from the tip of the nose, over the width of the head with its ears."""

_TO_OPTICAL = np.diag([1.0, -1.0, -1.0])
_FROM_OUR_HEAD = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])


def read_dad_3dheads(folder: Path, split: str = 'all') -> list[Sample]:
    """
    Read the folders train and val, or one of them; val is validation.

    :param folder: that holds train and val, or one of these.
    :param split: one of `SPLITS`.
    :return: the samples.
    :raises UserError: none of the folders, a missing file, or JSON with other content.
    """
    if not folder.is_dir():
        raise UserError(f'data: no folder {folder}')
    subsets = [folder] if folder.name in SUBSETS and _listing(folder).is_file() else [
        folder / name for name in SUBSETS if _listing(folder / name).is_file()]
    if not subsets:
        raise UserError(f'data: {folder} has neither train/train.json nor val/val.json of '
                        'DAD-3DHeads')
    items = [(subset, item) for subset in subsets if in_split(split, SUBSETS[subset.name])
             for item in _items(_listing(subset))]
    return [_read(subset, item) for subset, item in
            tqdm(items, desc='annotations', unit='head', leave=False, disable=None)]


def _listing(subset: Path) -> Path:
    return subset / f'{subset.name}.json'


def _items(path: Path) -> list[str]:
    content = _json(path)
    try:
        return [str(item['item_id']) for item in content]
    except (TypeError, KeyError) as error:
        raise UserError(f'data: {path} is not a list of entries with item_id') from error


def _read(subset: Path, item: str) -> Sample:
    picture, label = subset / 'images' / f'{item}.png', subset / 'annotations' / f'{item}.json'
    if not picture.is_file():
        raise UserError(f'data: {label} has no picture {picture}')
    content = _json(label)
    vertices = _array(content, 'vertices', (VERTEX_COUNT, 3), label)
    model_view = _array(content, 'model_view_matrix', (4, 4), label)
    projection = _array(content, 'projection_matrix', (4, 4), label)
    if np.linalg.det(model_view[:3, :3]) <= 0:
        raise UserError(f'data: {label} has a model_view_matrix that mirrors the head')
    camera = vertices @ model_view[:3, :3].T + model_view[:3, 3]
    clip = camera @ projection[:, :3].T + projection[:, 3]
    if (np.abs(clip[:, 3]) < 1e-9).any():
        raise UserError(f'data: {label} projects vertices to infinity')
    pixels = clip[:, :2] / clip[:, 3:]
    height = _height(picture)
    pixels[:, 1] = height - pixels[:, 1]
    face = _is_face(vertices)
    box = landmark_box(pixels[face])
    rotation = _TO_OPTICAL @ nearest_rotation(model_view[:3, :3]) @ _FROM_OUR_HEAD
    if np.abs(projection[3, :3]).max() > 1e-9:
        x, y = (box[:2] + box[2:]) / 2
        ray = _TO_OPTICAL @ _ray(projection, x, height - y)
        if ray @ (_TO_OPTICAL @ camera[face].mean(axis=0)) < 0:
            ray = -ray
        if ray[2] <= 0:
            raise UserError(f'data: {label} puts the head behind the camera')
        rotation = viewing_ray_rotation(ray).T @ rotation
    return Sample(
        picture=picture, source='dad_3dheads', group=f'dad_3dheads/{item}',
        is_validation=SUBSETS[subset.name], rotation=rotation,
        vertices=_with_depth(vertices, camera, pixels), given_box=box)


def _ray(projection: Array, x: float, upwards: float) -> Array:
    """Return the line (3,) of camera points that the projection (4, 4) puts on one pixel."""
    return np.cross(projection[0, :3] - x * projection[3, :3],
                    projection[1, :3] - upwards * projection[3, :3])


def _is_face(vertices: Array) -> BoolArray:
    """Return which vertices (V,) lie where the 68 points of a mean head are."""
    nose = vertices[vertices[:, 2].argmax()]
    # The lower end of the neck may be wider than the head.
    width = float(np.ptp(vertices[vertices[:, 1] >= nose[1], 0]))
    offset = vertices - nose
    return ((offset >= width * FACE_LOW) & (offset <= width * FACE_HIGH)).all(axis=1)


def _with_depth(vertices: Array, camera: Array, pixels: Array) -> Float32Array:
    """Add depth to the pixels, by the mean scale; in single precision for 37,000 meshes."""
    across = camera[:, :2] - camera[:, :2].mean(axis=0)
    scale = np.linalg.norm(pixels - pixels.mean(axis=0)) / max(float(np.linalg.norm(across)), 1e-9)
    depth = scale * (camera[vertices[:, 2].argmax(), 2] - camera[:, 2])
    return np.column_stack([pixels, depth]).astype(np.float32)


def _height(picture: Path) -> int:
    """Return the height px of a picture from its header alone: there are 37,000 pictures."""
    try:
        with Image.open(picture) as image:
            return image.height
    except OSError as error:
        raise UserError(f'data: the picture {picture} cannot be read ({error})') from error


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except (OSError, RecursionError, ValueError) as error:
        raise UserError(f'data: {path} is missing or not complete JSON ({error}); fetch it again'
                        ) from error


def _array(content: Any, key: str, shape: tuple[int, ...], path: Path) -> Array:
    try:
        array = np.array(content[key], float)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f'data: {path} has no readable {key} ({error})') from error
    if array.shape != shape or not np.isfinite(array).all():
        raise UserError(f'data: {path} has {key} of shape {array.shape}, not {shape} finite '
                        'numbers')
    return array
