"""Skin textures baked from public-domain portraits and the heads fitted to them."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.mesh import vertex_normals
from trans3dhead_ros.types import Array, Float32Array, IndexArray
from trans3dhead_training.core.surface_points import CoveredTexels
from trans3dhead_training.data.labels import is_held_out, portrait_group
from trans3dhead_training.synthesis.anatomy.asset_files import read_rgba
from trans3dhead_training.synthesis.anatomy.face_kit import HeadPart
from trans3dhead_training.synthesis.anatomy.skin_uv_maps import SIZE, SkinUvMaps, smoothstep

LOW_PASS = 26.0
"""Sigma in texels: coarser structure counts as light and skin tone and is replaced by that of the
base."""
MIN_FRONTAL_COSINE = 0.94
"""Least cosine between the face's direction and that of the camera."""
MIN_FACE_PX = 90.0
MAX_PORTRAITS = 80
MAX_DETAIL_LOG_RATIO = 0.40
"""Bound on the log ratio of detail between portrait and base on cheeks: more is hair, shadow or
beard."""
MAX_EDGE_UNDER_EYES = 0.24
"""Bound on the relative gradient under the eyes: more is the frame of glasses."""


class UnsuitablePortraitError(ValueError):
    """The portrait cannot give a skin texture; the message says why."""


@dataclass(frozen=True, eq=False)
class PortraitFit:
    """
    A head fitted to a portrait with a perspective camera.

    In units of the landmark box, u = 2 (px - centre) / side, a point p in camera axes projects to u
    = (exp(log_scale) p[:2] + translation) / (1 + inverse_distance p[2]).
    """

    rotation: Array
    """(3, 3) head -> camera."""
    shape: Array
    """(I,) identity coefficients."""
    expression: Array
    """(E,) expression coefficients."""
    inverse_distance: float
    """1/m, reciprocal of the distance to the camera."""
    log_scale: float
    """Log of box units per metre."""
    translation: Array
    """(2,) box units."""
    centre: Array
    """(2,) px, centre of the landmark box."""
    side: float
    """px, longer side of the landmark box."""

    def project(self, head: Array) -> Array:
        """Project points (P, 3) m of the head frame to px of the portrait, (P, 2)."""
        turned = head @ self.rotation.T
        flat = np.exp(self.log_scale) * turned[:, :2] + self.translation
        units = flat / (1 + self.inverse_distance * turned[:, 2:])
        return self.centre + 0.5 * self.side * units


