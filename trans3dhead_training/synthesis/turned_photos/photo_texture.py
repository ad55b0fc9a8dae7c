"""The texture of a whole head from one photograph."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.mesh import vertex_normals
from trans3dhead_ros.types import Array, Float32Array, Image
from trans3dhead_training.core.rasterizer import rasterize
from trans3dhead_training.synthesis.turned_photos.cylindrical_atlas import hair_strands
from trans3dhead_training.synthesis.turned_photos.head_surface import HeadSurface
from trans3dhead_training.synthesis.turned_photos.inpainting import inpaint

MIN_FACING = 0.12
"""Cosine between normal and line of sight above which the photograph gives the texture."""
_HAIR_MARGIN = 0.15
"""Added to that for hair, whose outline is mixed with background."""
_HAIR_EDGE_M, _SKIN_EDGE_M = 0.006, 0.0015
_OCCLUSION_TOLERANCE_M = 0.012
_VISIBILITY_PX = 128
_BLEND = 0.25
_MOUTH_PX = 8
_MOUTH_LIGHT = 0.55, 0.12
"""Brightness at the lips and deep in an opened mouth, relative to the inner lips."""
_HAIR_CONTRAST, _HAIR_CONTRAST_LIMIT = 0.5, 8.0
"""Contrast of synthesised hair: relative to the visible hair's, and its limit in grey levels."""
_LAB_WEIGHTS = np.array([1 / 25, 1 / 14, 1 / 14], np.float32)
"""Weights of CIELAB differences: lightness separates skin less than hue, because of shadows."""

_HAIR_BY_SKIN = np.array([(0.22, 0.2, 0.2), (0.3, 0.33, 0.4), (0.2, 0.24, 0.3), (0.55, 0.66, 0.72),
                          (0.95, 0.85, 0.78), (0.3, 0.32, 0.35)], np.float32)
"""Colours of hair, BGR relative to the skin, for photographs that show none."""
_UNKNOWN_HAIR_DEVIATION = 0.15
"""Deviation of such hair, relative to its brightness."""


@dataclass(frozen=True, eq=False)
class PhotoVisibility:
    """What the photograph shows of the fitted head."""

    facing: Array
    """(vertices,) cosine between normal and line of sight, 0 where the vertex is hidden."""
    head: NDArray[np.uint8]
    """(H, W) 1 on the head."""
    neck: NDArray[np.uint8]
    """(H, W) 1 on the neck."""


@dataclass(frozen=True, eq=False)
class PhotoTexture:
    """A texture image with the photograph, the atlas of what it hides, and the eyeless patch."""

    image: Image
    """(h, w, 3) BGR; the photograph is at the upper left."""
    uv: Array
    """(T, 3, 2) px of the image, pixel centres at integers."""
    uv_mouth_open: Array
    """(T, 3, 2) the same with a dark inside for a mouth that was closed."""
    eye_patch_corner: tuple[int, int]
    """(x, y) px, the upper left corner of the eyeless patch."""


def photo_visibility(
    pixels: Array, turned: Array, surface: HeadSurface, shape: tuple[int, ...],
) -> PhotoVisibility:
    """
    Determine which vertices a photograph shows.

    :param pixels: (vertices, 2) px.
    :param turned: (vertices, 3) m, camera axes, z forward.
    :param surface: the head's surface.
    :param shape: of the photograph.
    :return: the visibility.
    """
    reduction = max(1.0, max(shape[:2]) / _VISIBILITY_PX)
    size = (int(np.ceil(shape[1] / reduction)), int(np.ceil(shape[0] / reduction)))
    small = (pixels + 0.5) / reduction - 0.5
    depth = turned[:, 2]
    seen = rasterize(small, 10 + depth, surface.triangles, size)
    maps = np.full((size[0] * size[1], 2), [np.inf, 1.0], np.float32)
    maps[seen.pixel] = seen.interpolate(
        np.stack([depth, surface.neck_fade], axis=1).astype(np.float32), surface.triangles)
    nearest, above = maps.reshape(size[1], size[0], 2).transpose(2, 0, 1)
    column = np.clip(np.round(small[:, 0]), 0, size[0] - 1).astype(int)
    row = np.clip(np.round(small[:, 1]), 0, size[1] - 1).astype(int)
    hidden = depth > nearest[row, column] + _OCCLUSION_TOLERANCE_M
    inside = ((pixels >= 0) & (pixels <= [shape[1] - 1, shape[0] - 1])).all(1)
    facing = np.clip(-vertex_normals(turned, surface.triangles)[:, 2], 0, 1)
    facing[:len(surface.eyeball)][surface.eyeball] = 1.0
    is_head, is_neck = (
        cv2.resize((np.isfinite(nearest) & part).astype(np.uint8), (shape[1], shape[0]),
                   interpolation=cv2.INTER_NEAREST) for part in (above > 0.99, above <= 0.99))
    return PhotoVisibility(facing * inside * ~hidden, is_head, is_neck)


def exclude_outline(
    visibility: PhotoVisibility, pixels: Array, person: NDArray[np.uint8], surface: HeadSurface,
    px_per_metre: float,
) -> PhotoVisibility:
    """
    Exclude vertices close to the person's outline, which may show background.

    :param visibility: the visibility.
    :param pixels: (vertices, 2) px.
    :param person: (H, W) 1 on the person.
    :param surface: the head's surface.
    :param px_per_metre: px per metre.
    :return: the reduced visibility.
    """
    distance = cv2.distanceTransform(person, cv2.DIST_L2, 3)
    column, row = np.round(pixels).astype(int).T
    inwards = distance[np.clip(row, 0, len(person) - 1), np.clip(column, 0, person.shape[1] - 1)]
    edge = _SKIN_EDGE_M + (_HAIR_EDGE_M - _SKIN_EDGE_M) * surface.hair
    return PhotoVisibility(
        visibility.facing * (inwards >= edge * px_per_metre), visibility.head, visibility.neck
    )


