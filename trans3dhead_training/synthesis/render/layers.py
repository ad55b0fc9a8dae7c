"""What is seen at each sample: something solid, and the nearest sheet of hair before it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trans3dhead_training.synthesis.render.cutout import hazy_fragments
from trans3dhead_training.synthesis.render.packing import Pack
from trans3dhead_training.synthesis.render.raster import (
    Corners,
    Fragments,
    fragments,
    nearest,
    places,
)
from trans3dhead_training.synthesis.render.sampling import Grid
from trans3dhead_training.synthesis.render.textures import Atlas

_CLEAR, _SOLID = 0.02, 0.98


@dataclass(frozen=True, eq=False)
class Layer:
    """N samples of the images, each with the triangle that is seen there."""

    sample: torch.Tensor
    """(N,) int32, ascending."""
    index: torch.Tensor
    """(N,) int32 into the corners."""
    alpha: torch.Tensor | None = None
    """(N,) opacity; None: solid."""


def visible_layers(
    packed: Pack, corners: Corners, atlas: Atlas, grid: Grid
) -> tuple[Layer, Layer | None]:
    """The solid layer, and the sheet before it where any mesh is cut out."""
    samples = packed.scenes * grid.samples
    found = fragments(corners, grid, 0, corners.opaque)
    if corners.opaque == len(corners.triangle):
        return _front(found, samples), None
    # what lies behind something solid need not be looked up
    wall = torch.zeros(samples, device=found.height.device)
    wall.scatter_reduce_(0, found.sample.long(), found.height, 'amax')
    sheets = fragments(corners, grid, corners.opaque, len(corners.triangle))
    sheets = sheets.some(places(sheets.height >= wall.index_select(0, sheets.sample)))
    hazy = hazy_fragments(sheets, corners, packed, atlas, grid)

    seen = places(hazy.alpha > _CLEAR)
    sheets = sheets.some(seen)
    alpha, chance = (row.index_select(0, seen) for row in (hazy.alpha, hazy.chance))
    sample, which = nearest(sheets, _depth(sheets), samples)
    veil = Layer(sample, sheets.index.index_select(0, which), alpha.index_select(0, which))
    opacity = torch.zeros(samples, device=alpha.device)
    opacity.scatter_(0, sample.long(), veil.alpha)
    opaque = veil.alpha >= _SOLID
    veil = Layer(veil.sample, veil.index, torch.where(opaque, 1.0, veil.alpha))

    chance[which.long()] = False
    behind = sheets.some(places(chance))
    found = Fragments(
        torch.cat([found.sample, behind.sample]),
        torch.cat([found.index, behind.index]),
        torch.cat([found.height, behind.height]),
    )
    found = found.some(places(opacity.index_select(0, found.sample) < _SOLID))
    return _front(found, samples), veil


def _front(found: Fragments, samples: int) -> Layer:
    sample, which = nearest(found, _depth(found), samples)
    return Layer(sample, found.index.index_select(0, which))


def _depth(found: Fragments) -> torch.Tensor:
    return 1 / found.height.clamp(min=1e-6)
