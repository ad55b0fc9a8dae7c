"""MakeHuman hair styles on the parametric head, with colourless textures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.types import Array, Float32Array, IndexArray
from trans3dhead_training.synthesis.anatomy.asset_files import (
    read_mhclo_vertices,
    read_obj,
    read_rgba,
)
from trans3dhead_training.synthesis.anatomy.makehuman_body import MakeHumanBody
from trans3dhead_training.synthesis.anatomy.skin_binding import SkinBinding, bind_to_skin

TEXTURE = 512
REGISTRATION_NEIGHBOURS = 40
MEAN_GREY = 110
CARDS_BELOW = 0.685
"""Share of the height below which the procedural curls show separate tufts."""


@dataclass(frozen=True, eq=False)
class HairStyle:
    """One hair style on the mean head."""

    name: str
    """Name of its folder."""
    binding: SkinBinding
    """Its vertices and how they follow the skin."""
    triangles: IndexArray
    """(T, 3) vertex indices."""
    uv: Float32Array
    """(T, 3, 2) texture coordinates of each corner, v down."""
    grey: NDArray[np.uint8]
    """(512, 512, 2) brightness about `MEAN_GREY`, and opacity."""


def follow_registration(points: Array, body: MakeHumanBody) -> Array:
    """
    Move points near the MakeHuman head along with its non-rigid registration.

    The displacements of the nearest body vertices are averaged, over a wider neighbourhood the
    farther a point is from the body, so that strands keep their shape.

    :param points: (P, 3) m near the body before registration.
    :param body: the body in both shapes.
    :return: (P, 3) m.
    """
    used = np.unique(body.triangles)
    distance, near = cKDTree(body.moved[used]).query(points, k=REGISTRATION_NEIGHBOURS)
    weights = 1 / (distance ** 2 + 0.004 ** 2 + (0.7 * distance[:, :1]) ** 2)
    weights /= weights.sum(1, keepdims=True)
    bend = (body.bent - body.moved)[used]
    return points + np.einsum('pkc,pk->pc', bend[near], weights)


def load_hair_style(folder: Path, body: MakeHumanBody, skin: Float32Array) -> HairStyle:
    """
    Read a hair style.

    :param folder: holds NAME.obj, NAME.mhclo and, where the style has one, NAME_diffuse.png.
    :param body: the registered MakeHuman body.
    :param skin: (S, 3) m, the skin of the mean head.
    :return: the style.
    :raises UserError: a file is missing or damaged.
    """
    name = folder.name
    mesh = read_obj(folder / f'{name}.obj')
    base = read_mhclo_vertices(folder / f'{name}.mhclo', body.base)
    if len(base) != len(mesh.vertices):
        raise UserError(f'hair: {folder / name}.mhclo places {len(base)} vertices, '
                        f'the mesh has {len(mesh.vertices)}')
    vertices = follow_registration(body.to_head_frame_rigid(base), body)
    uv = mesh.uv.astype(np.float32)
    diffuse = folder / f'{name}_diffuse.png'
    if diffuse.is_file():
        picture = read_rgba(diffuse, TEXTURE)
        grey = _grey(picture)
    else:
        grey = _curls() if 'afro' in name else _strands()
    return HairStyle(name, bind_to_skin(vertices, skin), mesh.triangles, np.clip(uv, 0, 1), grey)


def tint_hair(
    grey: NDArray[np.uint8], colour: NDArray[np.floating], gloss: float
) -> NDArray[np.uint8]:
    """
    Return the texture of hair in a colour.

    :param grey: (H, W, 2) brightness and opacity.
    :param colour: (3,) sRGB 0..255.
    :param gloss: how far bright strands turn white, 0..1.
    :return: (H, W, 4) uint8 RGBA.
    """
    level = np.arange(256) / MEAN_GREY
    table = colour * level[:, None] ** 0.85
    table += gloss * 60 * np.clip(level[:, None] - 1.2, 0, 1)
    table = np.clip(table, 0, 255).astype(np.uint8)[None]
    rgb = cv2.LUT(cv2.merge([grey[..., 0]] * 3), table)
    return cv2.merge([*cv2.split(rgb), grey[..., 1]])


def _grey(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    brightness = picture[..., :3].astype(np.float32).mean(-1)
    opacity = picture[..., 3]
    shown = brightness[(opacity > 128) & (brightness > 4)]
    spread = max(float(shown.std()), 1.0)
    level = MEAN_GREY + (brightness - shown.mean()) * min(MEAN_GREY / shown.mean(), 45 / spread)
    return np.dstack([np.clip(level, 20, 255), opacity]).astype(np.uint8)


def _noise(generator: np.random.Generator, blur: tuple[float, float]) -> Float32Array:
    field = generator.standard_normal((TEXTURE, TEXTURE)).astype(np.float32)
    field = cv2.GaussianBlur(field, (0, 0), sigmaX=blur[0], sigmaY=blur[1])
    return field / field.std()


def _curls() -> NDArray[np.uint8]:
    """Return tight curls: a closed cap above, separate tufts with ragged edges below."""
    generator = np.random.default_rng(1)
    field = _noise(generator, (2, 2)) * 0.6 + _noise(generator, (1, 1)) * 0.5
    level = np.clip(MEAN_GREY + 32 * field, 15, 255)
    y, x = (np.mgrid[:TEXTURE, :TEXTURE] + 0.5) / TEXTURE
    card = y > CARDS_BELOW
    rim = np.minimum(np.minimum(x, 1 - x) / 0.16, np.minimum(1 - y, y - CARDS_BELOW) / 0.07)
    tuft = _noise(generator, (5, 5)) + 2.2 * np.clip(rim, 0, 1) - 1.3
    opacity = np.where(card & (tuft < 0), 0, 255)
    return np.dstack([level, opacity]).astype(np.uint8)


def _strands() -> NDArray[np.uint8]:
    generator = np.random.default_rng(2)
    field = 0.7 * _noise(generator, (1, 60)) + 0.5 * _noise(generator, (4, 90))
    level = np.clip(MEAN_GREY + 24 * field, 15, 255)
    return np.dstack([level, np.full_like(level, 255)]).astype(np.uint8)
