"""Closest points on triangle meshes, interpolation, and texels covered by a UV layout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from trans3dhead_ros.types import Array, IndexArray
from trans3dhead_training.core.rasterizer import rasterize


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """P points on a triangle mesh in barycentric coordinates."""

    triangle: IndexArray
    """(P,) index of the triangle."""
    weights: Array
    """(P, 3) barycentric coordinates; rows sum to 1."""
    distance: Array
    """(P,) distance to the query point, in the unit of the mesh."""

    def interpolate(self, values: Array, triangles: IndexArray) -> Array:
        """Interpolate per-vertex values (V, C) at the points, (P, C)."""
        return np.einsum('pkc,pk->pc', values[triangles[self.triangle]], self.weights)


def triangle_normals(vertices: Array, triangles: IndexArray) -> Array:
    """Return the unit normals (T, 3) of triangles."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    normals = np.cross(b - a, c - a)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def closest_points(
    points: Array, vertices: Array, triangles: IndexArray, normals: Array | None = None,
    candidates: int = 16, turned_away_cost: float = 0.01,
) -> SurfacePoints:
    """
    Return the closest point on a mesh for each query point.

    Only the triangles with the nearest centroids are tested, which is exact for points close to an
    evenly meshed surface.

    :param points: (P, 3) query points.
    :param vertices: (V, 3) in the same unit.
    :param triangles: (T, 3) vertex indices.
    :param normals: (P, 3) unit normals of the query points, or None. With them, triangles that face
        elsewhere cost more, so that a point on the upper lip is not matched to the lower one.
    :param candidates: number of nearest triangles to test.
    :param turned_away_cost: distance added for (1 - cosine) = 1 between the normals.
    :return: the P closest points.
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
    """
    Return weights (P, K, 3) and distances (P, K) of P points on K triangles each, (P, K, 3, 3).

    Outside a triangle the barycentric coordinates are clamped, which is within a fraction of an
    edge of the true closest point; the triangle that really holds it wins by its distance.
    """
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
class CoveredTexels:
    """The N texels of a texture that the UV layout of a mesh covers."""

    row: IndexArray
    """(N,) row in the texture."""
    column: IndexArray
    """(N,) column in the texture."""
    points: SurfacePoints
    """The surface point that each texel shows."""


def rasterize_uv(uv: Array, size: tuple[int, int]) -> CoveredTexels:
    """
    Return the texels that a UV layout covers; where it overlaps itself, the last triangle wins.

    :param uv: (T, 3, 2) texture coordinates 0..1, v down.
    :param size: (width, height) of the texture.
    :return: the covered texels and the surface points that they show.
    """
    width, height = size
    corners = uv.reshape(-1, 2) * [width, height] - 0.5
    triangles = np.arange(len(corners)).reshape(-1, 3)
    fragments = rasterize(corners, np.ones(len(corners)), triangles, size)
    return CoveredTexels(fragments.pixel // width, fragments.pixel % width, SurfacePoints(
        fragments.triangle, fragments.weights.astype(np.float64), np.zeros(len(fragments.pixel))))
