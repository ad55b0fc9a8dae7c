"""More skins: public-domain portraits taken off their fitted heads into the skin's texture."""

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
"""px of the texture: what is smoother is taken for light and tone, and replaced by the base's."""
MOST_TURNED = 0.94
"""Least cosine between the face and the camera."""
LEAST_FACE_PX = 90.0
MOST_PORTRAITS = 80
MOST_STRAY = 0.40
"""Log ratio of detail to the base's that bare cheeks do not reach."""
FRAME_EDGE = 0.24
"""Of the local brightness: the steepness that a shadow under an eye does not reach."""


@dataclass(frozen=True, eq=False)
class PortraitFit:
    """A head fitted to a portrait, in units of its landmark box: u = 2 (px - centre) / side."""

    rotation: Array
    """(3, 3) head -> camera."""
    shape: Array
    """(I,),."""
    expression: Array
    """(E,)."""
    inverse_distance: float
    """1/m."""
    log_scale: float
    """(2,), of the perspective camera: u = (exp(log_scale) p[:2] + translation) / (1 +
    inverse_distance p[2])."""
    translation: Array
    """(2,), of the perspective camera: u = (exp(log_scale) p[:2] + translation) / (1 +
    inverse_distance p[2])."""
    centre: Array
    """(2,) px,."""
    side: float
    """Px of the landmark box."""

    def project(self, head: Array) -> Array:
        """Return points (P, 3) m of the head frame in px of the portrait, (P, 2)."""
        turned = head @ self.rotation.T
        flat = np.exp(self.log_scale) * turned[:, :2] + self.translation
        units = flat / (1 + self.inverse_distance * turned[:, 2:])
        return self.centre + 0.5 * self.side * units


