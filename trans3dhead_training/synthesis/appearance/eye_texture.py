"""Eyeballs with a texture in polar coordinates about the gaze axis, and eyelashes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from trans3dhead_ros.types import Array, Float32Array, IndexArray
from trans3dhead_training.synthesis.anatomy.asset_files import read_rgba
from trans3dhead_training.synthesis.anatomy.face_kit import HeadPart

TEXTURE = 192
EDGE_DEG = 100.0
"""Angle from the gaze axis at the border of the texture; the rest of the eyeball is never seen."""
IRIS_DEG = 20.5
# In MakeHuman's texture, px of 512: centre of one eyeball, radii of its iris and its sclera.
SOURCE_CENTRE, SOURCE_IRIS, SOURCE_WHITE = (360.5, 150.0), 59.0, 145.0


@dataclass(frozen=True, eq=False)
class EyeballMesh:
    """The front of one eyeball on the mean head."""

    used: IndexArray
    """(V,) vertices of the part that are kept."""
    triangles: IndexArray
    """(T, 3) over the kept vertices."""
    uv: Float32Array
    """(T, 3, 2) texture coordinates of each corner."""


def fit_sphere_centre(vertices: NDArray[np.floating]) -> Array:
    """Return the centre (3,) of the least-squares sphere through (V, 3)."""
    points = np.asarray(vertices, dtype=float)
    system = np.concatenate([2 * points, np.ones((len(points), 1))], 1)
    return np.linalg.lstsq(system, (points ** 2).sum(1), rcond=None)[0][:3]


def eyeball_mesh(part: HeadPart) -> EyeballMesh:
    """Return the front of an eyeball with polar UV about its gaze axis, x on the mean head."""
    away = part.mean.astype(float) - fit_sphere_centre(part.mean)
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    angle = np.degrees(np.arccos(np.clip(away[:, 0], -1, 1)))
    around = np.arctan2(away[:, 2], away[:, 1])
    radius = 0.5 * angle / EDGE_DEG
    uv = np.stack([0.5 + radius * np.cos(around), 0.5 - radius * np.sin(around)], -1)
    front = part.triangles[(angle[part.triangles] < EDGE_DEG).all(1)]
    used, compact = np.unique(front, return_inverse=True)
    return EyeballMesh(used, compact.reshape(-1, 3), uv[front].astype(np.float32))


def iris_texture(path: Path) -> NDArray[np.uint8]:
    """
    Return the eyeball texture (TEXTURE, TEXTURE, 3) made from a MakeHuman eye.

    :param path: the image of the eye.
    :return: uint8 RGB.
    :raises UserError: the file is missing or damaged.
    """
    source = read_rgba(path, 512)[..., :3]
    angle, around = texel_polar_coordinates()
    radius = np.interp(angle, [0, IRIS_DEG, EDGE_DEG], [0, SOURCE_IRIS, SOURCE_WHITE])
    x = SOURCE_CENTRE[0] + radius * np.cos(around)
    y = SOURCE_CENTRE[1] + radius * np.sin(around)
    return cv2.remap(source, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REPLICATE)


def texel_polar_coordinates() -> tuple[Float32Array, Float32Array]:
    """Return each texel's angle from the gaze axis (degrees) and direction around it (rad)."""
    grid = (np.arange(TEXTURE, dtype=np.float32) + 0.5) / TEXTURE - 0.5
    return (np.hypot(grid[None], grid[:, None]) * 2 * EDGE_DEG,
            np.arctan2(grid[:, None], grid[None]) + 0 * grid[None])


