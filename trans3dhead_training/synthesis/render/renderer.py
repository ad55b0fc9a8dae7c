"""
Batched rendering of scenes in torch, the same code on CPU and CUDA.

One sample lies on the centre of every pixel (see `sample_grid`); `part` and `depth` describe that
sample, which contributes to the colour as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from trans3dhead_training.synthesis.render.alpha_cutout import interpolate_uv
from trans3dhead_training.synthesis.render.mesh_batch import MeshBatch, batch_meshes, vertex_normals
from trans3dhead_training.synthesis.render.sample_grid import SampleGrid
from trans3dhead_training.synthesis.render.scanline_rasterizer import (
    ScreenTriangles,
    barycentric,
    cull_triangles,
)
from trans3dhead_training.synthesis.render.shading import ShadingPoints, normalize, shade
from trans3dhead_training.synthesis.render.shadow_maps import ShadowMaps
from trans3dhead_training.synthesis.render.texture_atlas import (
    TextureAtlas,
    decode_srgb,
    encode_srgb,
)
from trans3dhead_training.synthesis.render.textured_mesh import Mesh
from trans3dhead_training.synthesis.render.visible_layers import visible_layers

NEAR_M = 0.01
"""Near plane: triangles with a nearer vertex are skipped."""
_CPU_BATCH_SIZE, _GPU_BATCH_SIZE = 1, 64
"""Scenes that are rendered together: one fits a CPU's cache, a GPU needs many."""


@dataclass(frozen=True, eq=False)
class Lighting:
    """The light of one scene, in its camera's frame; units as in `lighting`."""

    irradiance: torch.Tensor
    """(9, 3) spherical harmonics of the environment's irradiance / pi, linear RGB."""
    directions: torch.Tensor
    """(L, 3) unit, towards the lights; L may be 0."""
    colours: torch.Tensor
    """(L, 3) linear RGB."""
    shadows: bool = True
    """Whether the first light casts shadows."""


@dataclass(frozen=True, eq=False)
class Scene:
    """
    What one picture shows.

    Example::

        scene = Scene((mesh,), K, Lighting(constant_irradiance((1, 1, 1)), torch.zeros(0, 3),
                                           torch.zeros(0, 3)), background)
        image = render([scene]).image[0]
    """

    meshes: tuple[Mesh, ...]
    """Meshes with vertices in the camera frame, m, z forward."""
    K: torch.Tensor
    """(3, 3) px, intrinsics without distortion."""
    lighting: Lighting
    """The light."""
    background: torch.Tensor
    """(H, W, 3) uint8 sRGB RGB, of the size of the picture."""


@dataclass(frozen=True, eq=False)
class Rendering:
    """B pictures, on the device that rendered them."""

    image: torch.Tensor
    """(B, H, W, 3) uint8 sRGB RGB, antialiased, over the background."""
    part: torch.Tensor
    """(B, H, W) int16: index into the scene's meshes at the pixel's centre, -1 for the background.
    Cutout meshes count where they are at least half opaque."""
    depth: torch.Tensor
    """(B, H, W) float32 m along the camera's z, infinite in the background."""


def render(
    scenes: Sequence[Scene], oversampling: int = 2, device: torch.device | str = 'cpu',
    shadow_size: int = 224, batch_size: int | None = None,
) -> Rendering:
    """
    Render scenes.

    On the CPU the result is the same to the bit for any number of threads, any `batch_size` and any
    other scenes in the batch. On CUDA the order of floating-point sums varies, so normals may
    differ in their last bits.

    :param scenes: the scenes, all of one picture size.
    :param oversampling: 1..8 samples, see `sample_grid`: 1 is no antialiasing, 2 two samples a
        pixel, n > 2 n x n.
    :param device: where to render.
    :param shadow_size: side of the shadow maps, texels.
    :param batch_size: scenes that are rendered together, which bounds the memory; None for the
        device's default.
    :return: the pictures.
    :raises ValueError: no scene, different sizes of pictures, or a tensor of the wrong shape.
    """
    height, width = _checked(scenes, oversampling)
    device = torch.device(device)
    count = batch_size or (_CPU_BATCH_SIZE if device.type == 'cpu' else _GPU_BATCH_SIZE)
    with torch.no_grad():
        parts = [
            _render_batch(scenes[i : i + count], height, width, oversampling, device, shadow_size)
            for i in range(0, len(scenes), count)
        ]
        return Rendering(
            torch.cat([part.image for part in parts]), torch.cat([part.part for part in parts]),
            torch.cat([part.depth for part in parts]))


