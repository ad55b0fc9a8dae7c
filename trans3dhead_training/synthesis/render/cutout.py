"""
Transparency: what share of a sample a texture's opacity covers.

The nearest sheet is blended by its opacity. What lies behind it needs no order: a sheet there
covers a sample or does not, as often as it is opaque. The threshold is a low-discrepancy sequence
over the samples with a phase of its own for each triangle, so that sheets are independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trans3dhead_training.synthesis.render.packing import Pack
from trans3dhead_training.synthesis.render.raster import Corners, Fragments, barycentric
from trans3dhead_training.synthesis.render.sampling import Grid
from trans3dhead_training.synthesis.render.textures import Atlas


@dataclass(frozen=True, eq=False)
class Hazy:
    """Fragments of cutout meshes."""

    found: Fragments
    alpha: torch.Tensor
    """(F,) opacity 0..1."""
    chance: torch.Tensor
    """(F,) bool: there, as often as it is opaque; any number behind each other need no order."""


def hazy_fragments(
    found: Fragments, corners: Corners, packed: Pack, atlas: Atlas, grid: Grid
) -> Hazy:
    """
    Look the opacity of fragments up.

    The same sample of the same triangle of a scene gets the same answer in any batch.
    """
    sample = found.sample - corners.origin.index_select(0, found.index)
    row, column = grid.place(sample)
    triangle = corners.triangle.index_select(0, found.index)
    weights, _ = barycentric(
        corners, found.index, (column + grid.shift(row)).float(), row.float()
    )
    mesh = packed.triangle_mesh.index_select(0, triangle)
    u, v = texture_place(packed, triangle, weights)
    alpha = atlas.alpha(mesh, u, v)
    if packed.scenes > 1:
        scene = packed.mesh_scene.index_select(0, mesh)
        triangle = triangle - packed.scene_triangle.index_select(0, scene)
    return Hazy(found, alpha, alpha > _threshold(row, column, triangle))


def texture_place(
    packed: Pack, triangle: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    (N,) u and v.

    :param triangle: (N,) int64 of the pack
    :param weights: (3, N)
    """
    uv = packed.uv.index_select(1, triangle)
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
