"""A small rasteriser: which triangle is seen at every pixel, and where on it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Fragments:
    """The N pixels that show the mesh."""

    #: (N,) row · width + column.
    pixel: NDArray[np.int64]
    #: (N,) which triangle.
    triangle: NDArray[np.int64]
    #: (N, 3) barycentric weights of its corners, rows sum to 1.
    weights: NDArray[np.float32]
    #: (N,) True where its outside is seen.
    outside: NDArray[np.bool_]

    def interpolate(
        self, values: NDArray[np.float32], triangles: NDArray[np.integer],
    ) -> NDArray[np.float32]:
        """Return values (V, C) of vertices at every pixel, (N, C)."""
        corners = values[triangles[self.triangle]]
        return np.einsum('nkc,nk->nc', corners, self.weights, optimize=True)


def rasterise(
    pixels: NDArray[np.float64], depth: NDArray[np.float64], triangles: NDArray[np.integer],
    size: tuple[int, int],
) -> Fragments:
    """
    Return the nearest surface at every pixel.

    :param pixels: (V, 2) px, pixel centres at integers, y down.
    :param depth: (V,) m in front of the camera; triangles that reach behind it are left out.
    :param triangles: (T, 3) counter-clockwise seen from outside.
    :param size: (width, height).
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

    # Every pixel of every triangle's bounding box at once, then those inside the triangle.
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

    # 1 / depth is linear on the screen. Written in order of nearness, the nearest stays.
    nearness = np.einsum('nk,nk->n', 1 / depth[triangles[owner]], weights)
    order = np.argsort(nearness, kind='stable')
    winner = np.full(width * height, -1, dtype=np.int64)
    winner[pixel[order]] = order
    shown = winner[winner >= 0]
    return Fragments(pixel[shown], owner[shown], weights[shown].astype(np.float32),
                     area[owner[shown]] < 0)
