"""
Transparency of cutout textures: alpha blending in front, stochastic transparency behind.

The nearest cutout surface is alpha-blended. Surfaces behind it need no sorting: each covers a
sample or not, with the probability of its opacity. The threshold is a low-discrepancy sequence over
the samples with its own phase for each triangle, so that surfaces are independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trans3dhead_training.synthesis.render.mesh_batch import MeshBatch
from trans3dhead_training.synthesis.render.sample_grid import SampleGrid
from trans3dhead_training.synthesis.render.scanline_rasterizer import (
    Fragments,
    ScreenTriangles,
    barycentric,
)
from trans3dhead_training.synthesis.render.texture_atlas import TextureAtlas


@dataclass(frozen=True, eq=False)
class CutoutFragments:
    """F fragments of cutout meshes."""

    found: Fragments
    """The fragments."""
    alpha: torch.Tensor
    """(F,) opacity 0..1."""
    chance: torch.Tensor
    """(F,) bool: whether the stochastic test covers the sample."""


def cutout_fragments(
    found: Fragments, corners: ScreenTriangles, batch: MeshBatch, atlas: TextureAtlas,
    grid: SampleGrid,
) -> CutoutFragments:
    """
    Look up the opacity of fragments.

    A sample of a triangle gets the same result in any batch.

    :param found: the fragments.
    :param corners: the triangles in screen space.
    :param batch: the meshes.
    :param atlas: their textures.
    :param grid: the samples.
    :return: the fragments with their opacity.
    """
    sample = found.sample - corners.origin.index_select(0, found.index)
    row, column = grid.row_column(sample)
    triangle = corners.triangle.index_select(0, found.index)
    weights, _ = barycentric(
        corners, found.index, (column + grid.row_offset(row)).float(), row.float()
    )
    mesh = batch.triangle_mesh.index_select(0, triangle)
    u, v = interpolate_uv(batch, triangle, weights)
    alpha = atlas.alpha(mesh, u, v)
    if batch.scenes > 1:
        scene = batch.mesh_scene.index_select(0, mesh)
        triangle = triangle - batch.scene_triangle.index_select(0, scene)
    return CutoutFragments(found, alpha, alpha > _threshold(row, column, triangle))


def interpolate_uv(
    batch: MeshBatch, triangle: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Return u and v (N,) on triangles.

    :param batch: the meshes.
    :param triangle: (N,) int64, index in the batch.
    :param weights: (3, N) barycentric coordinates.
    :return: u and v.
    """
    uv = batch.uv.index_select(1, triangle)
    u = uv[0] * weights[0] + uv[2] * weights[1] + uv[4] * weights[2]
    v = uv[1] * weights[0] + uv[3] * weights[1] + uv[5] * weights[2]
    return u, v


def _threshold(row: torch.Tensor, column: torch.Tensor, triangle: torch.Tensor) -> torch.Tensor:
    """Return thresholds (N,) strictly between 0 and 1."""
    phase = triangle * 0x2C1B3C6D
    phase = phase ^ (phase >> 15)
    # The additive recurrence of the plastic number (Roberts 2018), in 16 bits.
    place = row * 49472 + column * 37345
    return (((place + phase) & 0xFFFF).float() + 0.5) * (1 / 65536)
