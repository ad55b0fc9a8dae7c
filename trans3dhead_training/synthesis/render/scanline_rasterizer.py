"""
A scanline rasteriser for all triangles at once.

Triangles are expanded into rows and rows into samples, without loops and without visiting samples
outside. The bounds of a row are computed from the edges alone, each from its upper end, so two
triangles that share an edge get bit-identical bounds: no sample is missed and none is drawn twice.

Screen coordinates are in samples: x right, y down, with rows and samples at integers apart from the
stagger of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trans3dhead_training.synthesis.render.mesh_batch import MeshBatch
from trans3dhead_training.synthesis.render.sample_grid import SampleGrid


@dataclass(frozen=True, eq=False)
class ScreenTriangles:
    """The N potentially visible triangles in screen space; one column each."""

    triangle: torch.Tensor
    """(N,) int32, index in the batch."""
    origin: torch.Tensor
    """(N,) int32, first sample of the scene's image."""
    x: torch.Tensor
    """(3, N) samples."""
    y: torch.Tensor
    """(3, N) samples."""
    height: torch.Tensor
    """(3, N), linear in screen space: 1 / z in perspective, z in an orthographic view."""
    area: torch.Tensor
    """(N,) twice the signed area, negative for front faces."""
    opaque: int
    """Number of leading triangles that need no alpha test."""
    perspective: bool
    """Whether height is 1 / z."""


@dataclass(frozen=True, eq=False)
class Fragments:
    """F samples covered by triangles."""

    sample: torch.Tensor
    """(F,) int32, index over all images."""
    index: torch.Tensor
    """(F,) int32, index into the screen triangles."""
    height: torch.Tensor
    """(F,), see `ScreenTriangles`."""

    def select(self, kept: torch.Tensor) -> Fragments:
        """Return the fragments at indices (N,) int32."""
        return Fragments(
            self.sample.index_select(0, kept), self.index.index_select(0, kept),
            self.height.index_select(0, kept))


def cull_triangles(
    batch: MeshBatch, screen: torch.Tensor, grid: SampleGrid, mesh_mask: torch.Tensor,
    perspective: bool,
) -> ScreenTriangles:
    """
    Return the triangles in screen space that face the viewer or are two-sided.

    :param batch: the meshes.
    :param screen: (3, V) x, y in samples, and height; triangles with a NaN are skipped.
    :param grid: the samples.
    :param mesh_mask: (M,) bool, meshes to draw.
    :param perspective: whether height is 1 / z.
    :return: the triangles, opaque ones first.
    """
    (ax, ay), (bx, by), (cx, cy) = (
        screen[:2].index_select(1, batch.triangles[i]) for i in range(3)
    )
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    seen = area < 0
    if any(mesh.material.two_sided for mesh in batch.meshes):
        two_sided = batch.material_values('two_sided').index_select(0, batch.triangle_mesh)
        seen |= two_sided & (area > 0)
    seen &= mesh_mask.index_select(0, batch.triangle_mesh)
    if any(mesh.material.cutout for mesh in batch.meshes):
        cutout = batch.material_values('cutout').index_select(0, batch.triangle_mesh)
        solid = nonzero_indices(seen & ~cutout)
        triangle = torch.cat([solid, nonzero_indices(seen & cutout)])
        opaque = len(solid)
    else:
        triangle = nonzero_indices(seen)
        opaque = len(triangle)
    vertices = batch.triangles.index_select(1, triangle)
    x, y, height = (row.index_select(0, vertices.flatten()).view(3, -1) for row in screen)
    scene = batch.mesh_scene.index_select(0, batch.triangle_mesh.index_select(0, triangle))
    return ScreenTriangles(
        triangle, scene * grid.samples, x, y, height, area.index_select(0, triangle), opaque,
        perspective,
    )


def rasterize_triangles(
    corners: ScreenTriangles, grid: SampleGrid, first: int, last: int
) -> Fragments:
    """
    Return the samples covered by the triangles `first` to `last`, row by row from left to right.

    Samples on a left edge belong to the triangle, samples on a right edge do not; so do rows.

    :param corners: the triangles in screen space.
    :param grid: the samples.
    :param first: index of the first triangle.
    :param last: index after the last triangle.
    :return: the fragments.
    """
    x, y, height = corners.x[:, first:last], corners.y[:, first:last], corners.height[:, first:last]
    slope_x, slope_y = _gradient(x, y, height, corners.area[first:last])
    (x0, x1, x2), (y0, y1, y2) = _sorted_by_y(x, y)
    long, upper, lower = ((x2 - x0) / (y2 - y0), (x1 - x0) / (y1 - y0), (x2 - x1) / (y2 - y1))

    top = y0.ceil().clamp(0, grid.height).int()
    rows = (y2.ceil().clamp(0, grid.height).int() - top).clamp(min=0)
    low, high = x.amin(0), x.amax(0)
    # With a margin, because a computed bound may exceed the corners by the last bit.
    crossed = (low <= grid.width) & (high > 0)
    if not grid.stagger:
        crossed &= (low - 1e-3).ceil() < (high + 1e-3).ceil()
    rows *= crossed
    of = _repeat_indices(rows)
    row = _arange_like(of) + (top - _exclusive_cumsum(rows)).index_select(0, of)
    at = row.float()
    x0, y0, long, x1, y1, upper, lower, ax, ay, value, slope_x, slope_y = torch.stack(
        [x0, y0, long, x1, y1, upper, lower, x[0], y[0], height[0], slope_x, slope_y]
    ).index_select(1, of)
    one = x0 + (at - y0) * long
    other = torch.where(at < y1, x0 + (at - y0) * upper, x1 + (at - y1) * lower)
    shift = grid.row_offset(row)
    left = (torch.minimum(one, other) - shift).ceil().clamp(0, grid.width)
    right = (torch.maximum(one, other) - shift).ceil().clamp(0, grid.width)
    value = value + (at - ay) * slope_y + (left + shift - ax) * slope_x

    left = left.int()
    columns = right.int() - left
    start = _exclusive_cumsum(columns)
    at_row = _repeat_indices(columns)
    along = _arange_like(at_row)
    origin = corners.origin[first:last].index_select(0, of) + row * grid.width + left - start
    value, slope = torch.stack([value, slope_x]).index_select(1, at_row)
    column = (along - start.index_select(0, at_row)).float()
    return Fragments(
        along + origin.index_select(0, at_row), of.index_select(0, at_row) + first,
        value + column * slope)


