"""
A z-buffer rasteriser in NumPy, for baking textures, visibility tests and previews.

`synthesis.render` draws the pictures; this one needs no torch, serves single meshes and reports the
surface point behind each pixel.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.types import Array, BoolArray, Float32Array, IndexArray


@dataclass(frozen=True, eq=False)
class Fragments:
    """The N pixels that a mesh covers."""

    pixel: IndexArray
    """(N,) row · width + column."""
    triangle: IndexArray
    """(N,) index of the nearest triangle."""
    weights: Float32Array
    """(N, 3) barycentric coordinates on that triangle; rows sum to 1."""
    outside: BoolArray
    """(N,) whether the front face is seen."""

    def interpolate(
        self, values: Float32Array, triangles: NDArray[np.integer],
    ) -> Float32Array:
        """Interpolate per-vertex values (V, C) at every pixel, (N, C)."""
        corners = values[triangles[self.triangle]]
        return np.einsum('nkc,nk->nc', corners, self.weights, optimize=True)


def rasterize(
    pixels: Array, depth: Array, triangles: NDArray[np.integer],
    size: tuple[int, int],
) -> Fragments:
    """
    Return the nearest triangle at every pixel.

    :param pixels: (V, 2) px, pixel centres at integers, y down.
    :param depth: (V,) m in front of the camera; triangles that reach behind it are skipped.
    :param triangles: (T, 3) counter-clockwise seen from outside.
    :param size: (width, height).
    :return: the covered pixels.
    """
    width, height = size
    corners = pixels[triangles]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    # Twice the area; y points down, so it is negative where the outside is seen.
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    low = np.maximum(np.ceil(corners.min(axis=1)), 0).astype(np.int64)
    high = np.minimum(np.floor(corners.max(axis=1)), [width - 1, height - 1]).astype(np.int64)
    extent = np.maximum(high - low + 1, 0)
    usable = (np.abs(area) > 1e-9) & (depth[triangles] > 1e-3).all(axis=1)
    counts = np.where(usable, extent.prod(axis=1), 0)

    # Test every pixel in the bounding box of every triangle at once.
    owner = np.repeat(np.arange(len(triangles)), counts)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    x = low[owner, 0] + number % extent[owner, 0]
    y = low[owner, 1] + number // extent[owner, 0]
    dx, dy = x - corners[owner, 0, 0], y - corners[owner, 0, 1]
    one = (dx * second[owner, 1] - dy * second[owner, 0]) / area[owner]
    two = (dy * first[owner, 0] - dx * first[owner, 1]) / area[owner]
    inside = (one >= 0) & (two >= 0) & (one + two <= 1)
    owner, one, two = owner[inside], one[inside], two[inside]
    pixel = y[inside] * width + x[inside]
    weights = np.stack([1 - one - two, one, two], axis=-1)

    # 1 / depth is linear in screen space. Sorted by it, the nearest fragment is written last.
    nearness = np.einsum('nk,nk->n', 1 / depth[triangles[owner]], weights)
    order = np.argsort(nearness, kind='stable')
    winner = np.full(width * height, -1, dtype=np.int64)
    winner[pixel[order]] = order
    shown = winner[winner >= 0]
    return Fragments(pixel[shown], owner[shown], weights[shown].astype(np.float32),
                     area[owner[shown]] < 0)
