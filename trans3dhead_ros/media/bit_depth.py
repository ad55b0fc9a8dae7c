"""
Samples of 16 bits as 8: cameras of 10, 12 and 14 bits leave the upper ones empty.

Keeping the upper byte of each sample would make their images nearly black.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.types import Image

BIT_DEPTHS = (8, 10, 12, 14, 16)
"""Numbers of significant bits that cameras have."""


class BitDepth:
    """
    Converts the images of one source, whose number of significant bits does not change.

    :param bits: significant bits of a sample; 0 takes what the source states, or else the least of
        `BIT_DEPTHS` that holds every sample so far, so that a video does not flicker.
    :raises UserError: for a number that is neither 0 nor in 8…16.
    """

    def __init__(self, bits: int = 0) -> None:
        if bits != 0 and not 8 <= bits <= 16:
            raise UserError('bits: expected 8 to 16, or 0 to infer them from the image, got '
                            f'{bits}')
        self.fixed = bits
        """Significant bits that were given; 0 if they are inferred from the image."""
        self.assumed = 0
        """Significant bits that the last image was taken to have; 0 before the first of 16."""

    def to_8_bits(self, samples: NDArray[np.uint16], stated: int = 0) -> Image:
        """
        Convert the samples of an image.

        :param samples: of any shape; the lower bits of each are the significant ones.
        :param stated: significant bits according to the message or the file; 0: not stated. Where
            a sample has more, they are the upper ones.
        :return: an array of the same shape.
        """
        bits, held = self.fixed, 0 if self.fixed else significant_bits(samples)
        # 16 is what software writes that does not know.
        if not bits and 0 < stated < 16:
            bits = stated if held <= stated else 16
        elif not bits:
            bits = max(held, self.assumed)
        self.assumed = bits
        if bits == 8:
            return np.minimum(samples, 255).astype(np.uint8)
        return np.minimum(samples >> (bits - 8), 255).astype(np.uint8)

    @property
    def note(self) -> str:
        """What is assumed, for one message to the user; empty where nothing had to be."""
        if self.assumed in (0, 16) or self.fixed:
            return ''
        return f'16-bit samples are assumed to have {self.assumed} significant bits'


def significant_bits(samples: NDArray[np.uint16]) -> int:
    """Return the least of `BIT_DEPTHS` that holds every sample."""
    highest = int(samples.max()) if samples.size else 0
    return next(bits for bits in BIT_DEPTHS if highest < 1 << bits)
