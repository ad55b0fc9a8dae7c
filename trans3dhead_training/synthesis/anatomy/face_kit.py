"""The parametric head's parts as textured meshes with all its modes, in the head frame."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.errors import UserError
from trans3dhead_training.fitting.head_basis import (
    SKIN_VERTICES,
    UNDOCUMENTED_EXPRESSIONS,
    Resampling,
    simplify,
    to_head_frame,
)
from trans3dhead_training.synthesis.anatomy.assets import existing

Float = NDArray[np.float32]
Index = NDArray[np.int64]

FACE, BACK, GUMS, TEETH, LASHES = (
    'M_Face', 'M_BackHead', 'M_GumsTongue', 'M_Teeth', 'M_EyeLashes')
SCLERAS = {'eye_left': 'M_ScleraLeft', 'eye_right': 'M_ScleraRight'}
MOUTH_SOCKET = range(SKIN_VERTICES, 13294)
EYE_SOCKETS = range(13294, 14062)
SELLION_LANDMARK = 27


@dataclass(frozen=True, eq=False)
class Part:
    """
    One part of the head.

    :ivar mean: (V, 3) m, head frame, sellion of the mean at the origin.
    :ivar identity: (I, V, 3) m per unit, the sellion's own motion taken off.
    :ivar expression: (E, V, 3) m per unit, the documented expressions in their order.
    :ivar triangles: (T, 3). :ivar uv: (T, 3, 2) u right, v down.
    """

    mean: Float
    identity: Float
    expression: Float
    triangles: Index
    uv: Float


@dataclass(frozen=True, eq=False)
class FaceKit:
    """
    The source of every shape.

    :ivar source_cm: (N, 3) its mean, x left, y up, z out of the face, cm.
    :ivar source_triangles: (T, 3). :ivar landmarks: (68,) source vertex ids.
    :ivar parts: 'skin' (its vertices are the source's first ones; face in the left half of the
        texture, back of the head in the right), 'eye_left', 'eye_right', 'lashes', and the
        sampled-down 'teeth', 'gums', 'sockets'.
    """

    source_cm: Float
    source_triangles: Index
    landmarks: Index
    parts: dict[str, Part]


def load_face_kit(path: Path) -> FaceKit:
    """
    Read ict_facekit.npz.

    :raises ValueError: when the file is missing or damaged.
    """
    data = _read(path)
    triangles = data['triangles'].astype(np.int64)
    groups = [str(name).removeprefix('usemtl:') for name in data['group_names']]
    group = data['triangle_group']
    uv = data['uv'][data['uv_triangles']].astype(np.float32)
    uv[..., 1] = 1 - uv[..., 1]
    fields = _fields(data)

    def of(name: str) -> NDArray[np.bool_]:
        return group == groups.index(name)

    skin = (triangles < SKIN_VERTICES).all(1) & (of(FACE) | of(BACK))
    skin_uv = uv[skin] * np.float32([0.5, 1.0])  # two tiles side by side in one texture
    parts = {'skin': fields.part(np.arange(SKIN_VERTICES), triangles[skin], skin_uv)}
    for name, material in SCLERAS.items():
        parts[name] = fields.subset(triangles[of(material)], uv[of(material)])
    lash_uv = uv[of(LASHES)]
    lash_uv[..., 0] %= 1.0
    parts['lashes'] = fields.subset(triangles[of(LASHES)], lash_uv)
    teeth = of(TEETH) & _is_crown(data['mean'][triangles].mean(1))
    parts['teeth'] = fields.subset(triangles[teeth], uv[teeth])
    for name, chosen, count in (
            ('gums', of(GUMS), 500),
            ('sockets', of(BACK) & np.isin(triangles, [*MOUTH_SOCKET, *EYE_SOCKETS]).any(1), 700)):
        parts[name] = fields.simplified(triangles[chosen], count)
    for name in ('teeth', 'gums', 'sockets'):
        parts[name] = _by_depth(parts[name])
    return FaceKit(data['mean'], triangles, data['landmarks68'].astype(np.int64), parts)


def load_fields(path: Path) -> Fields:
    """
    Read ict_facekit.npz as fields over its vertices.

    :raises ValueError: when the file is missing or damaged.
    """
    return _fields(_read(path))


def _read(path: Path) -> dict[str, NDArray]:
    existing(path, 'parametric head')
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in (
                'mean', 'identity', 'expression', 'expression_names', 'triangles',
                'triangle_group', 'group_names', 'uv', 'uv_triangles', 'landmarks68')}
    except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f'parametric head: {path} is damaged: {error}') from None


def _fields(data: dict[str, NDArray]) -> Fields:
    documented = [i for i, name in enumerate(data['expression_names'])
                  if str(name) not in UNDOCUMENTED_EXPRESSIONS]
    return Fields(data['mean'], data['identity'], data['expression'][documented],
                  int(data['landmarks68'][SELLION_LANDMARK]))


def _by_depth(part: Part) -> Part:
    """Lay a part of the mouth or an eye socket out by how deep it lies: u is 0 in the depth."""
    light = light_of_depth(part.mean)[part.triangles]
    return replace(part, uv=np.stack([light, np.full_like(light, 0.5)], -1))


def light_of_depth(points: Float) -> Float:
    """Return how much light (P,) 0..1 reaches points (P, 3) m in the mouth or an eye socket."""
    return np.clip((points[:, 0] + 0.07) / 0.065, 0.08, 1).astype(np.float32)


def _is_crown(centre_cm: Float) -> NDArray[np.bool_]:
    """Return which triangles of teeth can be seen: crowns, down to the first molars."""
    height = centre_cm[:, 1]
    upper = (height < -1.75) & (height > -3.25)
    # Upper and lower teeth overlap in height where the front ones bite.
    lower = (height < -3.0) & (height > -4.75)
    return (centre_cm[:, 2] > 7.0) & (upper | lower)


@dataclass(frozen=True, eq=False)
class Fields:
    """The source's mean (N, 3), identity (I, N, 3), expression (E, N, 3) in cm."""

    mean: Float
    identity: Float
    expression: Float
    sellion: int

    def part(self, vertices: Index, triangles: Index, uv: Float) -> Part:
        """Take vertices (V,) of the source."""
        return self._part(lambda field: field[..., vertices, :], triangles, uv)

    def subset(self, triangles: Index, uv: Float) -> Part:
        """Take the vertices that some triangles use."""
        used, compact = np.unique(triangles, return_inverse=True)
        return self.part(used, compact.reshape(-1, 3), uv)

    def simplified(self, triangles: Index, count: int) -> Part:
        """Take about `count` new vertices; one colour, so that any uv will do."""
        sampling: Resampling = simplify(self.mean.astype(float), triangles, count)
        uv = np.full((len(sampling.triangles), 3, 2), 0.5, np.float32)
        return self._part(sampling.apply, sampling.triangles, uv)

    def sampled(self, take: Callable[[Float], Float]) -> tuple[Float, Float, Float]:
        """Return mean, identity, expression (m, head frame) of what `take` picks of a field."""
        sellion = slice(self.sellion, self.sellion + 1)
        mean, identity, expression = (
            np.ascontiguousarray(to_head_frame(field), dtype=np.float32) for field in (
                take(self.mean) - self.mean[sellion],
                take(self.identity) - self.identity[:, sellion],
                take(self.expression)))
        return mean, identity, expression

    def _part(self, take: Callable[[Float], Float], triangles: Index, uv: Float) -> Part:
        return Part(*self.sampled(take), np.ascontiguousarray(triangles),
                    np.ascontiguousarray(uv, dtype=np.float32))
