"""The head's surface as a function of direction, on which occluders are fitted."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_ros.types import Array, IndexArray

SKULL_CENTRE = np.array([-0.085, 0.0, 0.015])
"""m, head frame: the centre of the skull, for headwear."""
MOUTH_CENTRE = np.array([-0.055, 0.0, -0.055])
"""m, head frame: inside the mouth, for masks."""

_TRIED = 96  # triangles nearest to a ray


@dataclass(frozen=True, eq=False)
class RadialSurface:
    """
    Where rays from a point inside the head leave it, on a grid of elevation and azimuth.

    The points are stored relative to the model's triangles, so they follow every identity and
    expression. Rows run from -90° (below) to 90°, columns from -180° over 0 (ahead, +x) to 180°;
    azimuth grows to the person's left.
    """

    centre: Array
    """(3,) m, origin of the rays."""
    corners: IndexArray
    """(E, A, 3) vertices of the triangle that each ray hits."""
    weights: Array
    """(E, A, 3) barycentric coordinates of the hit."""

    @classmethod
    def from_model(
        cls, model: HeadModule, centre: Array, shape: tuple[int, int] = (37, 73)
    ) -> RadialSurface:
        """Cast rays on the model's mean; a ray that leaves through the neck ends at its rim."""
        vertices = model.mean.detach().cpu().numpy().astype(np.float64)
        triangles = model.triangles.cpu().numpy()
        elevation, azimuth = np.meshgrid(np.linspace(-90, 90, shape[0]),
                                         np.linspace(-180, 180, shape[1]), indexing='ij')
        rays = direction_vector(elevation, azimuth).reshape(-1, 3)
        corners = vertices[triangles] - centre
        # A ray can only hit triangles near its direction.
        middle = corners.mean(1)
        tree = cKDTree(middle / np.linalg.norm(middle, axis=1, keepdims=True))
        _, near = tree.query(rays, k=min(_TRIED, len(triangles)))
        a, ab, ac = (corners[near][:, :, 0], corners[near][:, :, 1] - corners[near][:, :, 0],
                     corners[near][:, :, 2] - corners[near][:, :, 0])
        cross = np.cross(ab, ac)
        slope = (cross * rays[:, None]).sum(-1)
        slope = np.where(np.abs(slope) < 1e-12, 1e-12, slope)
        # Cramer's rule, with the same products for all three unknowns.
        turned = np.cross(a, rays[:, None])
        distance = (cross * a).sum(-1) / slope
        v, w = (turned * ac).sum(-1) / slope, -(turned * ab).sum(-1) / slope
        hit = (v >= -1e-9) & (w >= -1e-9) & (v + w <= 1 + 1e-9) & (distance > 0)
        best = np.where(hit, distance, -1.0).argmax(1)
        row = np.arange(len(rays))
        chosen = triangles[near[row, best]]
        weights = np.stack([1 - v - w, v, w], axis=-1)[row, best]
        missed = ~hit.any(1)
        toward = (vertices - centre) / np.linalg.norm(vertices - centre, axis=1, keepdims=True)
        chosen[missed] = (rays[missed] @ toward.T).argmax(1)[:, None]
        weights[missed] = [1.0, 0.0, 0.0]
        return cls(centre, chosen.reshape(*shape, 3), weights.reshape(*shape, 3))

    def points(self, vertices: Array) -> Array:
        """Return the surface (E, A, 3) m of a head (V, 3) m."""
        return np.einsum('eak,eakc->eac', self.weights, vertices[self.corners])


def direction_vector(elevation_deg: Array, azimuth_deg: Array) -> Array:
    """Return unit vectors (..., 3) of the head frame."""
    elevation, azimuth = np.deg2rad(elevation_deg), np.deg2rad(azimuth_deg)
    return np.stack([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth),
                     np.sin(elevation)], axis=-1)


def sample_map(grid: Array, elevation_deg: Array, azimuth_deg: Array) -> Array:
    """Interpolate a grid (E, A[, C]) of a `RadialSurface` at angles (...), clamped to its range."""
    rows, columns = grid.shape[:2]
    x = np.clip((np.asarray(azimuth_deg) + 180) / 360, 0, 1) * (columns - 1)
    y = np.clip((np.asarray(elevation_deg) + 90) / 180, 0, 1) * (rows - 1)
    flat = cv2.remap(grid.astype(np.float32), x.reshape(1, -1).astype(np.float32),
                     y.reshape(1, -1).astype(np.float32), cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REPLICATE)
    return flat.reshape(*x.shape, *grid.shape[2:]).astype(np.float64)


def spherical_coordinates(points: Array, centre: Array) -> tuple[Array, Array, Array]:
    """Return elevation and azimuth (degrees) and distance (m) of points (..., 3) from a centre."""
    offset = points - centre
    radius = np.linalg.norm(offset, axis=-1)
    elevation = np.rad2deg(np.arcsin(np.clip(offset[..., 2] / np.maximum(radius, 1e-9), -1, 1)))
    return elevation, np.rad2deg(np.arctan2(offset[..., 1], offset[..., 0])), radius
