"""Deformation transfer: hair and clothes follow the skin vertices that they are bound to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from trans3dhead_ros.types import Float32Array, IndexArray

NEIGHBOURS = 16
SOFTNESS_M = 0.006


@dataclass(frozen=True, eq=False)
class SkinBinding:
    """N vertices bound to the nearest skin vertices of the mean head."""

    vertices: Float32Array
    """(N, 3) m, on the mean head."""
    skin: IndexArray
    """(N, 16) indices of skin vertices, the nearest first."""
    weights: Float32Array
    """(N, 16), rows sum to 1."""

    def deformed(self, displacement: Float32Array) -> Float32Array:
        """Return the vertices (N, 3) m on a head whose skin is displaced by (S, 3) m."""
        moved = np.einsum('nkc,nk->nc', displacement[self.skin], self.weights)
        return self.vertices + moved.astype(np.float32)


def bind_to_skin(vertices: NDArray[np.floating], skin: NDArray[np.floating]) -> SkinBinding:
    """Bind vertices (N, 3) m to the skin (S, 3) m of the mean head by inverse distance."""
    distance, near = cKDTree(skin).query(vertices, k=NEIGHBOURS)
    # Far from the skin the weights even out, so that long hair deforms smoothly.
    weights = 1.0 / (distance ** 2 + SOFTNESS_M ** 2 + (0.7 * distance[:, :1]) ** 2)
    weights /= weights.sum(1, keepdims=True)
    return SkinBinding(np.asarray(vertices, np.float32), near.astype(np.int64),
                       weights.astype(np.float32))


def push_outside_skin(
    vertices: Float32Array, binding: SkinBinding, skin: Float32Array, normals: Float32Array,
    margin_m: float,
) -> Float32Array:
    """
    Lift bound vertices that lie under the skin.

    :param vertices: (N, 3) m, the deformed vertices.
    :param binding: how they are bound.
    :param skin: (S, 3) m, the deformed skin.
    :param normals: (S, 3) of the deformed skin.
    :param margin_m: the least distance above the skin.
    :return: (N, 3) m.
    """
    nearest = binding.skin[:, 0]
    height = ((vertices - skin[nearest]) * normals[nearest]).sum(1)
    near = np.linalg.norm(vertices - skin[nearest], axis=1) < 0.035
    lift = np.where(near, np.maximum(margin_m - height, 0), 0)
    return (vertices + lift[:, None] * normals[nearest]).astype(np.float32)
