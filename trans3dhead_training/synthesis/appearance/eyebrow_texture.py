"""Eyebrows baked into the skin's texture, so that they follow every expression."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_training.core.surface_points import closest_points, rasterize_uv
from trans3dhead_training.synthesis.anatomy.asset_files import (
    read_mhclo_vertices,
    read_obj,
    read_rgba,
)
from trans3dhead_training.synthesis.anatomy.face_kit import FaceKit
from trans3dhead_training.synthesis.anatomy.makehuman_body import MakeHumanBody
from trans3dhead_training.synthesis.anatomy.skin_uv_maps import SIZE

OVERSAMPLING = 4
BRIDGE = 9
"""Half the width of the bridge of the nose, px of the texture."""


def eyebrow_opacity(folder: Path, face_kit: FaceKit, body: MakeHumanBody) -> NDArray[np.uint8]:
    """
    Bake one MakeHuman eyebrow into the skin's texture.

    :param folder: holds NAME.obj, NAME.png and NAME.mhclo.
    :param face_kit: the parametric head.
    :param body: the registered MakeHuman body.
    :return: opacity (512, 1024) uint8.
    :raises UserError: a file is missing or damaged.
    """
    name = folder.name
    mesh = read_obj(folder / f'{name}.obj')
    opacity = read_rgba(folder / f'{name}.png')[..., 3]
    eyebrow = body.to_head_frame_rigid(read_mhclo_vertices(folder / f'{name}.mhclo', body.base))
    found = body.closest_surface_points(eyebrow)
    on_head = found.interpolate(body.bent, body.triangles)
    skin = face_kit.parts['skin']
    face = skin.uv[..., 0].mean(1) < 0.5
    mean = skin.mean.astype(float)
    at = closest_points(on_head, mean, skin.triangles[face])
    uv = np.einsum('pkc,pk->pc', skin.uv[face][at.triangle].astype(float), at.weights)

    size = (SIZE[0] * OVERSAMPLING, SIZE[1] * OVERSAMPLING)
    texels = rasterize_uv(uv[mesh.triangles], size)
    source = np.einsum('pkc,pk->pc', mesh.uv[texels.points.triangle], texels.points.weights)
    height, width = opacity.shape
    column = np.clip((source[:, 0] * width).astype(int), 0, width - 1)
    row = np.clip((source[:, 1] * height).astype(int), 0, height - 1)
    painted = np.zeros(size[::-1], np.uint8)
    painted[texels.row, texels.column] = opacity[row, column]
    # A stray texel on the bridge of the nose would look like a mole.
    middle = size[0] // 4
    painted[:, middle - BRIDGE * OVERSAMPLING:middle + BRIDGE * OVERSAMPLING] = 0
    return cv2.resize(painted, SIZE, interpolation=cv2.INTER_AREA)
