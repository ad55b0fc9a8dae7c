"""The visible surface of each sample: an opaque one, and the nearest cutout surface before it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trans3dhead_training.synthesis.render.alpha_cutout import cutout_fragments
from trans3dhead_training.synthesis.render.mesh_batch import MeshBatch
from trans3dhead_training.synthesis.render.sample_grid import SampleGrid
from trans3dhead_training.synthesis.render.scanline_rasterizer import (
    Fragments,
    ScreenTriangles,
    nearest_fragments,
    nonzero_indices,
    rasterize_triangles,
)
from trans3dhead_training.synthesis.render.texture_atlas import TextureAtlas

_CLEAR, _SOLID = 0.02, 0.98


@dataclass(frozen=True, eq=False)
class VisibleLayer:
    """N samples, each with the triangle that is visible there."""

    sample: torch.Tensor
    """(N,) int32, ascending."""
    index: torch.Tensor
    """(N,) int32, index into the screen triangles."""
    alpha: torch.Tensor | None = None
    """(N,) opacity, or None for an opaque layer."""


def visible_layers(
    batch: MeshBatch, corners: ScreenTriangles, atlas: TextureAtlas, grid: SampleGrid
) -> tuple[VisibleLayer, VisibleLayer | None]:
    """Return the opaque layer, and the cutout layer before it where any mesh has one."""
    samples = batch.scenes * grid.samples
    found = rasterize_triangles(corners, grid, 0, corners.opaque)
    if corners.opaque == len(corners.triangle):
        return _front(found, samples), None
    # Cutout fragments behind an opaque surface need no texture lookup.
    wall = torch.zeros(samples, device=found.height.device)
    wall.scatter_reduce_(0, found.sample.long(), found.height, 'amax')
    sheets = rasterize_triangles(corners, grid, corners.opaque, len(corners.triangle))
    sheets = sheets.select(nonzero_indices(sheets.height >= wall.index_select(0, sheets.sample)))
    cutout = cutout_fragments(sheets, corners, batch, atlas, grid)

    seen = nonzero_indices(cutout.alpha > _CLEAR)
    sheets = sheets.select(seen)
    alpha, chance = (row.index_select(0, seen) for row in (cutout.alpha, cutout.chance))
    sample, which = nearest_fragments(sheets, _depth(sheets), samples)
    veil = VisibleLayer(sample, sheets.index.index_select(0, which), alpha.index_select(0, which))
    opacity = torch.zeros(samples, device=alpha.device)
    opacity.scatter_(0, sample.long(), veil.alpha)
    opaque = veil.alpha >= _SOLID
    veil = VisibleLayer(veil.sample, veil.index, torch.where(opaque, 1.0, veil.alpha))

    chance[which.long()] = False
    behind = sheets.select(nonzero_indices(chance))
    found = Fragments(
        torch.cat([found.sample, behind.sample]), torch.cat([found.index, behind.index]),
        torch.cat([found.height, behind.height]))
    found = found.select(nonzero_indices(opacity.index_select(0, found.sample) < _SOLID))
    return _front(found, samples), veil


def _front(found: Fragments, samples: int) -> VisibleLayer:
    sample, which = nearest_fragments(found, _depth(found), samples)
    return VisibleLayer(sample, found.index.index_select(0, which))


def _depth(found: Fragments) -> torch.Tensor:
    return 1 / found.height.clamp(min=1e-6)
