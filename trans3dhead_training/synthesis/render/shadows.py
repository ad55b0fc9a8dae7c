"""Shadows of the first directional light: a depth map seen from it, by the same rasteriser."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trans3dhead_training.synthesis.render.cutout import hazy_fragments
from trans3dhead_training.synthesis.render.packing import Pack
from trans3dhead_training.synthesis.render.raster import face, fragments, places
from trans3dhead_training.synthesis.render.sampling import Grid
from trans3dhead_training.synthesis.render.shading import dot
from trans3dhead_training.synthesis.render.textures import Atlas

_MARGIN = 2
_OFFSET_TEXELS = 1.5
_BIAS_M = 0.002


@dataclass(frozen=True, eq=False)
class ShadowMaps:
    """One square map per scene."""

    depth: torch.Tensor
    """(B * S * S,) m along the light; infinite where nothing is."""
    axes: torch.Tensor
    """(3, 3, B): right, down and forward of the light in the camera frame."""
    low: torch.Tensor
    """(3, B) m: least coordinate along the axes."""
    scale: torch.Tensor
    """(B,) texels per m."""
    size: int

    def light(
        self, scene: torch.Tensor | None, position: torch.Tensor, normal: torch.Tensor
    ) -> torch.Tensor:
        """
        (N,) share 0..1 of the light that arrives, soft over two texels.

        :param scene: (N,) int32; None: there is one scene
        :param position: (3, N) m camera frame, normal: (3, N)
        """
        axes, low, scale = (
            value if scene is None else value.index_select(-1, scene)
            for value in (self.axes, self.low, self.scale)
        )
        # shifted along the normal, a surface does not shade itself between texels
        position = position + normal * (_OFFSET_TEXELS / scale)
        x, y, z = (dot(axes[i], position) - low[i] for i in range(3))
        x, y = (x * scale + _MARGIN).clamp(1, self.size - 2), (y * scale + _MARGIN).clamp(
            1, self.size - 2)
        column, row = x.round(), y.round()
        across, down = _spread(x - column), _spread(y - row)
        place = row.int() * self.size + column.int()
        if scene is not None:
            place = place + scene * (self.size * self.size)
        limit = z - _BIAS_M
        lit = torch.zeros_like(z)
        for i in range(3):
            for j in range(3):
                texel = place + ((i - 1) * self.size + j - 1)
                seen = self.depth.index_select(0, texel) > limit
                lit += seen * (down[i] * across[j])
        return lit

    @classmethod
    def cast(
        cls, packed: Pack, atlas: Atlas, directions: torch.Tensor, size: int
    ) -> ShadowMaps:
        """
        Draw the scenes as the light sees them.

        :param directions: (B, 3) unit, towards the light
        :param size: side of the map, texels
        """
        axes = _frame(directions)
        scene = packed.vertex_scene
        spread = axes if packed.scenes == 1 else axes.index_select(2, scene)
        seen = torch.stack([dot(spread[i], packed.vertices) for i in range(3)])
        # a mesh that casts no shadow must not stretch the map
        casts = ~packed.flag('unlit')
        low, high = _bounds(seen, packed, casts)
        extent = (high - low)[:2].amax(0).clamp(min=1e-3)
        scale = (size - 1 - 2 * _MARGIN) / extent
        grid = Grid(size, size)
        near, factor = (
            (low, scale) if packed.scenes == 1
            else (low.index_select(1, scene), scale.index_select(0, scene))
        )
        screen = torch.stack([
            (seen[0] - near[0]) * factor + _MARGIN, (seen[1] - near[1]) * factor + _MARGIN,
            seen[2] - near[2] + 1.0,
        ])
        corners = face(packed, screen, grid, casts, perspective=False)
        depth = torch.full((packed.scenes * grid.samples,), float('inf'), device=screen.device)
        for first, last in ((0, corners.opaque), (corners.opaque, len(corners.triangle))):
            if first == last:
                continue
            found = fragments(corners, grid, first, last)
            if first:
                hazy = hazy_fragments(found, corners, packed, atlas, grid)
                found = found.some(places(hazy.chance))
            depth.scatter_reduce_(0, found.sample.long(), found.height - 1.0, 'amin')
        return cls(depth, axes, low, scale, size)


def _frame(directions: torch.Tensor) -> torch.Tensor:
    """(3, 3, B) right, down, forward; forward is the way the light travels."""
    forward = -directions.T
    x, y, _ = forward
    steep = y.abs() > 0.9
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    helper = torch.stack([torch.where(steep, one, zero), torch.where(steep, zero, one), zero])
    right = torch.linalg.cross(helper, forward, dim=0)
    right = right / dot(right, right).sqrt().clamp(min=1e-20)
    return torch.stack([right, torch.linalg.cross(forward, right, dim=0), forward])


def _bounds(
    seen: torch.Tensor, packed: Pack, casts: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    counts = torch.tensor([len(mesh.vertices) for mesh in packed.meshes], device=seen.device)
    used = torch.repeat_interleave(casts, counts, output_size=seen.shape[1])
    scene = packed.vertex_scene.long().expand(3, -1)
    shape = (3, packed.scenes)
    low = seen.new_full(shape, float('inf')).scatter_reduce(
        1, scene, torch.where(used, seen, float('inf')), 'amin')
    high = seen.new_full(shape, -float('inf')).scatter_reduce(
        1, scene, torch.where(used, seen, -float('inf')), 'amax')
    empty = high < low
    return torch.where(empty, 0.0, low), torch.where(empty, 1.0, high)


def _spread(fraction: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weights of three texels under a box two texels wide; fraction is -0.5..0.5."""
    return (0.5 - fraction) * 0.5, torch.full_like(fraction, 0.5), (0.5 + fraction) * 0.5
