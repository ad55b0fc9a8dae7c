"""Small geometry of surfaces: normals, the closest point, values painted into a texture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from trans3dhead_training.synthesis.preview.rasterizer import rasterise

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """
    Points on a triangle mesh.

    :ivar triangle: (P,) id. :ivar weights: (P, 3) barycentric. :ivar distance: (P,) to the query.
    """

    triangle: Index
    weights: Array
    distance: Array

    def carry(self, values: Array, triangles: Index) -> Array:
        """Interpolate values (V, C) of vertices, (P, C)."""
        return np.einsum('pkc,pk->pc', values[triangles[self.triangle]], self.weights)


def triangle_normals(vertices: Array, triangles: Index) -> Array:
    """Return (T, 3) unit normals."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    normals = np.cross(b - a, c - a)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def vertex_normals(vertices: Array, triangles: Index) -> Array:
    """Return (V, 3) unit normals, weighted by the area of the triangles."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(normals, triangles[:, i], face)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def closest_points(
    points: Array, vertices: Array, triangles: Index, normals: Array | None = None,
    candidates: int = 16, turned_away_cost: float = 0.01,
) -> SurfacePoints:
    """
    Return the closest surface point of each of (P, 3) points among the nearest triangles.

    :param normals: (P, 3) the points' own normals: a surface that faces elsewhere counts as
        farther, by up to `turned_away_cost` times (1 - cosine), so that lips find their own lip.
    """
    corners = vertices[triangles]
    face = triangle_normals(vertices, triangles)
    tree = cKDTree(corners.mean(1))
    found = []
    for start in range(0, len(points), 20000):
        query = points[start:start + 20000]
        _, near = tree.query(query, k=range(1, min(candidates, len(triangles)) + 1))
        weights, distance = _project(query, corners[near])
        cost = distance
        if normals is not None:
            cosine = np.einsum('pkc,pc->pk', face[near], normals[start:start + 20000])
            cost = distance + turned_away_cost * (1 - cosine)
        best = cost.argmin(1)
        rows = np.arange(len(query))
        found.append((near[rows, best], weights[rows, best], distance[rows, best]))
    return SurfacePoints(*(np.concatenate(part) for part in zip(*found, strict=True)))


def _project(points: Array, corners: Array) -> tuple[Array, Array]:
    """Return weights (P, K, 3) and distance (P, K) of points on their K triangles (P, K, 3, 3)."""
    a, b, c = (corners[:, :, i] for i in range(3))
    ab, ac, ap = b - a, c - a, points[:, None] - a
    d00, d01, d11 = ((x * y).sum(-1) for x, y in ((ab, ab), (ab, ac), (ac, ac)))
    d20, d21 = (ap * ab).sum(-1), (ap * ac).sum(-1)
    scale = np.maximum(d00 * d11 - d01 * d01, 1e-20)
    v, w = (d11 * d20 - d01 * d21) / scale, (d00 * d21 - d01 * d20) / scale
    weights = np.clip(np.stack([1 - v - w, v, w], -1), 0, None)
    weights /= weights.sum(-1, keepdims=True)
    at = np.einsum('pkic,pki->pkc', corners, weights)
    return weights, np.linalg.norm(at - points[:, None], axis=-1)


@dataclass(frozen=True, eq=False)
class Texels:
    """
    The texels of a texture that a mesh covers.

    :ivar row: (N,), :ivar column: (N,) of the texture. :ivar points: which surface point each is.
    """

    row: Index
    column: Index
    points: SurfacePoints


def covered_texels(uv: Array, size: tuple[int, int]) -> Texels:
    """
    Return the texels (width, height) under the triangles of uv (T, 3, 2), 0..1, v down.

    Where the layout overlaps itself the last triangle wins.
    """
    width, height = size
    corners = uv.reshape(-1, 2) * [width, height] - 0.5
    triangles = np.arange(len(corners)).reshape(-1, 3)
    fragments = rasterise(corners, np.ones(len(corners)), triangles, size)
    return Texels(fragments.pixel // width, fragments.pixel % width, SurfacePoints(
        fragments.triangle, fragments.weights.astype(np.float64), np.zeros(len(fragments.pixel))))