def bake_portrait_texture(
    image: NDArray[np.uint8],
    fit: PortraitFit,
    base: NDArray[np.uint8],
    skin: HeadPart,
    texels: CoveredTexels,
    layout: SkinUvMaps,
) -> NDArray[np.uint8]:
    """
    Return the skin (512, 1024, 3) RGB of a portrait.

    The photograph gives what is finer than its light; tone, light's absence and all that the
    camera did not see come from the base skin.

    :param image: (H, W, 3) RGB.
    :param base: (512, 1024, 3) RGB, a bare skin of about its tone.
    :raises ValueError: the face is too small, turned away, or wears what may be glasses.
    """
    if fit.side < LEAST_FACE_PX:
        raise UserError(f'portrait: the face has {fit.side:.0f} px, {LEAST_FACE_PX:.0f} needed')
    if -fit.rotation[2, 0] < MOST_TURNED:
        raise UserError('portrait: the face is turned away from the camera')
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
    trust = np.zeros(SIZE[::-1], np.float32)
    trust[texels.row, texels.column] = smoothstep(facing, 0.25, 0.6) * inside
    trust *= _believed(layout)
    trust = cv2.GaussianBlur(cv2.erode(trust, np.ones((5, 5), np.uint8)), (0, 0), 4.0)
    if _framed(seen, layout):
        raise UserError('portrait: edges under the eyes, as of glasses')
    ratio = _low_pass(base.astype(np.float32), trust) / np.maximum(_low_pass(seen, trust), 4.0)
    lit = seen * np.clip(ratio, 0.3, 4.0)
    # Below the brows the darkest are the folds of a smile, which the model's own skin makes.
    under = layout.position[..., 2:] < 0.006
    spread = lit
    lit = np.where(under, np.clip(lit, 0.68 * base, 1.5 * base), lit)
    result = base + (lit - base) * trust[..., None]
    plain = (trust > 0.5) & (layout.position[..., 2] < 0.012)
    stray = np.abs(np.log(np.maximum(spread.mean(-1), 1) / np.maximum(base.mean(-1), 1)))[plain]
    if np.percentile(stray, 95) > MOST_STRAY:
        raise UserError('portrait: hair, shadow or a beard lies over the cheeks')
    return np.clip(result, 0, 255).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class PortraitTextures:
    """Skins of portraits."""

    faces: NDArray[np.uint8]
    """(P, 512, 512, 3) RGB, the face's half of the texture."""
    bases: IndexArray
    """(P,) the bare skin that gives the rest."""
    names: tuple[str, ...]
    """(P,) of the portraits."""

    @classmethod
    def empty(cls) -> PortraitTextures:
        """Return no skins at all."""
        return cls(np.zeros((0, SIZE[1], SIZE[1], 3), np.uint8), np.zeros(0, np.int64), ())

    def full_texture(self, index: int, skins: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the skin (512, 1024, 3) of one portrait."""
        skin = skins[self.bases[index]].copy()
        skin[:, :SIZE[1]] = self.faces[index]
        return skin


def load_portrait_textures(
    faces_root: Path,
    fits: Path,
    skins: NDArray[np.uint8],
    means: Array,
    skin: HeadPart,
    texels: CoveredTexels,
    layout: SkinUvMaps,
) -> PortraitTextures:
    """
    Take up to `MOST_PORTRAITS` skins off the portraits that `prepare fits --portraits` accepted.

    None off a portrait that is held out: who learns from synthetic people has not seen it.

    :raises ValueError: when the file of fits or a picture is damaged.
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
        if len(faces) == MOST_PORTRAITS:
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
            face = bake_portrait_texture(image, fit, skins[base], skin, texels, layout)
        except ValueError:
            continue  # unsuitable, says why; there are enough others
        faces.append(face[:, :SIZE[1]])
        bases.append(base)
        names.append(path.stem)
    if not faces:
        return PortraitTextures.empty()
    return PortraitTextures(np.stack(faces), np.array(bases, dtype=np.int64), tuple(names))


def _believed(layout: SkinUvMaps) -> Float32Array:
    """Return where a photograph shows skin: no hair, no ears, no eyes, no collar."""
    z = layout.position[..., 2]
    lids = cv2.dilate((layout.lids > 0.25).astype(np.float32), np.ones((5, 5), np.uint8))
    brow_to_hair = 1 - smoothstep(z, 0.024, 0.036)
    # A smile that is laid flat darkens the lips and what is round them.
    temples = smoothstep(np.abs(layout.position[..., 1]), 0.050, 0.062) * (z > -0.01)
    mouth = cv2.dilate((layout.lips > 0.3).astype(np.float32), np.ones((13, 13), np.uint8))
    neck = smoothstep(z, -0.120, -0.105)
    return (brow_to_hair * neck * (1 - layout.ears) * (1 - layout.scalp)
            * (1 - lids) * (1 - mouth) * (1 - temples)).astype(
        np.float32)


def _low_pass(picture: Float32Array, weight: Float32Array) -> Float32Array:
    # At a quarter of the resolution: a sixteenth of the work, and as smooth.
    small = (SIZE[0] // 4, SIZE[1] // 4)
    stack = np.dstack([picture * weight[..., None], weight])
    stack = cv2.resize(stack, small, interpolation=cv2.INTER_AREA)
    stack = cv2.GaussianBlur(stack, (0, 0), LOW_PASS / 4)
    smooth = stack[..., :3] / np.maximum(stack[..., 3:], 1e-4)
    return cv2.resize(smooth, SIZE, interpolation=cv2.INTER_LINEAR)


def _framed(seen: Float32Array, layout: SkinUvMaps) -> bool:
    """Tell strong lines on the bags of the eyes and the bridge of the nose: frames of glasses."""
    x, y, z = np.moveaxis(layout.position, -1, 0)
    bags = (z < -0.012) & (z > -0.026) & (np.abs(y) < 0.05) & (np.abs(y) > 0.014) & (x > -0.04)
    grey = cv2.GaussianBlur(seen.mean(-1), (0, 0), 1.0)
    edge = np.abs(cv2.Sobel(grey, cv2.CV_32F, 0, 1)) / np.maximum(cv2.blur(grey, (41, 41)), 10)
    return float(np.percentile(edge[bags], 92)) > FRAME_EDGE