def eyeball_texture(
    iris: NDArray[np.uint8], colour: NDArray[np.floating] | None, pupil: float, white: float,
    red: float,
) -> NDArray[np.uint8]:
    """
    Return the RGBA texture of an eyeball.

    :param iris: (TEXTURE, TEXTURE, 3) RGB, as `iris_texture` returns it.
    :param colour: (3,) sRGB that replaces the colour of the iris, or None.
    :param pupil: radius of the pupil in radii of the iris, 0.2..0.55.
    :param white: brightness of the sclera, about 1.
    :param red: redness of the sclera, 0..1.
    :return: (TEXTURE, TEXTURE, 4) uint8 RGBA.
    """
    angle, around = texel_polar_coordinates()
    share = angle / IRIS_DEG
    # The source's pupil has 0.29 of the iris's radius; the iris is stretched to the new pupil.
    source = np.where(share < pupil, share * 0.29 / pupil,
                      0.29 + (share - pupil) * 0.71 / (1 - pupil))
    radius = np.where(share < 1, source, share) * IRIS_DEG / (2 * EDGE_DEG) * TEXTURE
    middle = TEXTURE / 2 - 0.5
    eye = cv2.remap(iris, (middle + radius * np.cos(around)).astype(np.float32),
                    (middle + radius * np.sin(around)).astype(np.float32),
                    cv2.INTER_LINEAR).astype(np.float32)
    ring = np.clip((1.03 - share) / 0.06, 0, 1)[..., None]
    if colour is not None:
        bright = eye.mean(-1, keepdims=True)
        coloured = (share > pupil + 0.1) & (share < 0.9)
        bright = bright / max(float(bright[coloured].mean()), 1.0)
        eye = eye * (1 - ring) + ring * np.clip(bright * colour, 0, 255)
    hole = np.clip((pupil - share) / 0.06 + 0.5, 0, 1)[..., None]
    limbus = np.exp(-((share - 1.0) / 0.10) ** 2)[..., None]
    eye = eye * (1 - 0.97 * hole) * (1 - 0.45 * limbus)
    sclera = np.clip((share - 1.0) / 0.1, 0, 1)[..., None]
    tint = white * np.array([1.04, 1.04 - 0.22 * red, 1.04 - 0.22 * red], np.float32)
    far = 1 - 0.25 * np.clip((share - 1.6) / 2.0, 0, 1)[..., None]  # shadow in the corners
    eye = eye * (1 - sclera) + sclera * eye * tint * far
    eye = np.clip(eye, 0, 250)
    return np.dstack([eye, np.full((TEXTURE, TEXTURE), 255.0)]).astype(np.uint8)


def eyelash_mesh(part: HeadPart, skin: Float32Array) -> tuple[IndexArray, IndexArray, Float32Array]:
    """
    Return one of the three layers of the lashes.

    :param part: the lashes of the head.
    :param skin: (S, 3) m, the skin of the mean head.
    :return: kept vertices (V,), triangles (T, 3) over them, UV (T, 3, 2) with v = 0 at the lid.
    """
    cell = np.floor(part.uv.mean(1) * [2, 6]).astype(int)
    distance = cKDTree(skin).query(part.mean)[0]
    uv = part.uv * np.float32([2, 6]) - cell[:, None].astype(np.float32)
    kept = []
    lids: dict[tuple[bool, bool], int] = {}
    for key in sorted({(int(a), int(b)) for a, b in cell}):
        here = np.flatnonzero((cell == key).all(1))
        v = uv[here, :, 1]
        near = distance[part.triangles[here]]
        if near[v < 0.3].mean() > near[v > 0.7].mean():
            uv[here, :, 1] = 1 - v
        middle = part.mean[part.triangles[here]].mean((0, 1))
        lid = (bool(middle[1] > 0), bool(middle[2] > -0.003))
        lids[lid] = lids.get(lid, 0) + 1
        if lids[lid] <= 1:
            kept.append(here)
    rows = np.concatenate(kept)
    used, compact = np.unique(part.triangles[rows], return_inverse=True)
    return used, compact.reshape(-1, 3), np.clip(uv[rows], 0, 1)


def eyelash_texture(generator: np.random.Generator, density: float) -> NDArray[np.uint8]:
    """Return a random lash texture (64, 256, 4): black, transparent between, roots in row 0."""
    scale = 4
    opacity = np.zeros((64 * scale, 256 * scale), np.uint8)
    count = int(40 + 70 * density)
    roots = np.sort(generator.uniform(0, 256, count))
    for root in roots:
        length = 64 * generator.uniform(0.55, 0.98)
        lean = (root - 128) * 0.06 + generator.normal(0, 4)
        steps = np.linspace(0, 1, 8)
        x = root + lean * steps ** 1.5
        y = length * steps
        for i in range(7):
            width = max(1, round(scale * 2.2 * (1 - steps[i])))
            cv2.line(opacity, (int(x[i] * scale), int(y[i] * scale)),
                     (int(x[i + 1] * scale), int(y[i + 1] * scale)), 255, width, cv2.LINE_AA)
    opacity = cv2.resize(opacity, (256, 64), interpolation=cv2.INTER_AREA)
    return np.dstack([np.full((64, 256, 3), 18, np.uint8), opacity])
