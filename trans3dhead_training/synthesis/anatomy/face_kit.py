"""The ICT-FaceKit head as textured meshes with blendshapes, in the head frame."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.types import BoolArray, Float32Array, IndexArray
from trans3dhead_training.fitting.head_basis import (
    SKIN_VERTICES,
    UNDOCUMENTED_EXPRESSIONS,
    Resampling,
    simplify,
    to_head_frame,
)
from trans3dhead_training.synthesis.anatomy.asset_files import require_file

FACE, BACK, GUMS, TEETH, LASHES = (
    'M_Face', 'M_BackHead', 'M_GumsTongue', 'M_Teeth', 'M_EyeLashes')
SCLERAS = {'eye_left': 'M_ScleraLeft', 'eye_right': 'M_ScleraRight'}
MOUTH_SOCKET = range(SKIN_VERTICES, 13294)
EYE_SOCKETS = range(13294, 14062)
SELLION_LANDMARK = 27


@dataclass(frozen=True, eq=False)
class HeadPart:
    """One mesh of the head with its linear basis."""

    mean: Float32Array
    """(V, 3) m, head frame; the sellion of the mean head is the origin."""
    identity: Float32Array
    """(I, V, 3) m per unit; the motion of the sellion is subtracted."""
    expression: Float32Array
    """(E, V, 3) m per unit, the documented expressions in their order."""
    triangles: IndexArray
    """(T, 3) vertex indices."""
    uv: Float32Array
    """(T, 3, 2) texture coordinates of each corner: u right, v down."""


@dataclass(frozen=True, eq=False)
class FaceKit:
    """The mean head of ICT-FaceKit and its parts."""

    source_cm: Float32Array
    """(N, 3) cm, the mean: x left, y up, z out of the face."""
    source_triangles: IndexArray
    """(T, 3) vertex indices."""
    landmarks: IndexArray
    """(68,) vertex indices of the landmarks."""
    parts: dict[str, HeadPart]
    """'skin' (the first vertices of the source; the face in the left half of the texture, the back
    of the head in the right), 'eye_left', 'eye_right', 'lashes', and the simplified 'teeth', 'gums'
    and 'sockets'."""


def load_face_kit(path: Path) -> FaceKit:
    """
    Read ict_facekit.npz.

    :param path: the file.
    :return: the head and its parts.
    :raises UserError: the file is missing or damaged.
    """
    data = _read(path)
    triangles = data['triangles'].astype(np.int64)
    groups = [str(name).removeprefix('usemtl:') for name in data['group_names']]
    group = data['triangle_group']
    uv = data['uv'][data['uv_triangles']].astype(np.float32)
    uv[..., 1] = 1 - uv[..., 1]
    basis = _basis(data)

    def in_group(name: str) -> BoolArray:
        return group == groups.index(name)

    skin = (triangles < SKIN_VERTICES).all(1) & (in_group(FACE) | in_group(BACK))
    skin_uv = uv[skin] * np.float32([0.5, 1.0])  # two tiles side by side in one texture
    parts = {'skin': basis.part(np.arange(SKIN_VERTICES), triangles[skin], skin_uv)}
    for name, material in SCLERAS.items():
        parts[name] = basis.subset(triangles[in_group(material)], uv[in_group(material)])
    lash_uv = uv[in_group(LASHES)]
    lash_uv[..., 0] %= 1.0
    parts['lashes'] = basis.subset(triangles[in_group(LASHES)], lash_uv)
    teeth = in_group(TEETH) & _is_crown(data['mean'][triangles].mean(1))
    parts['teeth'] = basis.subset(triangles[teeth], uv[teeth])
    for name, chosen, count in (
        ('gums', in_group(GUMS), 500),
        ('sockets', in_group(BACK) & np.isin(triangles, [*MOUTH_SOCKET, *EYE_SOCKETS]).any(1), 700),
    ):
        parts[name] = basis.simplified(triangles[chosen], count)
    for name in ('teeth', 'gums', 'sockets'):
        parts[name] = _by_depth(parts[name])
    return FaceKit(data['mean'], triangles, data['landmarks68'].astype(np.int64), parts)


def load_basis(path: Path) -> FaceKitBasis:
    """
    Read the linear basis of ict_facekit.npz over all its vertices.

    :param path: the file.
    :return: the basis.
    :raises UserError: the file is missing or damaged.
    """
    return _basis(_read(path))


def _read(path: Path) -> dict[str, NDArray]:
    require_file(path, 'parametric head')
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in (
                'mean', 'identity', 'expression', 'expression_names', 'triangles',
                'triangle_group', 'group_names', 'uv', 'uv_triangles', 'landmarks68')}
    except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f'parametric head: {path} is damaged: {error}') from None


def _basis(data: dict[str, NDArray]) -> FaceKitBasis:
    documented = [i for i, name in enumerate(data['expression_names'])
                  if str(name) not in UNDOCUMENTED_EXPRESSIONS]
    return FaceKitBasis(data['mean'], data['identity'], data['expression'][documented],
                        int(data['landmarks68'][SELLION_LANDMARK]))


def _by_depth(part: HeadPart) -> HeadPart:
    """Set the UV of the mouth's interior or an eye socket to its depth: u is 0 deepest inside."""
    light = light_of_depth(part.mean)[part.triangles]
    return replace(part, uv=np.stack([light, np.full_like(light, 0.5)], -1))


