"""A textured triangle mesh: what people, scenes and rotated photographs are made of."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch



@dataclass(frozen=True)
class Material:
    """How a surface answers light. A texture is its colour, the rest is here."""

    specular: float = 0.04
    """Strength of the highlight: reflectance at normal incidence, 0..1."""
    roughness: float = 0.5
    """0 (mirror) .. 1 (chalk)."""
    wrap: float = 0.0
    """Light that bleeds over the terminator, reddish: skin 0.2-0.4; 0 is Lambert."""
    unlit: bool = False
    """The texture is shown as it is (photographs)."""
    two_sided: bool = False
    """Back faces are drawn too, lit as if they faced the camera."""
    cutout: bool = False
    """The texture's alpha is used (hair, brows, lashes, glasses)."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """
    Triangles with one texture and one material.

    A vertex that several triangles share gets one smooth normal; where an edge should stay sharp,
    repeat the vertex. All tensors lie on one device.

    :raises ValueError: a tensor of the wrong shape or kind
    """

    vertices: torch.Tensor
    """(V, 3) float32 m."""
    triangles: torch.Tensor
    """(T, 3) int64, counter-clockwise from outside (seen in a right-handed frame)."""
    uv: torch.Tensor
    """(T, 3, 2) float32 per corner: u right, v DOWN, 0..1 over the texture as an image, row 0 at
    v = 0 (texel centres at (i + 0.5) / size); beyond 0..1 the border texel repeats."""
    texture: torch.Tensor
    """(h, w, 4) uint8 RGBA, sRGB; alpha is not premultiplied."""
    material: Material = Material()
    name: str = ''
    """'skin', 'eye_left', 'hair', ..."""
    occlusion: torch.Tensor | None = None
    """(V,) float32: share 0..1 of the environment that a vertex sees; None: all of it."""

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
        The mesh turned and shifted: `vertices @ rotation.T + translation`.

        :param rotation: (3, 3)
        :param translation: (3,) m
        """
        return replace(self, vertices=self.vertices @ rotation.T + translation)

    def with_vertices(self, vertices: torch.Tensor) -> Mesh:
        """The same surface in another shape, (V, 3) m."""
        return replace(self, vertices=vertices)

    def to(self, device: torch.device | str) -> Mesh:
        """The mesh on another device."""
        return replace(
            self,
            vertices=self.vertices.to(device),
            triangles=self.triangles.to(device),
            uv=self.uv.to(device),
            texture=self.texture.to(device),
            occlusion=None if self.occlusion is None else self.occlusion.to(device),
        )


def _check(
    mesh: str, name: str, tensor: torch.Tensor, shape: tuple[int, ...], kind: torch.dtype
) -> None:
    if tuple(tensor.shape) != shape or tensor.dtype != kind:
        raise ValueError(
            f'{name} of mesh {mesh!r} must be {shape} {kind}, '
            f'got {tuple(tensor.shape)} {tensor.dtype}'
        )
