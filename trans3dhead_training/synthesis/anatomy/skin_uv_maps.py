"""Maps over the skin's texture: the 3D position of each texel and masks of facial regions."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

from trans3dhead_ros.types import Array, BoolArray, Float32Array
from trans3dhead_training.core.surface_points import CoveredTexels, rasterize_uv
from trans3dhead_training.synthesis.anatomy.face_kit import FaceKit

SIZE = (1024, 512)
"""Width and height of the skin's texture: the face in the left square, the back of the head in the
right one."""

# The hairline: height above the sellion (m) by the angle from straight ahead (degrees).
HAIRLINE = ((0, 0.069), (20, 0.070), (35, 0.062), (48, 0.046), (58, 0.022), (66, 0.000),
            (76, -0.022), (84, -0.030), (96, 0.010), (108, -0.010), (120, -0.045),
            (140, -0.078), (180, -0.084))
# The upper edge of the beard in the same coordinates.
BEARD_TOP = ((0, -0.051), (16, -0.054), (24, -0.064), (40, -0.068), (58, -0.050), (68, -0.028),
             (78, -0.015), (86, -0.020), (95, -0.060), (180, -0.3))


@dataclass(frozen=True, eq=False)
class SkinUvMaps:
    """Masks of regions in the skin's texture, (512, 1024) each, 0..1, with soft edges."""

    covered: BoolArray
    """Texels that the mesh covers."""
    position: Float32Array
    """(512, 1024, 3) m on the mean head."""
    scalp: Float32Array
    """Hair-bearing scalp."""
    beard: Float32Array
    """Area of the beard."""
    lips: Float32Array
    """Lips."""
    lids: Float32Array
    """Eyelids and their surroundings."""
    cheeks: Float32Array
    """Cheeks."""
    nose: Float32Array
    """Tip of the nose."""
    ears: Float32Array
    """Ears."""
    grain: Float32Array
    """Standard normal noise, which `paint_skin_texture` rolls by random offsets."""


def smoothstep(value: Array, low: float, high: float) -> Array:
    """Return 0 below `low`, 1 above `high` and a cubic Hermite curve between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def skin_texels(face_kit: FaceKit) -> CoveredTexels:
    """Return the texels of the skin's texture that the mesh covers."""
    return rasterize_uv(face_kit.parts['skin'].uv.astype(float), SIZE)


def build_skin_uv_maps(face_kit: FaceKit, texels: CoveredTexels) -> SkinUvMaps:
    """Compute the maps on the mean head."""
    skin = face_kit.parts['skin']
    mean = skin.mean.astype(float)
    width, height = SIZE
    covered = np.zeros((height, width), dtype=bool)
    covered[texels.row, texels.column] = True
    position = np.zeros((height, width, 3))
    position[texels.row, texels.column] = texels.points.interpolate(mean, skin.triangles)
    position = extend_beyond_seams(position, covered)
    x, y, z = np.moveaxis(position, -1, 0)
    angle = np.degrees(np.arctan2(np.abs(y), x + 0.095))

    ears = _ears(face_kit)
    hairline = np.interp(angle, *np.array(HAIRLINE).T)
    scalp = smoothstep(z - hairline + _ragged(), -0.006, 0.010) * (1 - ears)
    beard_top = np.interp(angle, *np.array(BEARD_TOP).T)
    beard = smoothstep(beard_top - z, -0.002, 0.008) * smoothstep(z, -0.145, -0.115)
    under_jaw = smoothstep(x, -0.085, -0.06)
    beard = beard * under_jaw * (1 - ears)
    uv = landmark_texels(face_kit)
    lips = _polygon(uv[48:60], 2.0)
    lids = np.maximum(_polygon(_grown(uv[36:42], 1.35, -3.0), 5.0),
                      _polygon(_grown(uv[42:48], 1.35, -3.0), 5.0))
    cheek = np.minimum(np.linalg.norm(position - [-0.026, 0.052, -0.038], axis=-1),
                       np.linalg.norm(position - [-0.026, -0.052, -0.038], axis=-1))
    nose = np.linalg.norm(position - [0.020, 0, -0.036], axis=-1)
    cheeks, nose = np.exp(-(cheek / 0.020) ** 2), np.exp(-(nose / 0.014) ** 2)
    beard = beard * (1 - _polygon(_grown(uv[48:60], 1.12, 0.0), 2.0))
    grain = np.random.default_rng(11).standard_normal(SIZE[::-1])
    return SkinUvMaps(covered, position.astype(np.float32), *(
        mask.astype(np.float32) for mask in (
            np.where(scalp > 0.004, scalp, 0), np.where(beard > 0.004, beard, 0), lips, lids,
            cheeks, nose, ears, grain)))


def landmark_texels(face_kit: FaceKit) -> Array:
    """Return the positions (68, 2) px of the landmarks in the skin's texture."""
    skin = face_kit.parts['skin']
    pixels = np.zeros((len(skin.mean), 2))
    # The face's half last: it wins on the seam.
    for half in (1, 0):
        here = (skin.uv[..., 0].mean(1) >= 0.5) == bool(half)
        pixels[skin.triangles[here]] = skin.uv[here] * SIZE
    return pixels[face_kit.landmarks]


def extend_beyond_seams(values: Array, covered: BoolArray) -> Float32Array:
    """Extend values (H, W, C) beyond the covered texels for filtering across seams."""
    row, column = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return values[row, column].astype(np.float32)


def _ragged() -> Float32Array:
    """Return noise of a few millimetres that keeps the hairline irregular."""
    field = np.random.default_rng(3).standard_normal(SIZE[::-1]).astype(np.float32)
    field = cv2.GaussianBlur(field, (0, 0), 2.5)
    return 0.0025 * field / field.std()


def _grown(points: Array, factor: float, lift: float) -> Array:
    centre = points.mean(0)
    return centre + (points - centre) * [factor, factor * (3.0 if lift else 1.0)] + [0, lift]


def _polygon(points: Array, blur: float) -> Float32Array:
    mask = np.zeros(SIZE[::-1], np.float32)
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 1.0, shift=4)
    return cv2.GaussianBlur(mask, (0, 0), blur)


def _ears(face_kit: FaceKit) -> Float32Array:
    """Return the two flaps at the sides of the face's square, and the backs of the ears."""
    mask = np.zeros(SIZE[::-1], np.float32)
    mask[160:285, :34] = mask[160:285, 478:512] = 1.0
    mask[225:325, 512 + 75:512 + 95] = mask[225:325, 512 + 418:512 + 440] = 1.0
    return cv2.GaussianBlur(mask, (0, 0), 3.0)
