"""Painting a bare skin texture: tone, blemishes, beard, scalp hair and make-up."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.types import Array, Float32Array
from trans3dhead_training.synthesis.anatomy.skin_uv_maps import SIZE, SkinUvMaps

# Skin tones from fair to dark, sRGB under white light.
TONES = np.array([
    (233, 197, 178), (226, 185, 161), (217, 171, 142), (204, 155, 123), (187, 136, 103),
    (165, 115, 83), (139, 94, 67), (112, 74, 53), (90, 58, 41), (70, 44, 32)], dtype=float)
HAIR_COLOURS = {
    'black': (24, 20, 19), 'soft black': (38, 31, 28), 'dark brown': (54, 39, 30),
    'brown': (82, 58, 41), 'light brown': (120, 90, 64), 'dark blond': (152, 120, 82),
    'blond': (192, 160, 114), 'light blond': (216, 192, 150), 'red': (142, 72, 38),
    'auburn': (98, 48, 32), 'grey': (142, 140, 137), 'white': (208, 206, 202),
    'blue': (48, 74, 142), 'pink': (206, 104, 148), 'purple': (104, 58, 122),
    'green': (60, 122, 88)}


@dataclass(frozen=True)
class SkinAppearance:
    """Parameters of a painted skin; strengths are 0..1 unless stated otherwise."""

    tone: float
    """Position on `TONES`, 0 (fair) .. 1 (dark)."""
    undertone: float
    """Reddish (+1) to yellowish (-1)."""
    contrast: float
    """Factor on the skin's own detail, about 1; more looks older."""
    blush: float
    """Redness of cheeks, nose and ears."""
    blotches: float
    """Strength of uneven redness."""
    freckles: float
    """Density of freckles."""
    moles: int
    """Number of moles."""
    hair: tuple[float, float, float]
    """(3,) sRGB 0..255 of the hair on the scalp."""
    brow_hair: tuple[float, float, float]
    """(3,) sRGB 0..255 of eyebrows and beard."""
    brows: float
    """Opacity of the eyebrows."""
    beard: float
    """Density of the beard."""
    scalp: float
    """Opacity of the hair painted on the scalp."""
    bald_top: float
    """How bald the top of the head is."""
    lips: float
    """Strength of lipstick."""
    lip_colour: tuple[float, float, float]
    """(3,) sRGB 0..255 of the lipstick."""
    shadow: float
    """Strength of eye shadow."""
    shadow_colour: tuple[float, float, float]
    """(3,) sRGB 0..255 of the eye shadow."""
    tired: float
    """Darkness around the eyes."""


def skin_tone_colour(tone: float, undertone: float) -> Array:
    """Return the mean colour (3,) sRGB of a skin."""
    place = np.clip(tone, 0, 1) * (len(TONES) - 1)
    colour = np.array([np.interp(place, range(len(TONES)), TONES[:, i]) for i in range(3)])
    return colour * [1 + 0.015 * undertone, 1 - 0.025 * undertone, 1 + 0.03 * undertone]


