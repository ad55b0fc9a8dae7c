"""Clothes: the inflated torso of the base mesh, collars, and cloth painted on the neck."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.mesh import vertex_normals
from trans3dhead_ros.types import Array, Float32Array, IndexArray
from trans3dhead_training.core.surface_points import closest_points
from trans3dhead_training.synthesis.anatomy.face_kit import FaceKit
from trans3dhead_training.synthesis.anatomy.makehuman_body import MakeHumanBody
from trans3dhead_training.synthesis.anatomy.skin_binding import SkinBinding, bind_to_skin

TEXTURE = 256
PUFF_M = 0.010
SHOULDER_Y, SHOULDER_Z = 0.125, -0.215
"""Pivot of the arms, which are rotated down: m beside the middle and below the sellion."""
ARM_DM = 3.4
"""Arms are cut at this distance from the middle of the base mesh."""
COLUMNS = 48
# Collars as rings from the top: height (m) and gap to the neck (m); the last joins the torso.
COLLARS: dict[str, tuple[tuple[float, float], ...]] = {
    'roll': ((-0.110, 0.004), (-0.107, 0.008), (-0.114, 0.012), (-0.128, 0.013), (-0.132, 0.009)),
    'hood': ((-0.112, 0.016), (-0.108, 0.026), (-0.120, 0.036), (-0.145, 0.038), (-0.170, 0.022)),
    'shirt': ((-0.112, 0.004), (-0.109, 0.008), (-0.120, 0.014), (-0.136, 0.024),
              (-0.141, 0.028), (-0.139, 0.018)),
}
NECKLINES = {'crew': -0.137, 'wide': -0.150, 'high': -0.126, 'vee': -0.140, 'roll': -0.111,
             'hood': -0.142, 'shirt': -0.122}
"""Height (m) of the neckline at the middle of the neck; it drops by `SLOPE` towards the front."""
SLOPE = 0.33
NECK_AXIS_X = -0.075
CLOTH_SCALE_M = 0.60
"""Length of cloth that the texture shows."""


@dataclass(frozen=True, eq=False)
class Garment:
    """A mesh of cloth on the mean head."""

    binding: SkinBinding
    """Its vertices and how they follow the skin."""
    triangles: IndexArray
    """(T, 3) vertex indices."""
    uv: Float32Array
    """(T, 3, 2) texture coordinates of each corner."""


def cloth_uv(points: Array) -> Array:
    """Return texture coordinates (..., 2) of points (..., 3) m: cloth draped from the shoulders."""
    across = 0.5 + points[..., 1] / CLOTH_SCALE_M
    depth = points[..., 2] + 0.10 - 0.3 * np.abs(points[..., 0] - NECK_AXIS_X)
    down = 0.1 - depth / CLOTH_SCALE_M
    return np.clip(np.stack([across, down], -1), 0, 1)


def depth_below_neckline(points: Array, cut: str) -> Array:
    """Return how far (...) m points (..., 3) m lie below the neckline; positive under the cloth."""
    height = NECKLINES[cut] - SLOPE * (points[..., 0] - NECK_AXIS_X)
    if cut == 'vee':
        front = np.clip((points[..., 0] - NECK_AXIS_X) / 0.03, 0, 1)
        height = height - front * 0.9 * np.clip(0.040 - np.abs(points[..., 1]), 0, None)
    return height - points[..., 2]


@dataclass(frozen=True, eq=False)
class GarmentOverlay:
    """The N texels of the skin's texture that a garment covers."""

    texel: NDArray[np.int32]
    """(N,) row * width + column."""
    cover: Float32Array
    """(N,) opacity 0..1 of the cloth."""
    edge: Float32Array
    """(N,) strength 0..1 of the hem's shadow."""
    cloth: NDArray[np.int32]
    """(N,) texel of the cloth's texture."""

    def composite(self, skin: NDArray[np.uint8], cloth: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """
        Paint cloth over a skin texture.

        :param skin: (512, 1024, 3) RGB.
        :param cloth: (256, 256, 4) RGBA.
        :return: (512, 1024, 3) uint8 RGB.
        """
        result = skin.reshape(-1, 3).copy()
        colour = cloth[..., :3].reshape(-1, 3)[self.cloth]
        whole = self.cover >= 1
        result[self.texel[whole]] = colour[whole]
        part = ~whole
        under = result[self.texel[part]] * (1 - 0.35 * self.edge[part, None])
        cover = self.cover[part, None]
        result[self.texel[part]] = (under * (1 - cover) + colour[part] * cover).astype(np.uint8)
        return result.reshape(skin.shape)


def garment_overlay(position: Float32Array, cut: str) -> GarmentOverlay:
    """Return what a neckline covers, given the position (512, 1024, 3) m of each texel."""
    points = position.reshape(-1, 3)
    below = depth_below_neckline(points, cut)
    texel = np.flatnonzero(below > -0.008)
    points, below = points[texel], below[texel]
    at = np.clip(cloth_uv(points) * TEXTURE, 0, TEXTURE - 1).astype(np.int32)
    return GarmentOverlay(
        texel.astype(np.int32), np.clip(0.5 + below / 0.0012, 0, 1).astype(np.float32),
        np.exp(-((below + 0.0015) / 0.002) ** 2).astype(np.float32),
        at[:, 1] * TEXTURE + at[:, 0])


def neck_rings(face_kit: FaceKit, heights: Array, gap: Array) -> Array:
    """
    Return rings about the mean neck, which drop towards the front.

    :param face_kit: the parametric head.
    :param heights: (R,) m.
    :param gap: (R,) m, distance from the skin.
    :return: (R, COLUMNS, 3) m.
    """
    skin = face_kit.parts['skin']
    mean = skin.mean.astype(float)
    angle = np.linspace(-np.pi, np.pi, COLUMNS, endpoint=False)
    rings = np.zeros((len(heights), COLUMNS, 3))
    for row, (height, away) in enumerate(zip(heights, gap, strict=True)):
        level = height - SLOPE * 0.06 * np.cos(angle)  # the front lower, the nape higher
        slope = -SLOPE * (mean[:, 0] - NECK_AXIS_X)
        close = np.abs(mean[:, 2] - height - slope) < 0.006
        points = mean[close & (np.abs(mean[:, 1]) < 0.11)]
        middle = np.array([NECK_AXIS_X, 0.0])
        around = np.arctan2(points[:, 1], points[:, 0] - middle[0])
        radius = np.hypot(points[:, 0] - middle[0], points[:, 1])
        # Limited, because at the base of the neck the skin spreads over the shoulders.
        order = np.argsort(around)
        wrapped = np.concatenate([around[order] - 2 * np.pi, around[order],
                                  around[order] + 2 * np.pi])
        radius = np.tile(np.minimum(radius[order], 0.085), 3)
        ring = np.interp(angle, wrapped, radius)
        ring = np.convolve(np.tile(ring, 3), np.ones(7) / 7, 'same')[COLUMNS:2 * COLUMNS]
        rings[row] = np.stack([middle[0] + (ring + away) * np.cos(angle),
                               (ring + away) * np.sin(angle), level], -1)
    return rings


def make_collar(face_kit: FaceKit, name: str) -> Garment:
    """Loft one of `COLLARS` around the neck."""
    profile = np.array(COLLARS[name])
    rings = neck_rings(face_kit, profile[:, 0], profile[:, 1])
    if name == 'shirt':
        # Open at the throat: the fold parts there, and its points hang lower.
        angle = np.linspace(-np.pi, np.pi, COLUMNS, endpoint=False)
        front = np.exp(-(angle / 0.45) ** 2)
        rings[2:, :, 2] -= 0.018 * front[None] * np.linspace(0.4, 1, len(rings) - 2)[:, None]
        rings[:, :, 1] += 0.006 * np.sign(angle) * front
    rows = len(rings)
    grid = np.arange(rows * COLUMNS).reshape(rows, COLUMNS)
    right = np.roll(grid, -1, axis=1)
    a, b, c, d = grid[:-1], right[:-1], right[1:], grid[1:]
    triangles = np.concatenate([np.stack([a, d, c], -1).reshape(-1, 3),
                                np.stack([a, c, b], -1).reshape(-1, 3)])
    points = rings.reshape(-1, 3)
    turn = np.linspace(0, 1, COLUMNS, endpoint=False)[None].repeat(rows, 0).ravel()
    flat = np.stack([np.abs(2 * turn - 1) * 0.6 + 0.2, cloth_uv(points)[:, 1]], -1)
    uv = flat[triangles]
    return Garment(bind_to_skin(rings.reshape(-1, 3), face_kit.parts['skin'].mean), triangles,
                   uv.astype(np.float32))


def make_torso(face_kit: FaceKit, body: MakeHumanBody) -> Garment:
    """
    Return the torso of the base mesh below the neckline, inflated as cloth.

    Its rim lies on the shoulders of the mean head, whose texture shows the same cloth.

    :param face_kit: the parametric head.
    :param body: the registered base mesh.
    :return: the torso.
    """
    corners = body.bent[body.triangles]
    reach = np.abs(body.base[body.triangles][:, :, 0])
    below = depth_below_neckline(corners, 'vee') - 0.014
    throat = (corners[..., 0] > NECK_AXIS_X) & (np.abs(corners[..., 1]) < 0.055) & (
        corners[..., 2] > -0.182)
    low = body.base[body.triangles][:, :, 1].max(1) < 6.1
    chosen = low & (below > 0).all(1) & ~throat.any(1) & (reach.max(1) < ARM_DM)
    used, compact = np.unique(body.triangles[chosen], return_inverse=True)
    triangles = compact.reshape(-1, 3)
    skin = face_kit.parts['skin']
    mean = skin.mean.astype(float)
    normals = vertex_normals(body.bent, body.triangles)[used]
    points = _arms_down(body.bent[used])
    away = np.clip((depth_below_neckline(points, 'crew') - 0.02) / 0.06, 0, 1)
    points = points + PUFF_M * away[:, None] * normals
    shoulders = skin.triangles[(mean[skin.triangles][:, :, 2] < -0.10).all(1)]
    skin_normals = vertex_normals(mean, skin.triangles)
    rim = np.zeros(len(points), dtype=bool)
    rim[_border(triangles)] = True
    for _ in range(3):
        found = closest_points(points, mean, shoulders)
        base, outwards = (
            found.interpolate(mean, shoulders),
            found.interpolate(skin_normals, shoulders),
        )
        depth = ((points - base) * outwards).sum(1)
        wanted = 0.0015 + 0.006 * away
        near = found.distance < 0.04
        points = points + np.where(near, np.maximum(wanted - depth, 0), 0)[:, None] * outwards
    found = closest_points(points, mean, shoulders)
    rim &= found.distance < 0.02
    points[rim] = (found.interpolate(mean, shoulders)
                   + 0.001 * found.interpolate(skin_normals, shoulders))[rim]
    return Garment(bind_to_skin(points, skin.mean), triangles,
                   cloth_uv(points)[triangles].astype(np.float32))


def _arms_down(points: Array) -> Array:
    """Rotate the arms, which the base mesh spreads, down beside the chest."""
    # Narrower, rounder shoulders: square ones look like armour under cloth.
    points = points * [1.0, 0.94, 1.0]
    points[:, 2] -= 0.28 * np.clip(np.abs(points[:, 1]) - 0.06, 0, 0.11)
    side = np.abs(points[:, 1])
    angle = np.radians(48.0) * np.clip((side - SHOULDER_Y) / 0.09, 0, 1)
    across, up = side - SHOULDER_Y, points[:, 2] - SHOULDER_Z
    result = points.copy()
    outer = side > SHOULDER_Y
    result[:, 1] = np.sign(points[:, 1]) * np.where(
        outer, SHOULDER_Y + across * np.cos(angle) + up * np.sin(angle), side)
    result[:, 2] = np.where(outer, SHOULDER_Z - across * np.sin(angle) + up * np.cos(angle),
                            points[:, 2])
    return result


def _border(triangles: IndexArray) -> IndexArray:
    """Return the vertices on boundary edges."""
    edges = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    return np.unique(unique[count == 1])


def sample_cloth_texture(generator: np.random.Generator) -> NDArray[np.uint8]:
    """Return a random texture (256, 256, 4): plain, striped, checked, dotted or flecked."""
    size = TEXTURE
    first, second = (_cloth_colour(generator) for _ in range(2))
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    pattern = generator.choice(
        ['plain', 'stripes', 'columns', 'checks', 'dots', 'flecks'],
        p=[0.46, 0.15, 0.09, 0.14, 0.06, 0.10])
    count = generator.integers(6, 26)
    share = generator.uniform(0.25, 0.6)
    if pattern == 'stripes':
        mix = ((y * count) % 1 < share).astype(np.float32)
    elif pattern == 'columns':
        mix = ((x * count) % 1 < share).astype(np.float32)
    elif pattern == 'checks':
        mix = 0.5 * ((x * count) % 1 < share) + 0.5 * ((y * count) % 1 < share)
    elif pattern == 'dots':
        mix = (np.hypot((x * count) % 1 - 0.5, (y * count) % 1 - 0.5) < 0.5 * share).astype(
            np.float32)
    elif pattern == 'flecks':
        field = generator.standard_normal((size, size), dtype=np.float32)
        field = cv2.GaussianBlur(field, (0, 0), generator.uniform(1.0, 8.0))
        mix = 1 / (1 + np.exp(-3 * field / field.std()))
    else:
        mix = np.zeros((size, size), np.float32)
    cloth = (first + (second - first) * mix[..., None]).astype(np.float32)
    weave = generator.standard_normal((size, size), dtype=np.float32)
    folds = generator.standard_normal((size // 16, size // 16), dtype=np.float32)
    folds = cv2.resize(folds, (size, size), interpolation=cv2.INTER_CUBIC)
    shade = 1 + 0.04 * weave + 0.09 * folds
    rgb = np.clip(cloth * shade[..., None], 0, 255).astype(np.uint8)
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA)


def _cloth_colour(generator: np.random.Generator) -> Array:
    kind = generator.uniform()
    if kind < 0.45:  # white to black, slightly tinted
        return np.clip(generator.uniform(18, 238) + generator.normal(0, 8, 3), 5, 245)
    hue = np.uint8([[[generator.integers(0, 180), generator.integers(60, 220),
                      generator.integers(40, 225)]]])
    return cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0].astype(float)
