"""Transfer of MakeHuman skin textures to the parametric head, with hair and holes filled in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.mesh import vertex_normals
from trans3dhead_ros.types import Array, BoolArray, Float32Array, IndexArray
from trans3dhead_training.core.surface_points import CoveredTexels, closest_points
from trans3dhead_training.synthesis.anatomy.asset_files import require_file
from trans3dhead_training.synthesis.anatomy.face_kit import FaceKit
from trans3dhead_training.synthesis.anatomy.makehuman_body import CROP_SIZE, MakeHumanBody
from trans3dhead_training.synthesis.anatomy.mesh_registration import graph_laplacian
from trans3dhead_training.synthesis.anatomy.skin_uv_maps import (
    SIZE,
    SkinUvMaps,
    extend_beyond_seams,
)

MAX_DISTANCE_M = 0.006
"""Texels farther from the source's skin have no counterpart: inside the nostrils, below the
neck."""


def skin_files(folder: Path) -> list[Path]:
    """
    Return the skin atlases of a folder, sorted by name.

    :param folder: the folder.
    :return: the files.
    :raises UserError: there is none.
    """
    files = sorted(folder.glob('*.jpg'))
    if not files:
        raise UserError(f'skins: no .jpg in {folder}; is TRANS3DHEAD_DATA the data folder?')
    return files


class SkinTransfer:
    """Transfer of skin atlases to the parametric head; built once, applied to each atlas."""

    def __init__(
        self, face_kit: FaceKit, body: MakeHumanBody, texels: CoveredTexels, uv_maps: SkinUvMaps
    ) -> None:
        skin = face_kit.parts['skin']
        mean = skin.mean.astype(float)
        self._layout = uv_maps
        self._triangles = skin.triangles
        normals = vertex_normals(mean, skin.triangles)
        points = texels.points.interpolate(mean, skin.triangles)
        found = closest_points(
            points, body.bent, body.triangles[body.has_skin],
            texels.points.interpolate(normals, skin.triangles))
        at = np.einsum('pkc,pk->pc', body.uv[body.has_skin][found.triangle], found.weights)
        self._map = np.full((*SIZE[::-1], 2), -1.0, np.float32)
        self._map[texels.row, texels.column] = at * CROP_SIZE - 0.5
        missing = np.zeros(SIZE[::-1], np.float32)
        missing[texels.row, texels.column] = found.distance > MAX_DISTANCE_M
        # The atlases have an outline where the head ends, so the rim at the neck counts as missing.
        neck = uv_maps.position[..., 2] < -0.080
        missing = np.where(neck, cv2.dilate(missing, np.ones((45, 45), np.uint8)),
                           cv2.dilate(missing, np.ones((5, 5), np.uint8)))
        hair = (uv_maps.scalp > 0.02) & (uv_maps.position[..., 2] > -0.09)
        self._fill = cv2.GaussianBlur(np.maximum(missing, cv2.dilate(
            hair.astype(np.float32), np.ones((17, 17), np.uint8))), (0, 0), 3.0)
        self._fill = np.maximum(self._fill, missing)
        self._solve, self._known, self._at = self._harmonic(skin.uv)
        self._texels = texels

    def transfer(self, path: Path) -> NDArray[np.uint8]:
        """
        Return an atlas in the parametric head's layout.

        :param path: the atlas.
        :return: (512, 1024, 3) uint8 RGB.
        :raises UserError: the atlas is missing, damaged or of another size.
        """
        atlas = cv2.imread(str(require_file(path, 'skin')))
        if atlas is None or atlas.shape[1::-1] != CROP_SIZE:
            raise UserError(f'skin: {path} is damaged or not {CROP_SIZE[0]} x {CROP_SIZE[1]} px')
        seen = cv2.remap(atlas[..., ::-1], self._map[..., 0], self._map[..., 1], cv2.INTER_AREA,
                         borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
        calm = cv2.GaussianBlur(seen, (0, 0), 2.0)
        vertex_colour = calm[self._at[:, 1], self._at[:, 0]].astype(float)
        spread = self._solve(vertex_colour)
        filled = np.zeros((*SIZE[::-1], 3))
        filled[self._texels.row, self._texels.column] = self._texels.points.interpolate(
            spread, self._triangles)
        generator = np.random.default_rng(5)
        grain = cv2.GaussianBlur(generator.normal(0, 1, SIZE[::-1]).astype(np.float32), (0, 0), 0.8)
        filled *= 1 + 0.03 * grain[..., None]
        fill = self._fill[..., None]
        skin = seen * (1 - fill) + filled * fill
        return np.clip(extend_beyond_seams(skin, self._layout.covered), 0, 255).astype(np.uint8)

    def _harmonic(
        self, uv: Float32Array,
    ) -> tuple[Callable[[Array], Array], BoolArray, IndexArray]:
        """Return a solver that interpolates known vertex colours harmonically over the skin."""
        count = int(self._triangles.max()) + 1
        at = np.zeros((count, 2), dtype=np.int64)
        for half in (1, 0):
            here = (uv[..., 0].mean(1) >= 0.5) == bool(half)
            at[self._triangles[here]] = np.clip(uv[here] * SIZE, 0, np.array(SIZE) - 1)
        known = self._fill[at[:, 1], at[:, 0]] < 0.05
        known &= self._map[at[:, 1], at[:, 0], 0] >= 0
        smooth = graph_laplacian(count, self._triangles)
        keep = sparse.diags(known.astype(float))
        spread = sparse.diags(1.0 - known) @ smooth
        factor = splu((keep + spread + 1e-9 * sparse.eye(count)).tocsc())

        def solve(colour: Array) -> Array:
            return factor.solve(colour * known[:, None])

        return solve, known, at
