"""
Positions of the samples of a picture, and the reconstruction filter.

One sample always lies on the centre of a pixel. A pixel is the mean of the samples around its
centre under a tent filter with a radius of one pixel, in linear light. The oversampling is

* 1: the centres alone.
* 2: quincunx, two samples a pixel: the centres and the corners between them; a pixel is half its
  centre and half its four corners. Horizontal and vertical edges look as with 2 x 2 samples, at
  half the cost.
* n > 2: n x n samples a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class SampleGrid:
    """The samples of one image in rows; the images of several scenes follow one another."""

    height: int
    """Number of rows."""
    width: int
    """Samples per row."""
    across: int = 1
    """Samples per pixel along x."""
    down: int = 1
    """Samples per pixel along y."""
    first: tuple[float, float] = (0.0, 0.0)
    """x, y of the first pixel's centre, in samples."""
    stagger: float = 0.0
    """Offset of odd rows to the right, in samples."""

    @classmethod
    def for_picture(cls, height: int, width: int, oversampling: int) -> SampleGrid:
        """Return the samples of a picture of this size in pixels."""
        if oversampling == 2:
            return cls(2 * height + 1, width + 1, 1, 2, (0.5, 1.0), 0.5)
        n = oversampling
        return cls(n * height + n - 1, n * width + n - 1, n, n, (n - 1.0, n - 1.0))

    @property
    def samples(self) -> int:
        """Number of samples."""
        return self.height * self.width

    def row_offset(self, row: torch.Tensor) -> torch.Tensor | float:
        """Return the offset to the right, in samples, of rows (N,) int32."""
        return (row & 1) * self.stagger if self.stagger else 0.0

    def row_column(self, sample: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return row and column, (N,) int32 each, of samples (N,) int32 of one image."""
        row = sample // self.width
        return row, sample - row * self.width

    def at_pixel_centres(self, values: torch.Tensor) -> torch.Tensor:
        """Return the values (B, H, W) at pixel centres, of (B * samples,)."""
        images = values.view(-1, self.height, self.width)
        if self.stagger:
            return images[:, 1::2, :-1].contiguous()
        row, column = self.down - 1, self.across - 1
        return images[:, row :: self.down, column :: self.across][
            :, : self._pixels(self.height), : self._pixels(self.width)
        ].contiguous()

    def resolve(self, values: torch.Tensor) -> torch.Tensor:
        """Return the filtered pixels (C, B, H, W) of samples (C, B * samples)."""
        images = values.view(len(values), -1, self.height, self.width)
        if self.stagger:
            corners = images[:, :, ::2]
            corners = corners[:, :, :-1] + corners[:, :, 1:]
            corners = corners[..., :-1] + corners[..., 1:]
            return images[:, :, 1::2, :-1] * 0.5 + corners * 0.125
        n = self.down
        weights = [min(i + 1, 2 * n - 1 - i) / n**2 for i in range(2 * n - 1)]
        height, width = self._pixels(self.height), self._pixels(self.width)
        rows = sum(images[:, :, i::n][:, :, :height] * w for i, w in enumerate(weights))
        return sum(rows[..., i::n][..., :width] * w for i, w in enumerate(weights))

    def _pixels(self, samples: int) -> int:
        return (samples - (self.down - 1)) // self.down
