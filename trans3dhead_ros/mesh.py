"""Triangle meshes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trans3dhead_ros.types import Array


def vertex_normals(vertices: ArrayLike, triangles: NDArray[np.integer]) -> Array:
    """
    Return the unit normals of vertices: the mean of their triangles', weighted by area.

    :param vertices: (..., V, 3), one mesh or several of the same topology.
    :param triangles: (T, 3) vertex indices, counter-clockwise seen from outside.
    :return: (..., V, 3), outwards; zero for a vertex without a triangle of positive area.
    :raises ValueError: for other shapes.
    """
    vertices = np.asarray(vertices, dtype=np.float64)
    triangles = np.asarray(triangles)
    if vertices.ndim < 2 or vertices.shape[-1] != 3:
        raise ValueError(f'vertices: expected shape (..., V, 3), got {vertices.shape}')
    if triangles.ndim != 2 or triangles.shape[1] != 3:
        raise ValueError(f'triangles: expected shape (T, 3), got {triangles.shape}')
    corners = vertices[..., triangles, :]
    # The length of the cross product is twice the area, so the sum is weighted by it.
    faces = np.cross(corners[..., 1, :] - corners[..., 0, :],
                     corners[..., 2, :] - corners[..., 0, :])
    slots = np.arange(vertices.size).reshape(vertices.shape)[..., triangles, :]
    weights = np.broadcast_to(faces[..., None, :], slots.shape)
    summed = np.bincount(slots.ravel(), weights.ravel(), vertices.size).reshape(vertices.shape)
    length = np.linalg.norm(summed, axis=-1, keepdims=True)
    return np.divide(summed, length, out=np.zeros_like(summed), where=length > 0)
