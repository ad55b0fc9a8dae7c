"""sRGB conversion, and the textures of many meshes in one buffer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

_PER_CODE = 8
_LINEAR_STEPS = 65535


def decode_srgb(codes: torch.Tensor) -> torch.Tensor:
    """Return linear light 0..1 of sRGB codes 0..255 (uint8, or float32 between codes)."""
    if codes.dtype == torch.uint8:
        table = _decoding(codes.device)[::_PER_CODE].contiguous()
        return table.index_select(0, codes.flatten().int()).view(codes.shape)
    steps = (codes * _PER_CODE + 0.5).int()
    return _decoding(codes.device).index_select(0, steps.flatten()).view(codes.shape)


def encode_srgb(linear: torch.Tensor) -> torch.Tensor:
    """Return uint8 sRGB codes of linear light clipped to 0..1, the inverse of `decode_srgb`."""
    steps = (linear.clamp(0, 1) * _LINEAR_STEPS + 0.5).int()
    return _encoding(linear.device).index_select(0, steps.flatten()).view(linear.shape)


# Tables instead of powers: vectorised and scalar powers may differ in the last bit, which would
# make the picture depend on the number of threads.
@lru_cache(maxsize=8)
def _decoding(device: torch.device) -> torch.Tensor:
    code = torch.arange(255 * _PER_CODE + 1, dtype=torch.float64) / (255 * _PER_CODE)
    linear = torch.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    return linear.float().to(device)


@lru_cache(maxsize=8)
def _encoding(device: torch.device) -> torch.Tensor:
    linear = torch.arange(_LINEAR_STEPS + 1, dtype=torch.float64) / _LINEAR_STEPS
    code = torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (code * 255).round().to(torch.uint8).to(device)


@dataclass(frozen=True, eq=False)
class TextureAtlas:
    """The textures of M meshes in one row of texels."""

    texels: torch.Tensor
    """(N,) int32 RGBA, red in the lowest byte."""
    first: torch.Tensor
    """(M,) int32, first texel of each texture."""
    width: torch.Tensor
    """(M,) int32 texels."""
    height: torch.Tensor
    """(M,) int32 texels."""

    @classmethod
    def from_textures(
        cls, textures: Sequence[torch.Tensor], mip_levels: Sequence[int]
    ) -> TextureAtlas:
        """
        Concatenate textures at their mip levels; shared textures are stored once.

        :param textures: (h, w, 4) uint8 each.
        :param mip_levels: how often each is halved.
        :return: the atlas.
        """
        kept: dict[tuple[int, int], tuple[int, int, int]] = {}
        rows: list[torch.Tensor] = []
        places, end = [], 0
        for texture, times in zip(textures, mip_levels, strict=True):
            key = (id(texture), times)
            if key not in kept:
                reduced = _texels(texture)
                for _ in range(times):
                    reduced = _halve(reduced)
                kept[key] = (end, reduced.shape[1], reduced.shape[0])
                rows.append(reduced.reshape(-1))
                end += reduced.numel()
            places.append(kept[key])
        device = textures[0].device
        first, width, height = torch.tensor(places, dtype=torch.int32, device=device).T.contiguous()
        return cls(rows[0] if len(rows) == 1 else torch.cat(rows), first, width, height)

    def colour(self, mesh: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """
        Return bilinearly filtered colours.

        :param mesh: (N,) int32.
        :param u: (N,) 0..1.
        :param v: (N,) 0..1.
        :return: (3, N) float32 sRGB codes 0..255.
        """
        first, width, height = self._texel_ranges(mesh)
        left, right, x = _neighbours(u, width)
        upper, lower, y = _neighbours(v, height)
        upper, lower = first + upper * width, first + lower * width
        result = None
        for row, share in ((upper, 1 - y), (lower, y)):
            for column, part in ((left, 1 - x), (right, x)):
                tap = self.texels.index_select(0, row + column)
                codes = torch.stack([tap & 255, (tap >> 8) & 255, (tap >> 16) & 255]).float()
                codes *= share * part
                result = codes if result is None else result.add_(codes)
        return result

    def alpha(self, mesh: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Return the opacity (N,) 0..1 of the nearest texel."""
        first, width, height = self._texel_ranges(mesh)
        column = torch.minimum((u * width).int().clamp_(min=0), width - 1)
        row = torch.minimum((v * height).int().clamp_(min=0), height - 1)
        tap = self.texels.index_select(0, first + row * width + column)
        return ((tap >> 24) & 255).float() / 255

    def _texel_ranges(self, mesh: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(row.index_select(0, mesh) for row in (self.first, self.width, self.height))


def _neighbours(u: torch.Tensor, size: torch.Tensor) -> tuple[torch.Tensor, ...]:
    last = size - 1
    at = torch.minimum((u * size - 0.5).clamp_(min=0), last)
    first = at.int()
    return first, torch.minimum(first + 1, last), at - first


def _texels(texture: torch.Tensor) -> torch.Tensor:
    height, width = texture.shape[:2]
    return texture.contiguous().view(height, width * 4).view(torch.int32)


def _halve(texels: torch.Tensor) -> torch.Tensor:
    """Return half the size: the mean of 2 x 2 texels, on all four bytes of an integer at once."""
    height, width = (max(side // 2, 1) for side in texels.shape)
    upper, lower = (texels[i % texels.shape[0] :: 2][:height] for i in range(2))
    # Bytewise means from common and differing bits, rounded down and then up to avoid drift.
    rows = (upper & lower) + (((upper ^ lower) >> 1) & 0x7F7F7F7F)
    left, right = (rows[:, i % texels.shape[1] :: 2][:, :width] for i in range(2))
    return (left | right) - (((left ^ right) >> 1) & 0x7F7F7F7F)