def project_texture(
    picture: Image, pixels: Array, visibility: PhotoVisibility, eye_patch: Image,
    surface: HeadSurface,
) -> PhotoTexture:
    """
    Assign a texture to every triangle.

    :param picture: (H, W, 3) BGR.
    :param pixels: (vertices, 2) px, the fitted head in it.
    :param visibility: what the photograph shows.
    :param eye_patch: (h, w, 3) BGR, the texture of closing eyes.
    :param surface: the head's surface.
    :return: the texture.
    """
    height, width = picture.shape[:2]
    least = MIN_FACING + _HAIR_MARGIN * surface.hair
    # Where the atlas has detail, it replaces the photograph gradually towards its limit.
    needed = least[surface.triangles] + _BLEND * surface.atlas.shows_detail[:, None]
    shown = ((visibility.facing[surface.triangles] > needed).all(1) | surface.pocket
             | surface.lids.any(0))
    atlas = _fill_atlas(
        picture, pixels, np.clip((visibility.facing - least) / _BLEND, 0, 1), surface
    )
    atlas_height, atlas_width = atlas.shape[:2]
    bottom = height + atlas_height
    image = np.zeros(
        (bottom + len(eye_patch), max(width, atlas_width + _MOUTH_PX, eye_patch.shape[1]), 3),
        np.uint8,
    )
    image[:height, :width] = picture
    image[:height, width:] = picture[:, -1:]
    image[height:bottom, :atlas_width] = atlas
    image[bottom:, :eye_patch.shape[1]] = eye_patch
    lips = np.clip(np.round(pixels[surface.lips]), 0, [width - 1, height - 1]).astype(int)
    colour = np.median(picture[lips[:, 1], lips[:, 0]], axis=0) if len(lips) else np.zeros(3)
    image[height:bottom, atlas_width:atlas_width + _MOUTH_PX] = np.linspace(
        *_MOUTH_LIGHT, _MOUTH_PX)[:, None] * colour
    uv = np.where(shown[:, None, None], pixels[surface.triangles],
                  np.add(surface.atlas.corner_pixels, [0, height]))
    dark = np.stack([
        atlas_width + (_MOUTH_PX - 1) * np.clip(1.5 * surface.depth_in_mouth, 0, 1),
        np.full(len(pixels), height + atlas_height / 2)], axis=1)
    uv_mouth_open = np.where(surface.pocket[:, None, None], dark[surface.triangles], uv)
    return PhotoTexture(image, uv, uv_mouth_open, (0, bottom))


def _fill_atlas(picture: Image, pixels: Array, confidence: Array, surface: HeadSurface) -> Image:
    """Return the atlas (h, w, 3) BGR: skin filled from skin, hair from hair."""
    atlas = surface.atlas
    layers = atlas.interpolate(np.column_stack([pixels, confidence, surface.hair]))
    # Smoothed inwards, so that single excluded vertices leave no visible edge.
    confidence = cv2.GaussianBlur(cv2.erode(layers[..., 2], np.ones((3, 3))), (0, 0), 1.5)
    confidence, hair = np.minimum(confidence, layers[..., 2]), layers[..., 3]
    colours = cv2.remap(picture, layers[..., 0], layers[..., 1], cv2.INTER_LINEAR,
                        borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    skin, _ = _fill_common_colour(colours, confidence * (hair < 0.5))
    known_hair = confidence * (hair > 0.99)
    hair_colours, deviation = _fill_common_colour(colours, known_hair)
    if not known_hair.any():  # the picture ends below the hair
        hair_colours = _hair_beside(skin)
        deviation = _UNKNOWN_HAIR_DEVIATION * float(hair_colours.mean())
    contrast = min(_HAIR_CONTRAST * deviation, _HAIR_CONTRAST_LIMIT)
    hair_colours = hair_colours + contrast * hair_strands(atlas)
    filled = skin + atlas.hair * (hair_colours - skin)
    return np.clip(filled + confidence[..., None] * (colours - filled), 0, 255).astype(np.uint8)


def _hair_beside(skin: Float32Array) -> Float32Array:
    """Return hair (H, W, 3) of one colour, chosen by the colour of the skin (H, W, 3)."""
    common = np.median(skin.reshape(-1, 3), axis=0)
    colour = _HAIR_BY_SKIN[int(common.sum()) % len(_HAIR_BY_SKIN)] * common
    return np.broadcast_to(colour, skin.shape).astype(np.float32)


def _fill_common_colour(
    colours: Float32Array, known: Float32Array,
) -> tuple[Float32Array, float]:
    """
    Fill (H, W, 3) from those known pixels that have the most common colour.

    Other colours within hair or skin are background, collar or earrings, which must not spread.

    :return: the filled atlas, and the deviation of the known pixels in grey levels.
    """
    sure = colours[known > 0.5 * known.max()] if known.max() > 0 else colours[:0]
    if len(sure) == 0:
        return inpaint(colours, known), 0.0
    common = np.median(sure, axis=0)
    difference = (_lab(colours) - _lab(np.float32(common)[None, None])) * _LAB_WEIGHTS
    alike = np.clip(2 - np.linalg.norm(difference, axis=2), 0, 1)
    deviation = 1.5 * float(np.median(np.abs(sure.mean(1) - common.mean())))
    return inpaint(colours, known * alike, common), deviation


def _lab(colours: Float32Array) -> Float32Array:
    return cv2.cvtColor(colours / np.float32(255), cv2.COLOR_BGR2LAB)
