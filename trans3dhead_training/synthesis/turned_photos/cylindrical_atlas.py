"""A cylindrical texture of the head, for what a photograph does not show."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from trans3dhead_ros.types import Array, BoolArray, Float32Array, IndexArray
from trans3dhead_training.core.rasterizer import rasterize

AXIS_X = -0.085
"""m, head frame: the vertical axis of the cylinder."""

_LOW, _HIGH = -0.17, 0.13
_SIZE = (384, 192)
_FRONT_DEG = 50.0
"""Closer to the nose the atlas holds no detail."""
_OUTERMOST_TOLERANCE_M = 0.004

# The hairline: height above the sellion (m) by the angle from the front (degrees).
_HAIRLINE = np.array([
    [0, 0.078], [40, 0.072], [60, 0.045], [75, 0.020], [90, 0.025], [110, 0.028], [122, -0.015],
    [135, -0.070], [180, -0.085]])
_HAIR_SOFTNESS_M = 0.03


@dataclass(frozen=True, eq=False)
class CylindricalAtlas:
    """A cylindrical UV layout, cut at the nose: u is the angle, v the height downwards."""

    corner_pixels: Float32Array
    """(T, 3, 2) px of each triangle's corners."""
    vertex_pixels: IndexArray
    """(vertices, 2) px of the vertices."""
    triangles: IndexArray
    """(T, 3) vertex indices."""
    pixel: IndexArray
    """(N,) covered pixels, row * width + column."""
    triangle: IndexArray
    """(N,) the triangle that covers each."""
    weights: Float32Array
    """(N, 3) barycentric coordinates on it."""
    shows_detail: BoolArray
    """(T,) outermost triangles beside and behind the face, whose detail the atlas holds."""
    hair: Array
    """(H, W, 1) 0 (skin) .. 1 (hair)."""

    @classmethod
    def from_surface(cls, points: Array, triangles: IndexArray) -> CylindricalAtlas:
        """Lay out a surface (vertices, 3) m, head frame."""
        width, height = _SIZE
        angle = angle_from_front(points)
        back = np.where(angle < 0, angle + np.pi, angle - np.pi)  # 0 at the back of the head
        u = 0.5 - back / (2 * np.pi)
        v = (_HIGH - points[:, 2]) / (_HIGH - _LOW)
        unit = np.clip(np.stack([u, v], axis=1), 0, 1)
        corner_pixels = unit[triangles]
        wraps = np.ptp(corner_pixels[..., 0], axis=1)[:, None] > 0.5
        corner_pixels[..., 0] = np.where(
            wraps & (corner_pixels[..., 0] < 0.5), 1.0, corner_pixels[..., 0]
        )
        corner_pixels *= [width - 1, height - 1]
        radius = np.hypot(points[:, 0] - AXIS_X, points[:, 1])[triangles]
        difference = np.arange(3 * len(triangles)).reshape(-1, 3)
        seen = rasterize(corner_pixels.reshape(-1, 2), 1 - radius.ravel(), difference, _SIZE)
        outermost = np.zeros(width * height)
        outermost[seen.pixel] = (radius[seen.triangle] * seen.weights).sum(1)
        middle = np.round(corner_pixels.mean(1)).astype(int) @ [1, width]
        shows_detail = ((radius.mean(1) > outermost[middle] - _OUTERMOST_TOLERANCE_M)
                        & (np.abs(angle)[triangles].min(1) > np.deg2rad(_FRONT_DEG)))
        z = np.linspace(_HIGH, _LOW, height)[:, None]
        column_angle = np.pi - np.abs(np.linspace(-np.pi, np.pi, width))[None]
        return cls(
            corner_pixels.astype(np.float32), np.round(unit * [width - 1, height - 1]).astype(int),
            triangles, seen.pixel, seen.triangle, seen.weights, shows_detail,
            hair_weight(column_angle, z, _HAIR_SOFTNESS_M / 2)[..., None])

    def interpolate(self, values: Array) -> Float32Array:
        """Interpolate values (vertices, C) over the atlas, (H, W, C); 0 where it is empty."""
        width, height = _SIZE
        result = np.zeros((width * height, values.shape[1]), np.float32)
        corner_pixels = values.astype(np.float32)[self.triangles[self.triangle]]
        result[self.pixel] = np.einsum('nkc,nk->nc', corner_pixels, self.weights)
        return result.reshape(height, width, -1)


def angle_from_front(points: Array) -> Array:
    """Return the angle (rad) of (..., 3) m about the vertical: 0 at the nose, left positive."""
    return np.arctan2(points[..., 1], points[..., 0] - AXIS_X)


def hair_weight(angle: Array, z: Array, softness: float = _HAIR_SOFTNESS_M) -> Array:
    """Return 0 (skin) .. 1 (hair) for angles from the front (rad) and heights (m)."""
    line = np.interp(np.rad2deg(np.abs(angle)), *_HAIRLINE.T)
    return np.clip((z - line) / softness + 0.5, 0, 1)


def hair_strands(atlas: CylindricalAtlas) -> Float32Array:
    """Return noise (H, W, 1) of unit deviation with vertical streaks."""
    noise = np.random.default_rng(0).standard_normal(atlas.hair.shape[:2]).astype(np.float32)
    fine = cv2.GaussianBlur(noise, (0, 0), sigmaX=1.2, sigmaY=9.0)
    coarse = cv2.GaussianBlur(noise, (0, 0), sigmaX=6.0, sigmaY=18.0)
    return (fine / fine.std() + 0.7 * coarse / coarse.std())[..., None]