def bake_portrait_texture(
    image: NDArray[np.uint8], fit: PortraitFit, base: NDArray[np.uint8], skin: HeadPart,
    texels: CoveredTexels, uv_maps: SkinUvMaps,
) -> NDArray[np.uint8]:
    """
    Bake a portrait into the skin's texture.

    Fine detail comes from the photograph; tone, shading and everything that the camera did not see
    come from the base texture.

    :param image: (H, W, 3) RGB.
    :param fit: the head fitted to it.
    :param base: (512, 1024, 3) RGB, a bare skin texture of about its tone.
    :param skin: the skin of the parametric head.
    :param texels: the texels that it covers.
    :param uv_maps: the maps of the texture.
    :return: (512, 1024, 3) uint8 RGB.
    :raises UnsuitablePortraitError: the face is small, turned away or partly covered.
    """
    if fit.side < MIN_FACE_PX:
        raise UnsuitablePortraitError(
            f'portrait: the face has {fit.side:.0f} px, {MIN_FACE_PX:.0f} needed')
    if -fit.rotation[2, 0] < MIN_FRONTAL_COSINE:
        raise UnsuitablePortraitError('portrait: the face is turned away from the camera')
    identity, expression = np.float32(fit.shape), np.float32(fit.expression)
    vertices = (skin.mean + np.tensordot(identity, skin.identity[:len(identity)], 1)
                + np.tensordot(expression, skin.expression, 1)).astype(float)
    normals = vertex_normals(vertices, skin.triangles)
    at = fit.project(texels.points.interpolate(vertices, skin.triangles))
    facing = -(texels.points.interpolate(normals, skin.triangles) @ fit.rotation[2])
    height, width = image.shape[:2]
    inside = ((at > 1) & (at < [width - 2, height - 2])).all(1)

    grid = np.zeros((*SIZE[::-1], 2), np.float32)
    grid[texels.row, texels.column] = at
    seen = cv2.remap(image, grid[..., 0], grid[..., 1], cv2.INTER_LINEAR).astype(np.float32)
    confidence = np.zeros(SIZE[::-1], np.float32)
    confidence[texels.row, texels.column] = smoothstep(facing, 0.25, 0.6) * inside
    confidence *= _skin_confidence(uv_maps)
    confidence = cv2.GaussianBlur(cv2.erode(confidence, np.ones((5, 5), np.uint8)), (0, 0), 4.0)
    if _has_glasses(seen, uv_maps):
        raise UnsuitablePortraitError('portrait: edges under the eyes, as of glasses')
    ratio = _low_pass(base.astype(np.float32), confidence) / np.maximum(
        _low_pass(seen, confidence), 4.0
    )
    lit = seen * np.clip(ratio, 0.3, 4.0)
    # Below the brows, dark lines are folds of a smile, which the mesh's own shading shows.
    under = uv_maps.position[..., 2:] < 0.006
    spread = lit
    lit = np.where(under, np.clip(lit, 0.68 * base, 1.5 * base), lit)
    result = base + (lit - base) * confidence[..., None]
    plain = (confidence > 0.5) & (uv_maps.position[..., 2] < 0.012)
    log_ratio = np.abs(np.log(np.maximum(spread.mean(-1), 1) / np.maximum(base.mean(-1), 1)))[plain]
    if np.percentile(log_ratio, 95) > MAX_DETAIL_LOG_RATIO:
        raise UnsuitablePortraitError('portrait: hair, shadow or a beard lies over the cheeks')
    return np.clip(result, 0, 255).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class PortraitTextures:
    """Skin textures baked from portraits."""

    faces: NDArray[np.uint8]
    """(P, 512, 512, 3) RGB, the face's half of each texture."""
    bases: IndexArray
    """(P,) index of the bare skin that gives the other half."""
    names: tuple[str, ...]
    """(P,) names of the portraits."""

    @classmethod
    def empty(cls) -> PortraitTextures:
        """Return a set without textures."""
        return cls(np.zeros((0, SIZE[1], SIZE[1], 3), np.uint8), np.zeros(0, np.int64), ())

    def full_texture(self, index: int, skins: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the whole texture (512, 1024, 3) of one portrait, given the bare skins."""
        skin = skins[self.bases[index]].copy()
        skin[:, :SIZE[1]] = self.faces[index]
        return skin


def load_portrait_textures(
    faces_root: Path, fits: Path, skins: NDArray[np.uint8], means: Array, skin: HeadPart,
    texels: CoveredTexels, uv_maps: SkinUvMaps,
) -> PortraitTextures:
    """
    Bake up to `MAX_PORTRAITS` accepted portraits, without those that are held out of training.

    :param faces_root: folder that the files of the fits are relative to.
    :param fits: the file that `prepare fits --portraits` writes.
    :param skins: (S, 512, 1024, 3) RGB, bare skins.
    :param means: (S, 3) their mean colours.
    :param skin: the skin of the parametric head.
    :param texels: the texels that it covers.
    :param uv_maps: the maps of the texture.
    :return: the textures of all suitable portraits.
    :raises UserError: the file of fits or a picture is damaged.
    """
    try:
        with np.load(fits, allow_pickle=False) as archive:
            found = {name: archive[name] for name in (
                'files', 'points', 'accepted', 'rotation', 'shape', 'expression',
                'inverse_distance', 'perspective_log_scale', 'perspective_translation')}
    except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f'portrait fits: {fits} is damaged: {error}') from None
    faces, bases, names = [], [], []
    for row in np.flatnonzero(found['accepted']):
        if len(faces) == MAX_PORTRAITS:
            break
        path = faces_root / str(found['files'][row])
        if is_held_out(portrait_group(found['files'][row])):
            continue
        points = found['points'][row].astype(float)
        low, high = points.min(0), points.max(0)
        fit = PortraitFit(
            found['rotation'][row].astype(float), found['shape'][row], found['expression'][row],
            float(found['inverse_distance'][row]), float(found['perspective_log_scale'][row]),
            found['perspective_translation'][row].astype(float), (low + high) / 2,
            float((high - low).max()))
        image = read_rgba(path)[..., :3]
        inner = image[int(max(low[1], 0)):int(high[1]), int(max(low[0], 0)):int(high[0])]
        tone = np.median(inner.reshape(-1, 3), axis=0)
        base = int(np.abs(means - tone).sum(1).argmin())
        try:
            face = bake_portrait_texture(image, fit, skins[base], skin, texels, uv_maps)
        except UnsuitablePortraitError:
            continue
        faces.append(face[:, :SIZE[1]])
        bases.append(base)
        names.append(path.stem)
    if not faces:
        return PortraitTextures.empty()
    return PortraitTextures(np.stack(faces), np.array(bases, dtype=np.int64), tuple(names))


def _skin_confidence(uv_maps: SkinUvMaps) -> Float32Array:
    """Return where a photograph shows bare skin: not hair, ears, eyes, mouth or collar."""
    z = uv_maps.position[..., 2]
    lids = cv2.dilate((uv_maps.lids > 0.25).astype(np.float32), np.ones((5, 5), np.uint8))
    brow_to_hair = 1 - smoothstep(z, 0.024, 0.036)
    # A smile leaves dark lips and surroundings in a neutral texture.
    temples = smoothstep(np.abs(uv_maps.position[..., 1]), 0.050, 0.062) * (z > -0.01)
    mouth = cv2.dilate((uv_maps.lips > 0.3).astype(np.float32), np.ones((13, 13), np.uint8))
    neck = smoothstep(z, -0.120, -0.105)
    return (brow_to_hair * neck * (1 - uv_maps.ears) * (1 - uv_maps.scalp)
            * (1 - lids) * (1 - mouth) * (1 - temples)).astype(
        np.float32)


def _low_pass(picture: Float32Array, weight: Float32Array) -> Float32Array:
    # A quarter of the resolution is enough for this sigma.
    small = (SIZE[0] // 4, SIZE[1] // 4)
    stack = np.dstack([picture * weight[..., None], weight])
    stack = cv2.resize(stack, small, interpolation=cv2.INTER_AREA)
    stack = cv2.GaussianBlur(stack, (0, 0), LOW_PASS / 4)
    smooth = stack[..., :3] / np.maximum(stack[..., 3:], 1e-4)
    return cv2.resize(smooth, SIZE, interpolation=cv2.INTER_LINEAR)


def _has_glasses(seen: Float32Array, uv_maps: SkinUvMaps) -> bool:
    """Return whether strong edges lie below the eyes, as frames of glasses do."""
    x, y, z = np.moveaxis(uv_maps.position, -1, 0)
    bags = (z < -0.012) & (z > -0.026) & (np.abs(y) < 0.05) & (np.abs(y) > 0.014) & (x > -0.04)
    grey = cv2.GaussianBlur(seen.mean(-1), (0, 0), 1.0)
    edge = np.abs(cv2.Sobel(grey, cv2.CV_32F, 0, 1)) / np.maximum(cv2.blur(grey, (41, 41)), 10)
    return float(np.percentile(edge[bags], 92)) > MAX_EDGE_UNDER_EYES