def light_of_depth(points: Float32Array) -> Float32Array:
    """Return the light (P,) 0..1 that reaches points (P, 3) m in the mouth or an eye socket."""
    return np.clip((points[:, 0] + 0.07) / 0.065, 0.08, 1).astype(np.float32)


def _is_crown(centre_cm: Float32Array) -> BoolArray:
    """Return which triangles of the teeth can be seen: the crowns as far as the first molars."""
    height = centre_cm[:, 1]
    upper = (height < -1.75) & (height > -3.25)
    # The upper and lower incisors overlap in height.
    lower = (height < -3.0) & (height > -4.75)
    return (centre_cm[:, 2] > 7.0) & (upper | lower)


@dataclass(frozen=True, eq=False)
class FaceKitBasis:
    """The linear basis of ICT-FaceKit over its own vertices."""

    mean: Float32Array
    """(N, 3) cm."""
    identity: Float32Array
    """(I, N, 3) cm per unit."""
    expression: Float32Array
    """(E, N, 3) cm per unit, the documented expressions."""
    sellion: int
    """Vertex index of the sellion."""

    def part(self, vertices: IndexArray, triangles: IndexArray, uv: Float32Array) -> HeadPart:
        """Return the part made of the source's vertices (V,); triangles use the new indices."""
        return self._part(lambda field: field[..., vertices, :], triangles, uv)

    def subset(self, triangles: IndexArray, uv: Float32Array) -> HeadPart:
        """Return the part made of the vertices that the triangles use."""
        used, compact = np.unique(triangles, return_inverse=True)
        return self.part(used, compact.reshape(-1, 3), uv)

    def simplified(self, triangles: IndexArray, count: int) -> HeadPart:
        """Return a part simplified to about `count` vertices, with a constant UV."""
        sampling: Resampling = simplify(self.mean.astype(float), triangles, count)
        uv = np.full((len(sampling.triangles), 3, 2), 0.5, np.float32)
        return self._part(sampling.apply, sampling.triangles, uv)

    def sampled(
        self, take: Callable[[Float32Array], Float32Array]
    ) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Return mean, identity and expression (m, head frame) resampled by `take`."""
        sellion = slice(self.sellion, self.sellion + 1)
        mean, identity, expression = (
            np.ascontiguousarray(to_head_frame(field), dtype=np.float32) for field in (
                take(self.mean) - self.mean[sellion],
                take(self.identity) - self.identity[:, sellion],
                take(self.expression)))
        return mean, identity, expression

    def _part(
        self, take: Callable[[Float32Array], Float32Array], triangles: IndexArray, uv: Float32Array
    ) -> HeadPart:
        return HeadPart(*self.sampled(take), np.ascontiguousarray(triangles),
                        np.ascontiguousarray(uv, dtype=np.float32))
