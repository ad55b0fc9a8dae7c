"""
Transparency that needs no order: a sample is there or not, as often as the texture is opaque.

The threshold is a hash of the place and the triangle, stratified over 2 x 2 samples, so that a
pixel shows a quarter's steps of opacity and the noise averages out between pixels.
"""

from __future__ import annotations

import torch

from .packing import Pack
from .raster import Corners, Fragments, barycentric
from .sampling import Grid
from .textures import Atlas


def drop_transparent(
    found: Fragments, corners: Corners, packed: Pack, atlas: Atlas, grid: Grid
) -> Fragments:
    """The fragments that are there.

    The same sample of the same triangle of a scene gets the same answer in any batch.
    """
    sample = found.sample - corners.origin.index_select(0, found.index)
    row, column = grid.place(sample)
    triangle = corners.triangle.index_select(0, found.index)
    weights, _ = barycentric(corners, found.index, (column + grid.shift(row)).float(), row.float())
    mesh = packed.triangle_mesh.index_select(0, triangle)
    u, v = texture_place(packed, triangle, weights)
    alpha = atlas.alpha(mesh, u, v)
    if packed.scenes > 1:
        scene = packed.mesh_scene.index_select(0, mesh)
        triangle = triangle - packed.scene_triangle.index_select(0, scene)
    return found.some(alpha > _threshold(row, column, triangle))


def texture_place(
    packed: Pack, triangle: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(N,) u and v.

    :param triangle: (N,) int64 of the pack
    :param weights: (3, N)
    """
    uv = packed.uv.index_select(1, triangle)
    u = uv[0] * weights[0] + uv[2] * weights[1] + uv[4] * weights[2]
    v = uv[1] * weights[0] + uv[3] * weights[1] + uv[5] * weights[2]
    return u, v


def _threshold(row: torch.Tensor, column: torch.Tensor, triangle: torch.Tensor) -> torch.Tensor:
    """(N,) in 0..1, strictly between."""
    # the constants of a common spatial hash (Teschner et al. 2003), then mixed
    mixed = ((row >> 1) * 73856093) ^ ((column >> 1) * 19349663) ^ (triangle * 83492791)
    mixed = (mixed ^ (mixed >> 15)) * 0x2C1B3C6D
    mixed = mixed ^ (mixed >> 12)
    odd_row = row & 1
    rank = (((odd_row ^ column) & 1) << 1) + odd_row
    return (((mixed + (rank << 14)) & 0xFFFF).float() + 0.5) * (1 / 65536)