def paint_skin_texture(
    bare: NDArray[np.uint8], mean: Array, appearance: SkinAppearance, brow: NDArray[np.uint8],
    uv_maps: SkinUvMaps, generator: np.random.Generator,
) -> NDArray[np.uint8]:
    """
    Paint a bare skin texture.

    :param bare: (512, 1024, 3) RGB.
    :param mean: (3,) its mean colour over the face.
    :param appearance: what to paint.
    :param brow: (512, 1024) opacity of the eyebrows.
    :param uv_maps: the maps of the texture.
    :param generator: source of the noise.
    :return: (512, 1024, 3) uint8 RGB.
    """
    table = _tone_table(
        mean, skin_tone_colour(appearance.tone, appearance.undertone), appearance.contrast
    )
    # Separate planes: arithmetic on interleaved channels is several times slower.
    skin = np.stack(cv2.split(cv2.LUT(bare, table))).astype(np.float32)
    coarse = _noise(generator, 16)
    middle = _noise(generator, 4)
    fine = np.roll(uv_maps.grain, generator.integers(0, 512, 2), (0, 1))
    light = 1 - appearance.tone

    # Redness shows where the skin is thin, less so in dark skin.
    red = (appearance.blush * (0.9 * uv_maps.cheeks + 0.6 * uv_maps.nose + 0.5 * uv_maps.ears)
           + appearance.blotches * 0.25 * np.maximum(coarse, -0.6))
    red *= 0.16 * (0.35 + 0.65 * light)
    shade = 0.012 * fine + 0.020 * middle + 1
    if appearance.tired > 0:
        shade *= 1 - 0.30 * appearance.tired * uv_maps.lids
    skin[0] *= shade * (1 + 0.15 * red)
    skin[1] *= shade * (1 - red)
    skin[2] *= shade * (1 - 0.8 * red)
    if appearance.freckles > 0:
        spots = cv2.GaussianBlur(fine, (0, 0), 1.0)
        spots *= 3.5 / spots.std() * 0.28
        where = np.clip(uv_maps.cheeks * 1.3 + uv_maps.nose + 0.35, 0, 1) * (1 - uv_maps.lips)
        amount = np.clip(spots * 3.5 - 2.6 + 1.2 * appearance.freckles, 0, 1) * where
        amount *= 0.45 * (0.4 + 0.6 * appearance.freckles)
        for plane, ratio in zip(skin, (0.80, 0.62, 0.48), strict=True):
            plane *= 1 - (1 - ratio) * amount
    _moles(skin, appearance.moles, generator)
    if appearance.lips > 0:
        _tint(skin, uv_maps.lips, appearance.lips, appearance.lip_colour)
    if appearance.shadow > 0:
        _tint(skin, uv_maps.lids, appearance.shadow * 0.8, appearance.shadow_colour)

    hair, brow_hair = np.array(appearance.hair), np.array(appearance.brow_hair)
    if appearance.beard > 0 or appearance.scalp > 0:
        stubble = np.clip(0.62 + 0.34 * fine + 0.16 * middle, 0, 1)
    if appearance.beard > 0:
        _blend(
            skin, uv_maps.beard * (appearance.beard * (0.25 + 0.75 * stubble)), brow_hair * 0.9 + 6
        )
    if appearance.scalp > 0:
        amount = uv_maps.scalp * appearance.scalp
        if appearance.bald_top > 0:
            z, x = uv_maps.position[..., 2], uv_maps.position[..., 0]
            amount *= 1 - appearance.bald_top * np.clip(
                (z - 0.030 + 0.25 * (x + 0.05)) / 0.03, 0, 1
            )
        thick = 0.35 * np.maximum(amount - 0.5, 0)
        _blend(skin, np.minimum(amount * (0.35 + 0.75 * stubble) + thick, 1), hair * 0.85)
    _blend(skin, brow, brow_hair * 0.75, appearance.brows / 255)
    return cv2.merge([np.clip(plane, 0, 255).astype(np.uint8) for plane in skin])


def _tone_table(mean: Array, target: Array, contrast: float) -> NDArray[np.uint8]:
    """Return the (1, 256, 3) table that maps a mean colour to another, detail as a ratio."""
    level = (np.arange(256) / 255.0) ** 2.2
    table = np.empty((1, 256, 3), np.uint8)
    for i in range(3):
        middle, target_level = (mean[i] / 255) ** 2.2, (target[i] / 255) ** 2.2
        moved = target_level * (np.maximum(level, 1e-4) / middle) ** contrast
        moved = np.where(moved > 0.75, 0.75 + 0.22 * np.tanh((moved - 0.75) / 0.22), moved)
        table[0, :, i] = np.clip(255 * moved ** (1 / 2.2), 0, 255)
    return table


def _noise(generator: np.random.Generator, cell: int) -> Float32Array:
    small = generator.standard_normal((SIZE[1] // cell, SIZE[0] // cell), dtype=np.float32)
    return cv2.resize(small, SIZE, interpolation=cv2.INTER_CUBIC)


def _window(mask: NDArray[np.generic]) -> tuple[slice, slice]:
    """Return the rows and columns of the bounding box of a mask (512, 1024)."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _blend(
    skin: Float32Array, amount: NDArray[np.generic], colour: Array, strength: float = 1.0
) -> None:
    """Blend planes (3, 512, 1024) towards a colour, by an amount (512, 1024) times a strength."""
    here = _window(amount)
    weight = amount[here] * np.float32(strength)
    for plane, level in zip(skin, colour, strict=True):
        part = plane[here]
        part += (np.float32(level) - part) * weight


def _tint(
    skin: Float32Array, mask: Float32Array, strength: float, colour: tuple[float, ...]
) -> None:
    """Blend towards a colour while the brightness variation underneath is kept."""
    here = _window(mask > 0.004)
    weight = mask[here] * np.float32(strength)
    grey = skin[(slice(None), *here)].mean(0)
    grey /= max(float((grey * weight).sum() / max(float(weight.sum()), 1e-6)), 1.0)
    for plane, level in zip(skin, colour, strict=True):
        part = plane[here]
        part += (np.float32(level) * grey - part) * weight


def _moles(skin: Float32Array, count: int, generator: np.random.Generator) -> None:
    for _ in range(count):
        x, y = generator.uniform(60, 450), generator.uniform(40, 480)
        radius = generator.uniform(0.5, 1.5)
        y0, x0 = int(y) - 4, int(x) - 4
        gap = np.hypot(np.arange(9)[:, None] + y0 - y, np.arange(9)[None] + x0 - x)
        amount = (np.clip(radius + 0.7 - gap, 0, 1) * generator.uniform(0.4, 0.9)).astype(
            np.float32)
        for plane, loss in zip(skin, (0.45, 0.6, 0.65), strict=True):
            plane[y0:y0 + 9, x0:x0 + 9] *= 1 - np.float32(loss) * amount
