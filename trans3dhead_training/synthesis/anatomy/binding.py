"""What is worn follows the head that wears it: smooth carriage over the nearest skin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Float = NDArray[np.float32]
Index = NDArray[np.int64]

NEIGHBOURS = 16
SOFTNESS_M = 0.006


@dataclass(frozen=True, eq=False)
class Binding:
    """
    Vertices worn on the mean head, and the skin vertices that move them.

    :ivar vertices: (N, 3) m on the mean head. :ivar skin: (N, 16) ids, the nearest first.
    :ivar weights: (N, 16), rows sum to 1.
    """

    vertices: Float
    skin: Index
    weights: Float

    def on(self, displacement: Float) -> Float:
        """Return the vertices (N, 3) on a head whose skin is displaced by (S, 3) m."""
        moved = np.einsum('nkc,nk->nc', displacement[self.skin], self.weights)
        return self.vertices + moved.astype(np.float32)


def bind(vertices: NDArray[np.floating], skin: NDArray[np.floating]) -> Binding:
    """Bind (N, 3) vertices to the skin (S, 3) of the mean head, both in m."""
    distance, near = cKDTree(skin).query(vertices, k=NEIGHBOURS)
    # Far from the skin the nearest hardly counts more than the rest, so that locks stay smooth.
    weights = 1.0 / (distance ** 2 + SOFTNESS_M ** 2 + (0.7 * distance[:, :1]) ** 2)
    weights /= weights.sum(1, keepdims=True)
    return Binding(np.asarray(vertices, np.float32), near.astype(np.int64),
                   weights.astype(np.float32))


def pushed_out(
    worn: Float, binding: Binding, skin: Float, normals: Float, margin_m: float,
) -> Float:
    """Return worn (N, 3) with the vertices that lie under the skin lifted `margin_m` above it."""
    nearest = binding.skin[:, 0]
    height = ((worn - skin[nearest]) * normals[nearest]).sum(1)
    near = np.linalg.norm(worn - skin[nearest], axis=1) < 0.035
    lift = np.where(near, np.maximum(margin_m - height, 0), 0)
    return (worn + lift[:, None] * normals[nearest]).astype(np.float32)
