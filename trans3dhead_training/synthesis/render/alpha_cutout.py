"""
Transparency: what share of a sample a texture's opacity covers.

The nearest sheet is blended by its opacity. What lies behind it needs no order: a sheet there
covers a sample or does not, as often as it is opaque. The threshold is a low-discrepancy sequence
over the samples with a phase of its own for each triangle, so that sheets are independent.
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
    """Fragments of cutout meshes."""

    found: Fragments
    alpha: torch.Tensor
    """(F,) opacity 0..1."""
    chance: torch.Tensor
    """(F,) bool: there, as often as it is opaque; any number behind each other need no order."""


def cutout_fragments(
    found: Fragments,
    corners: ScreenTriangles,
    batch: MeshBatch,
    atlas: TextureAtlas,
    grid: SampleGrid,
) -> CutoutFragments:
    """
    Look the opacity of fragments up.

    The same sample of the same triangle of a scene gets the same answer in any batch.
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
    (N,) u and v.

    :param triangle: (N,) int64 of the pack
    :param weights: (3, N)
    """
    uv = batch.uv.index_select(1, triangle)
    u = uv[0] * weights[0] + uv[2] * weights[1] + uv[4] * weights[2]
    v = uv[1] * weights[0] + uv[3] * weights[1] + uv[5] * weights[2]
    return u, v


def _threshold(row: torch.Tensor, column: torch.Tensor, triangle: torch.Tensor) -> torch.Tensor:
    """(N,) strictly within 0..1."""
    phase = triangle * 0x2C1B3C6D
    phase = phase ^ (phase >> 15)
    # the additive recurrence of the plastic number (Roberts 2018), in 16 bits
    place = row * 49472 + column * 37345
    return (((place + phase) & 0xFFFF).float() + 0.5) * (1 / 65536)
