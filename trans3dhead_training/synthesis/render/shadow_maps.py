"""Shadow maps of the first directional light."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trans3dhead_training.synthesis.render.alpha_cutout import cutout_fragments
from trans3dhead_training.synthesis.render.mesh_batch import MeshBatch
from trans3dhead_training.synthesis.render.sample_grid import SampleGrid
from trans3dhead_training.synthesis.render.scanline_rasterizer import (
    cull_triangles,
    nonzero_indices,
    rasterize_triangles,
)
from trans3dhead_training.synthesis.render.shading import dot
from trans3dhead_training.synthesis.render.texture_atlas import TextureAtlas

_MARGIN = 2
_OFFSET_TEXELS = 1.5
_BIAS_M = 0.002


@dataclass(frozen=True, eq=False)
class ShadowMaps:
    """One square shadow map per scene."""

    depth: torch.Tensor
    """(B * S * S,) m along the light, infinite where it is empty."""
    axes: torch.Tensor
    """(3, 3, B): right, down and forward of the light in the camera frame."""
    low: torch.Tensor
    """(3, B) m: least coordinate along the axes."""
    scale: torch.Tensor
    """(B,) texels per m."""
    size: int
    """Side S, texels."""

    def visible_fraction(
        self, scene: torch.Tensor | None, position: torch.Tensor, normal: torch.Tensor
    ) -> torch.Tensor:
        """
        Return the fraction of the light that arrives at points, filtered over two texels.

        :param scene: (N,) int32, scene of each point, or None for a single scene.
        :param position: (3, N) m, camera frame.
        :param normal: (3, N) unit.
        :return: (N,) 0..1.
        """
        axes, low, scale = (
            value if scene is None else value.index_select(-1, scene)
            for value in (self.axes, self.low, self.scale)
        )
        # An offset along the normal avoids self-shadowing between texels.
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
    def render(
        cls, batch: MeshBatch, atlas: TextureAtlas, directions: torch.Tensor, size: int
    ) -> ShadowMaps:
        """
        Render the scenes as seen from the light.

        :param batch: the meshes.
        :param atlas: their textures.
        :param directions: (B, 3) unit, towards the light.
        :param size: side of the maps, texels.
        :return: the maps.
        """
        axes = _frame(directions)
        scene = batch.vertex_scene
        spread = axes if batch.scenes == 1 else axes.index_select(2, scene)
        seen = torch.stack([dot(spread[i], batch.vertices) for i in range(3)])
        # Meshes without shadows must not enlarge the map.
        casts = ~batch.material_values('unlit')
        low, high = _bounds(seen, batch, casts)
        extent = (high - low)[:2].amax(0).clamp(min=1e-3)
        scale = (size - 1 - 2 * _MARGIN) / extent
        grid = SampleGrid(size, size)
        near, factor = (
            (low, scale) if batch.scenes == 1
            else (low.index_select(1, scene), scale.index_select(0, scene))
        )
        screen = torch.stack([
            (seen[0] - near[0]) * factor + _MARGIN, (seen[1] - near[1]) * factor + _MARGIN,
            seen[2] - near[2] + 1.0,
        ])
        corners = cull_triangles(batch, screen, grid, casts, perspective=False)
        depth = torch.full((batch.scenes * grid.samples,), float('inf'), device=screen.device)
        for first, last in ((0, corners.opaque), (corners.opaque, len(corners.triangle))):
            if first == last:
                continue
            found = rasterize_triangles(corners, grid, first, last)
            if first:
                cutout = cutout_fragments(found, corners, batch, atlas, grid)
                found = found.select(nonzero_indices(cutout.chance))
            depth.scatter_reduce_(0, found.sample.long(), found.height - 1.0, 'amin')
        return cls(depth, axes, low, scale, size)


def _frame(directions: torch.Tensor) -> torch.Tensor:
    """Return right, down and forward (3, 3, B); forward is the direction in which light travels."""
    forward = -directions.T
    x, y, _ = forward
    steep = y.abs() > 0.9
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    helper = torch.stack([torch.where(steep, one, zero), torch.where(steep, zero, one), zero])
    right = torch.linalg.cross(helper, forward, dim=0)
    right = right / dot(right, right).sqrt().clamp(min=1e-20)
    return torch.stack([right, torch.linalg.cross(forward, right, dim=0), forward])


def _bounds(
    seen: torch.Tensor, batch: MeshBatch, casts: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    counts = torch.tensor([len(mesh.vertices) for mesh in batch.meshes], device=seen.device)
    used = torch.repeat_interleave(casts, counts, output_size=seen.shape[1])
    scene = batch.vertex_scene.long().expand(3, -1)
    shape = (3, batch.scenes)
    low = seen.new_full(shape, float('inf')).scatter_reduce(
        1, scene, torch.where(used, seen, float('inf')), 'amin')
    high = seen.new_full(shape, -float('inf')).scatter_reduce(
        1, scene, torch.where(used, seen, -float('inf')), 'amax')
    empty = high < low
    return torch.where(empty, 0.0, low), torch.where(empty, 1.0, high)


def _spread(fraction: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the weights of three texels under a box of two texels; fraction is -0.5..0.5."""
    return (0.5 - fraction) * 0.5, torch.full_like(fraction, 0.5), (0.5 + fraction) * 0.5