def _render_batch(
    scenes: Sequence[Scene], height: int, width: int, oversampling: int,
    device: torch.device, shadow: int,
) -> Rendering:
    batch = batch_meshes([scene.meshes for scene in scenes], device)
    grid = SampleGrid.for_picture(height, width, oversampling)
    K = torch.stack([scene.K.to(device, torch.float32) for scene in scenes], dim=2)
    background = torch.stack([scene.background.to(device) for scene in scenes])
    samples = batch.scenes * grid.samples
    light = torch.zeros(4, samples, device=device)
    part = torch.full((samples,), -1, dtype=torch.int16, device=device)
    depth = torch.full((samples,), float('inf'), device=device)
    if batch.meshes:
        corners = _project(batch, K, grid)
        atlas = TextureAtlas.from_textures(
            [mesh.texture for mesh in batch.meshes], _mip_levels(batch, corners)
        )
        solid, cutout = visible_layers(batch, corners, atlas, grid)
        covered, index = solid.sample, solid.index
        if cutout is not None:
            covered = torch.cat([covered, cutout.sample])
            index = torch.cat([index, cutout.index])
        colour, mesh, z = _shade_samples(
            scenes, batch, corners, atlas, K, grid, covered, index, shadow
        )
        which = batch.mesh_part.index_select(0, mesh)
        first = len(solid.sample)
        place = solid.sample.long()
        for i in range(3):
            light[i].scatter_(0, place, colour[i, :first])
        light[3].scatter_(0, place, 1.0)
        part.scatter_(0, place, which[:first])
        depth.scatter_(0, place, z[:first])
        if cutout is not None:
            place = cutout.sample.long()
            over = torch.cat([colour[:, first:], torch.ones_like(z[None, first:])])
            for i in range(4):
                behind = light[i].index_select(0, place)
                light[i].scatter_(0, place, behind + (over[i] - behind) * cutout.alpha)
            mostly_opaque = cutout.alpha >= 0.5
            part.scatter_(0, place[mostly_opaque], which[first:][mostly_opaque])
            depth.scatter_(0, place[mostly_opaque], z[first:][mostly_opaque])
    light = grid.resolve(light)
    image = light[:3] + decode_srgb(background.permute(3, 0, 1, 2).contiguous()) * (1 - light[3])
    return Rendering(
        encode_srgb(image).permute(1, 2, 3, 0).contiguous(), grid.at_pixel_centres(part),
        grid.at_pixel_centres(depth))


def _project(batch: MeshBatch, K: torch.Tensor, grid: SampleGrid) -> ScreenTriangles:
    x, y, z = batch.vertices
    K = K if K.shape[2] == 1 else K.index_select(2, batch.vertex_scene)
    inverse = 1 / torch.where(z >= NEAR_M, z, torch.nan)
    x, y = x * inverse, y * inverse
    screen = torch.stack([
        (K[0, 0] * x + K[0, 1] * y + K[0, 2]) * grid.across + grid.first[0],
        (K[1, 1] * y + K[1, 2]) * grid.down + grid.first[1],
        inverse,
    ])
    mesh_mask = torch.ones(len(batch.meshes), dtype=torch.bool, device=x.device)
    return cull_triangles(batch, screen, grid, mesh_mask, perspective=True)