def nearest_fragments(
    found: Fragments, depth: torch.Tensor, samples: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Return the nearest fragment of every sample; of equally near ones the first.

    :param found: the fragments.
    :param depth: (F,) positive float32.
    :param samples: number of samples of all images.
    :return: (N,) int32, covered samples in ascending order; (N,) int32, their fragments.
    """
    # The bits of positive floats sort like their values, so depth and index form one key.
    key = (depth.view(torch.int32).long() << 32) | _arange_like(depth)
    empty = torch.iinfo(torch.int64).max
    best = torch.full((samples,), empty, dtype=torch.int64, device=depth.device)
    best.scatter_reduce_(0, found.sample.long(), key, 'amin')
    covered = nonzero_indices(best != empty)
    return covered, best.index_select(0, covered).int()


def barycentric(
    corners: ScreenTriangles, index: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Return barycentric coordinates at samples, perspective-correct in a perspective view.

    :param corners: the triangles in screen space.
    :param index: (N,) into the triangles.
    :param x: (N,) float32, samples.
    :param y: (N,) float32, samples.
    :return: (3, N) that sum to 1; (N,) 1 / z, or 1 without perspective.
    """
    (x0, x1, x2), (y0, y1, y2) = corners.x, corners.y
    q = corners.height if corners.perspective else torch.ones_like(corners.height)
    inverse = _inverse_area(corners.area)
    one_x, one_y = (y2 - y0) * inverse * q[1], (x0 - x2) * inverse * q[1]
    two_x, two_y = (y0 - y1) * inverse * q[2], (x1 - x0) * inverse * q[2]
    nil_x, nil_y = (y1 - y2) * inverse * q[0], (x2 - x1) * inverse * q[0]
    table = torch.stack([x0, y0, q[0], nil_x, nil_y, one_x, one_y, two_x, two_y])
    x0, y0, q0, nil_x, nil_y, one_x, one_y, two_x, two_y = table.index_select(1, index)
    x, y = x - x0, y - y0
    weights = torch.stack(
        [q0 + x * nil_x + y * nil_y, x * one_x + y * one_y, x * two_x + y * two_y]
    )
    # Rounding may place a sample on an edge outside by the last bits.
    weights = weights.clamp_(min=0)
    height = weights[0] + weights[1] + weights[2]
    return weights / height, height


def nonzero_indices(flags: torch.Tensor) -> torch.Tensor:
    """Return where flags (F,) are true, (N,) int32."""
    return flags.nonzero()[:, 0].int()


def _arange_like(like: torch.Tensor) -> torch.Tensor:
    return torch.arange(len(like), dtype=torch.int32, device=like.device)


def _repeat_indices(counts: torch.Tensor) -> torch.Tensor:
    """Return `repeat_interleave(counts)`, three times as fast: a cumsum of steps."""
    ends = counts.cumsum(0, dtype=torch.int32)
    total = int(ends[-1]) if len(ends) else 0
    steps = torch.zeros(total + 1, dtype=torch.int32, device=counts.device)
    steps.index_add_(0, ends, torch.ones_like(ends))
    return steps[:-1].cumsum(0, dtype=torch.int32)


def _exclusive_cumsum(counts: torch.Tensor) -> torch.Tensor:
    """Return the sum of all preceding counts."""
    return counts.cumsum(0, dtype=torch.int32) - counts


def _inverse_area(area: torch.Tensor) -> torch.Tensor:
    """Return 1 / area, or 0 for degenerate triangles, whose gradient would be noise."""
    return torch.where(area.abs() > 1e-6, 1 / area, torch.zeros_like(area))


def _gradient(
    x: torch.Tensor, y: torch.Tensor, height: torch.Tensor, area: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    inverse = _inverse_area(area)
    one, two = height[1] - height[0], height[2] - height[0]
    along_x = (one * (y[2] - y[0]) - two * (y[1] - y[0])) * inverse
    along_y = (two * (x[1] - x[0]) - one * (x[2] - x[0])) * inverse
    return along_x, along_y


def _sorted_by_y(
    x: torch.Tensor, y: torch.Tensor
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    x, y = list(x), list(y)
    for one, other in ((0, 1), (1, 2), (0, 1)):
        swap = y[one] > y[other]
        x[one], x[other] = torch.where(swap, x[other], x[one]), torch.where(swap, x[one], x[other])
        y[one], y[other] = torch.where(swap, y[other], y[one]), torch.where(swap, y[one], y[other])
    return x, y
