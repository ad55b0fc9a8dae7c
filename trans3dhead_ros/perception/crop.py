"""
Square crops of an image, and the map between crop units and pixels.

Crop units are `u = 2 * (px - centre) / side`: -1…1 spans the crop. Pixel centres lie at integers in
the image and in the crop: pixel i of a crop of `size` pixels is at `u = (2 * i + 1) / size - 1`.
"""

import math

import cv2
import numpy as np

from trans3dhead_ros.types import Array, Image


def crop_window(box: Array, scale: float) -> tuple[Array, float]:
    """Return the centre (2,) and side px of the crop for a landmark box (4,): x0 y0 x1 y1."""
    box = np.asarray(box, dtype=np.float64)
    centre = 0.5 * (box[:2] + box[2:])
    return centre, float(scale * np.max(box[2:] - box[:2]))


def landmark_box(points: Array) -> Array:
    """Return the tight boxes (..., 4) px, x0 y0 x1 y1, around points (..., P, 2 or 3) px."""
    xy = points[..., :2]
    return np.concatenate([xy.min(axis=-2), xy.max(axis=-2)], axis=-1)


def crop_square(image: Image, centre: Array, side: float, size: int) -> Image:
    """
    Cut a square out of an image and resample it; what lies outside of the image is black.

    A crop that is shrunk to less than half is averaged over its pixels first, because bilinear
    sampling would skip some of them and alias.

    :param image: (H, W, C).
    :param centre: (2,) px.
    :param side: px.
    :param size: side of the result, px.
    :return: (size, size, C).
    """
    centre_x, centre_y = float(centre[0]), float(centre[1])
    shrink = side / size
    if shrink > 2.0:
        # Blocks of 2 x 2 pixels are averaged many times as fast as those of 3 x 3.
        image, centre_x, centre_y, side = _averaged(
            image, centre_x, centre_y, side, int(shrink) if shrink >= 4.0 else 2)
    step = side / size
    matrix = np.array([
        [step, 0.0, centre_x + 0.5 * step - 0.5 * side],
        [0.0, step, centre_y + 0.5 * step - 0.5 * side],
    ])
    return cv2.warpAffine(
        image, matrix, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT, borderValue=0)


def _averaged(
    image: Image, centre_x: float, centre_y: float, side: float, factor: int,
) -> tuple[Image, float, float, float]:
    """Average blocks of factor² pixels around a window; return its centre and side in them too."""
    height, width = image.shape[:2]
    reach = 0.5 * side + 2 * factor
    x0, y0 = (min(max(math.floor(at - reach), 0), end)
              for at, end in ((centre_x, width), (centre_y, height)))
    columns, rows = (max(min(math.ceil(at + reach), end) - start, 0) // factor
                     for at, end, start in ((centre_x, width, x0), (centre_y, height, y0)))
    if columns < 1 or rows < 1:
        return image, centre_x, centre_y, side
    window = image[y0:y0 + rows * factor, x0:x0 + columns * factor]
    small = cv2.resize(window, (columns, rows), interpolation=cv2.INTER_AREA)
    # The centre of the first block lies (factor − 1) / 2 pixels inside the neighbourhood.
    offset = 0.5 * (factor - 1)
    return (small, (centre_x - x0 - offset) / factor, (centre_y - y0 - offset) / factor,
            side / factor)


def to_pixels(points: Array, centre: Array, side: float) -> Array:
    """Map crop units (..., 2) to pixels of the image."""
    return np.asarray(points) * (0.5 * side) + np.asarray(centre)


def to_crop_units(points: Array, centre: Array, side: float) -> Array:
    """Map pixels of the image (..., 2) to crop units."""
    return (np.asarray(points) - np.asarray(centre)) * (2.0 / side)
