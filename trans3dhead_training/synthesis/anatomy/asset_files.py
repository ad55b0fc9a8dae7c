"""Readers of asset files: Wavefront OBJ meshes, MakeHuman .mhclo bindings, RGBA textures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.types import Array, IndexArray


@dataclass(frozen=True, eq=False)
class ObjMesh:
    """A triangulated Wavefront mesh."""

    vertices: Array
    """(V, 3) in the unit of the file."""
    triangles: IndexArray
    """(T, 3) vertex indices."""
    uv: Array
    """(T, 3, 2) texture coordinates of each corner: u right, v down."""
    group: IndexArray
    """(T,) index into `groups`."""
    groups: tuple[str, ...]
    """Names of the groups, in the order of the file."""


def require_file(path: Path, what: str) -> Path:
    """
    Return a path after checking that it is a file.

    :param path: the path.
    :param what: what the file holds, for the message.
    :return: the path.
    :raises UserError: there is no such file.
    """
    if not path.is_file():
        raise UserError(f'{what}: no file {path}; is TRANS3DHEAD_DATA the folder of the data?')
    return path


def read_obj(path: Path) -> ObjMesh:
    """
    Read vertices, texture coordinates and faces of an OBJ file; polygons become triangle fans.

    :param path: the .obj file; every face needs texture coordinates.
    :return: the mesh.
    :raises UserError: the file is missing or damaged.
    """
    vertices: list[list[float]] = []
    texture: list[list[float]] = []
    faces: list[list[int]] = []
    corners: list[list[int]] = []
    group: list[int] = []
    groups: list[str] = []
    require_file(path, 'mesh')
    try:
        with path.open(encoding='utf-8', errors='replace') as lines:
            for line in lines:
                kind, *words = line.split() or ['']
                if kind == 'v':
                    vertices.append([float(word) for word in words[:3]])
                elif kind == 'vt':
                    texture.append([float(word) for word in words[:2]])
                elif kind == 'g':
                    groups.append(words[0] if words else '')
                elif kind == 'f':
                    ids = [[int(number) - 1 for number in word.split('/')[:2]] for word in words]
                    for i in range(1, len(ids) - 1):
                        fan = ids[0], ids[i], ids[i + 1]
                        faces.append([corner[0] for corner in fan])
                        corners.append([corner[1] for corner in fan])
                        group.append(len(groups) - 1)
        triangles = np.array(faces, dtype=np.int64).reshape(-1, 3)
        uv = np.array(texture).reshape(-1, 2)[np.array(corners, dtype=np.int64).reshape(-1, 3)]
        points = np.array(vertices).reshape(-1, 3)
        if len(triangles) == 0 or triangles.max() >= len(points):
            raise ValueError('a face refers to a vertex that does not exist')
    except (ValueError, IndexError) as error:
        raise UserError(f'mesh: {path} is damaged: {error}') from None
    uv[..., 1] = 1.0 - uv[..., 1]
    return ObjMesh(points, triangles, uv, np.array(group), tuple(groups))


def read_mhclo_vertices(path: Path, base: Array) -> Array:
    """
    Return the vertices of a MakeHuman .mhclo binding on the base mesh.

    Each vertex is a weighted sum of three base vertices plus an offset, which is scaled by the
    distances between named base vertices along the three axes.

    :param path: the .mhclo file.
    :param base: (N, 3) vertices of the base mesh.
    :return: (V, 3) in the unit of the base mesh.
    :raises UserError: the file is missing or damaged.
    """
    scale = np.ones(3)
    rows: list[list[float]] = []
    reading = False
    require_file(path, 'placement')
    try:
        for line in path.read_text('utf-8', 'replace').splitlines():
            words = line.split()
            if len(words) == 4 and words[0] in ('x_scale', 'y_scale', 'z_scale'):
                axis = 'xyz'.index(words[0][0])
                first, second = base[int(words[1]), axis], base[int(words[2]), axis]
                scale[axis] = abs(first - second) / float(words[3])
            elif words[:1] == ['verts']:
                reading = True
            elif reading and len(words) == 9:
                rows.append([float(word) for word in words])
            elif reading and len(words) == 1 and words[0].isdigit():
                rows.append([float(words[0])] * 3 + [1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
            elif words[:1] == ['delete_verts']:
                break
        table = np.array(rows)
        ids = table[:, :3].astype(np.int64)
        return np.einsum('vk,vkc->vc', table[:, 3:6], base[ids]) + table[:, 6:] * scale
    except (ValueError, IndexError) as error:
        raise UserError(f'placement: {path} is damaged: {error}') from None


def read_rgba(path: Path, size: int | None = None) -> NDArray[np.uint8]:
    """
    Read an image as sRGB with alpha.

    :param path: the image file.
    :param size: side of the square that it is resized to, or None.
    :return: (H, W, 4) uint8 RGBA.
    :raises UserError: the file is missing or damaged.
    """
    picture = cv2.imread(str(require_file(path, 'picture')), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.ndim != 3:
        raise UserError(f'picture: {path} is damaged or not a colour image')
    if picture.shape[2] == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA)
    picture = cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA)
    if size is not None and picture.shape[:2] != (size, size):
        # Premultiplied by alpha: colours of transparent texels are arbitrary and must not bleed.
        alpha = picture[..., 3:].astype(np.float32) / 255
        shrunk = cv2.resize(np.concatenate([picture[..., :3] * alpha, alpha * 255], -1),
                            (size, size), interpolation=cv2.INTER_AREA)
        opacity = np.maximum(shrunk[..., 3:] / 255, 1e-3)
        picture = np.concatenate([shrunk[..., :3] / opacity, shrunk[..., 3:]], -1)
        picture = np.clip(picture, 0, 255).astype(np.uint8)
    return picture
