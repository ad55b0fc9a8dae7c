"""Textured triangle meshes and their materials."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True)
class Material:
    """Reflectance of a surface; its colour is in the texture."""

    specular: float = 0.04
    """Reflectance at normal incidence, 0..1."""
    roughness: float = 0.5
    """0 (mirror) .. 1 (matt)."""
    wrap: float = 0.0
    """Subsurface scattering over the terminator, reddish: 0.2-0.4 for skin, 0 is Lambertian."""
    unlit: bool = False
    """Show the texture without shading, for photographs."""
    two_sided: bool = False
    """Draw back faces too, shaded as front faces."""
    cutout: bool = False
    """Use the texture's alpha, for hair, lashes and glasses."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """
    Triangles with one texture and one material.

    Vertices that several triangles share get one smooth normal; repeat them for a sharp edge. All
    tensors are on one device.

    :raises ValueError: a tensor has the wrong shape or dtype. Example:: mesh = Mesh(vertices,
        triangles, uv, texture, Material(roughness=0.6), 'skin')
    """

    vertices: torch.Tensor
    """(V, 3) float32 m."""
    triangles: torch.Tensor
    """(T, 3) int64, counter-clockwise from outside (seen in a right-handed frame)."""
    uv: torch.Tensor
    """(T, 3, 2) float32 of each corner: u right, v down, 0..1 over the image, row 0 at v = 0 (texel
    centres at (i + 0.5) / size); clamped to the border."""
    texture: torch.Tensor
    """(h, w, 4) uint8 RGBA, sRGB; alpha is not premultiplied."""
    material: Material = Material()
    """Its reflectance."""
    name: str = ''
    """Such as 'skin', 'eye_left' or 'hair'."""
    occlusion: torch.Tensor | None = None
    """(V,) float32: fraction 0..1 of the environment that each vertex sees, or None for all of
    it."""

    def __post_init__(self) -> None:
        count, corners = len(self.vertices), self.triangles.shape
        _check(self.name, 'vertices', self.vertices, (count, 3), torch.float32)
        _check(self.name, 'triangles', self.triangles, (corners[0], 3), torch.int64)
        _check(self.name, 'uv', self.uv, (corners[0], 3, 2), torch.float32)
        _check(self.name, 'texture', self.texture, (*self.texture.shape[:2], 4), torch.uint8)
        if self.occlusion is not None:
            _check(self.name, 'occlusion', self.occlusion, (count,), torch.float32)

    def transformed(self, rotation: torch.Tensor, translation: torch.Tensor) -> Mesh:
        """
        Return the mesh with `vertices @ rotation.T + translation`.

        :param rotation: (3, 3).
        :param translation: (3,) m.
        :return: the transformed mesh.
        """
        return replace(self, vertices=self.vertices @ rotation.T + translation)

    def with_vertices(self, vertices: torch.Tensor) -> Mesh:
        """Return the mesh with other vertices (V, 3) m."""
        return replace(self, vertices=vertices)

    def to(self, device: torch.device | str) -> Mesh:
        """Return the mesh on another device."""
        return replace(
            self, vertices=self.vertices.to(device), triangles=self.triangles.to(device),
            uv=self.uv.to(device), texture=self.texture.to(device),
            occlusion=None if self.occlusion is None else self.occlusion.to(device))


def _check(
    mesh: str, name: str, tensor: torch.Tensor, shape: tuple[int, ...], kind: torch.dtype
) -> None:
    if tuple(tensor.shape) != shape or tensor.dtype != kind:
        raise ValueError(
            f'{name} of mesh {mesh!r} must be {shape} {kind}, '
            f'got {tuple(tensor.shape)} {tensor.dtype}'
        )
