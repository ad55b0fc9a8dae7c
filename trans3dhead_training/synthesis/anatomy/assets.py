"""Files that appearance is made of: Wavefront meshes, MakeHuman placements, pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.errors import UserError

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Picture = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class ObjMesh:
    """
    A triangulated Wavefront mesh.

    :ivar vertices: (V, 3). :ivar triangles: (T, 3) vertex ids.
    :ivar uv: (T, 3, 2) per corner, u right, v DOWN. :ivar group: (T,) index into `groups`.
    """

    vertices: Array
    triangles: Index
    uv: Array
    group: Index
    groups: tuple[str, ...]


def existing(path: Path, what: str) -> Path:
    """
    Return the path of a file that must be there.

    :raises ValueError: when it is not.
    """
    if not path.is_file():
        raise UserError(f'{what}: no file {path}; is TRANS3DHEAD_DATA the folder of the data?')
    return path


def read_obj(path: Path) -> ObjMesh:
    """
    Read vertices, texture coordinates and faces; polygons become fans of triangles.

    :raises ValueError: when the file is missing or damaged.
    """
    vertices: list[list[float]] = []
    texture: list[list[float]] = []
    faces: list[list[int]] = []
    corners: list[list[int]] = []
    group: list[int] = []
    groups: list[str] = []
    existing(path, 'mesh')
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
            raise UserError('faces name vertices that are not there')
    except (ValueError, IndexError) as error:
        raise UserError(f'mesh: {path} is damaged: {error}') from None
    uv[..., 1] = 1.0 - uv[..., 1]
    return ObjMesh(points, triangles, uv, np.array(group), tuple(groups))


def place_on_base(path: Path, base: Array) -> Array:
    """
    Return where a MakeHuman .mhclo puts its vertices on the base mesh, (V, 3) in its units.

    Each vertex is a weighted sum of three base vertices plus an offset, scaled by the distances
    of named base vertices along the three axes.

    :param base: (N, 3) base vertices.
    :raises ValueError: when the file is missing or damaged.
    """
    scale = np.ones(3)
    rows: list[list[float]] = []
    reading = False
    existing(path, 'placement')
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


def read_rgba(path: Path, size: int | None = None) -> Picture:
    """
    Read a picture as (H, W, 4) sRGB with alpha, resized to a square of `size` when given.

    :raises ValueError: when the file is missing or damaged.
    """
    picture = cv2.imread(str(existing(path, 'picture')), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.ndim != 3:
        raise UserError(f'picture: {path} is damaged, or no colour picture')
    if picture.shape[2] == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA)
    picture = cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA)
    if size is not None and picture.shape[:2] != (size, size):
        # Colours under transparent texels are arbitrary and must not bleed into the hair.
        alpha = picture[..., 3:].astype(np.float32) / 255
        shrunk = cv2.resize(np.concatenate([picture[..., :3] * alpha, alpha * 255], -1),
                            (size, size), interpolation=cv2.INTER_AREA)
        opacity = np.maximum(shrunk[..., 3:] / 255, 1e-3)
        picture = np.concatenate([shrunk[..., :3] / opacity, shrunk[..., 3:]], -1)
        picture = np.clip(picture, 0, 255).astype(np.uint8)
    return picture