def _shade_samples(
    scenes: Sequence[Scene], batch: MeshBatch, corners: ScreenTriangles, atlas: TextureAtlas,
    K: torch.Tensor, grid: SampleGrid, covered: torch.Tensor, index: torch.Tensor,
    shadow_size: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return linear RGB (3, N), mesh (N,) and depth (N,) of the covered samples."""
    one = len(scenes) == 1
    scene = None if one else covered // grid.samples
    sample = covered if scene is None else covered - scene * grid.samples
    row, column = grid.row_column(sample)
    x, y = column + grid.row_offset(row), row.float()
    weights, inverse = barycentric(corners, index, x.float(), y)
    triangle = corners.triangle.index_select(0, index)
    mesh = batch.triangle_mesh.index_select(0, triangle)
    albedo = decode_srgb(atlas.colour(mesh, *interpolate_uv(batch, triangle, weights)))
    depth = 1 / inverse
    if all(item.material.unlit for item in batch.meshes):
        return albedo, mesh, depth

    K = K if scene is None else K.index_select(2, scene)
    down = ((y - grid.first[1]) / grid.down - K[1, 2]) / K[1, 1]
    across = ((x - grid.first[0]) / grid.across - K[0, 2] - K[0, 1] * down) / K[0, 0]
    position = torch.stack([across * depth, down * depth, depth])

    at_vertices = vertex_normals(batch)
    if batch.occlusion is not None:
        at_vertices = torch.cat([at_vertices, batch.occlusion[None]])
    smooth = torch.zeros(len(at_vertices), len(index), device=index.device)
    for i in range(3):
        vertex = batch.triangles[i].index_select(0, triangle)
        smooth += at_vertices.index_select(1, vertex) * weights[i]
    normal = normalize(smooth[:3])
    if any(item.material.two_sided for item in batch.meshes):
        normal = normal * torch.where(corners.area.index_select(0, index) > 0, -1.0, 1.0)

    irradiance, directions, colours, shadowed = _lighting(scenes, index.device)
    shadow = None
    if any(_casts_shadow(scene) for scene in scenes):
        maps = ShadowMaps.render(batch, atlas, directions[0].T, shadow_size)
        shadow = maps.visible_fraction(scene, position, normal)
        shadow = torch.where(shadowed if scene is None else shadowed[scene], shadow, 1.0)
    if scene is not None:
        irradiance, directions, colours = (
            value.index_select(2, scene) for value in (irradiance, directions, colours)
        )
    specular, roughness, wrap = torch.stack(
        [batch.material_values(name).float() for name in ('specular', 'roughness', 'wrap')]
    ).index_select(1, mesh)
    surface = ShadingPoints(
        albedo, position, normal, smooth[3] if len(smooth) > 3 else None, specular, roughness,
        wrap, shadow,
    )
    lit = shade(surface, irradiance, directions, colours)
    if any(item.material.unlit for item in batch.meshes):
        lit = torch.where(batch.material_values('unlit').index_select(0, mesh), albedo, lit)
    return lit, mesh, depth


def _casts_shadow(scene: Scene) -> bool:
    return (
        scene.lighting.shadows
        and len(scene.lighting.directions) > 0
        and not all(mesh.material.unlit for mesh in scene.meshes)
    )


def _lighting(
    scenes: Sequence[Scene], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return irradiance (9, 3, B), directions and colours (L, 3, B), and who casts shadows (B,)."""
    lights = max(1, *(len(scene.lighting.directions) for scene in scenes), 1)
    directions = torch.zeros(len(scenes), lights, 3)
    directions[:, :, 2] = -1.0
    colours = torch.zeros(len(scenes), lights, 3)
    for i, scene in enumerate(scenes):
        count = len(scene.lighting.directions)
        directions[i, :count] = scene.lighting.directions
        colours[i, :count] = scene.lighting.colours
    irradiance = torch.stack([scene.lighting.irradiance.float() for scene in scenes], dim=2)
    shadowed = torch.tensor([_casts_shadow(scene) for scene in scenes])
    return (
        irradiance.to(device), directions.permute(1, 2, 0).contiguous().to(device),
        colours.permute(1, 2, 0).contiguous().to(device), shadowed.to(device),
    )


def _mip_levels(batch: MeshBatch, corners: ScreenTriangles) -> list[int]:
    """Return the mip level of each texture at which about one texel falls on a sample."""
    mesh = batch.triangle_mesh.index_select(0, corners.triangle)
    uv = batch.uv.index_select(1, corners.triangle)
    texture_area = (
        (uv[2] - uv[0]) * (uv[5] - uv[1]) - (uv[3] - uv[1]) * (uv[4] - uv[0])
    ).abs()
    areas = torch.stack([
        torch.zeros(len(batch.meshes), device=uv.device).index_add_(0, mesh, area)
        for area in (texture_area, corners.area.abs())
    ])
    result = []
    for item, on_texture, on_screen in zip(batch.meshes, *areas.tolist(), strict=True):
        height, width = item.texture.shape[:2]
        texels = on_texture * height * width / max(on_screen, 1e-9)
        mip_levels = 0
        while texels >= 3 and min(height, width) >> mip_levels >= 2 and on_screen > 0:
            texels /= 4
            mip_levels += 1
        result.append(mip_levels)
    return result


def _checked(scenes: Sequence[Scene], oversampling: int) -> tuple[int, int]:
    if not scenes:
        raise ValueError('scenes: at least one is needed')
    if not 1 <= oversampling <= 8:
        raise ValueError(f'oversampling must be 1..8, got {oversampling}')
    for i, scene in enumerate(scenes):
        background, light = scene.background, scene.lighting
        if background.ndim != 3 or background.shape[2] != 3 or background.dtype != torch.uint8:
            raise ValueError(
                f'background of scene {i} must be (H, W, 3) uint8, got '
                f'{tuple(background.shape)} {background.dtype}'
            )
        if background.shape != scenes[0].background.shape:
            raise ValueError(
                f'background of scene {i} is {tuple(background.shape)}, that of scene 0 '
                f'{tuple(scenes[0].background.shape)}: pictures of one call have one size'
            )
        if tuple(scene.K.shape) != (3, 3):
            raise ValueError(f'K of scene {i} must be (3, 3), got {tuple(scene.K.shape)}')
        if tuple(light.irradiance.shape) != (9, 3):
            raise ValueError(
                f'irradiance of scene {i} must be (9, 3), got {tuple(light.irradiance.shape)}'
            )
        if light.directions.shape != light.colours.shape or light.directions.shape[1:] != (3,):
            raise ValueError(
                f'directions and colours of scene {i} must both be (L, 3), got '
                f'{tuple(light.directions.shape)} and {tuple(light.colours.shape)}'
            )
    height, width = scenes[0].background.shape[:2]
    return height, width
