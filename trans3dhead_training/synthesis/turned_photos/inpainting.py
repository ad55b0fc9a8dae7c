"""Smooth inpainting."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.types import Float32Array


def inpaint(
    picture: Float32Array, known: Float32Array,
    default_colour: float | NDArray[np.floating] = 128.0,
) -> Float32Array:
    """
    Fill unknown pixels from coarser and coarser averages of known ones (pull-push).

    :param picture: (H, W, C) float32.
    :param known: (H, W) float32 0..1, confidence of a pixel.
    :param default_colour: the colour where nothing is known at all.
    :return: (H, W, C), the picture where it is fully known.
    """
    height, width = known.shape
    if min(height, width) <= 2:
        total = known.sum()
        mean = (picture * known[..., None]).sum((0, 1)) / total if total > 1e-3 else default_colour
        coarse = np.broadcast_to(np.float32(mean), picture.shape)
    else:
        size = ((width + 1) // 2, (height + 1) // 2)
        weight = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
        small = cv2.resize(picture * known[..., None], size, interpolation=cv2.INTER_AREA)
        small /= np.maximum(weight, 1e-6)[..., None]
        # A few known pixels are enough for their neighbourhood.
        coarse = cv2.resize(
            inpaint(small, np.minimum(4 * weight, 1.0), default_colour), (width, height),
            interpolation=cv2.INTER_LINEAR)
    return picture * known[..., None] + coarse * (1 - known[..., None])
