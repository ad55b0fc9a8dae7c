"""
Square crops of an image, and the map between crop units and pixels.

Crop units are `u = 2 * (px - centre) / side`: -1…1 spans the crop. Pixel centres lie at integers in
the image and in the crop: pixel i of a crop of `size` pixels is at `u = (2 * i + 1) / size - 1`.
"""

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

    A crop that is shrunk by much is averaged over its pixels first, because bilinear sampling would
    skip some of them and alias.

    :param image: (H, W, C).
    :param centre: (2,) px.
    :param side: px.
    :param size: side of the result, px.
    :return: (size, size, C).
    """
    shrink = side / size
    if shrink > 2.0:
        centre = np.asarray(centre, dtype=np.float64)
        image, centre, side = _averaged(image, centre, side, int(shrink))
    step = side / size
    matrix = np.array([
        [step, 0.0, centre[0] + 0.5 * step - 0.5 * side],
        [0.0, step, centre[1] + 0.5 * step - 0.5 * side],
    ])
    return cv2.warpAffine(
        image, matrix, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT, borderValue=0)


def _averaged(
    image: Image, centre: Array, side: float, factor: int,
) -> tuple[Image, Array, float]:
    """Average blocks of factor² pixels, in the neighbourhood of the window only."""
    height, width = image.shape[:2]
    low = np.floor(centre - 0.5 * side).astype(int) - 2 * factor
    high = np.ceil(centre + 0.5 * side).astype(int) + 2 * factor
    x0, y0 = np.clip(low, 0, [width, height])
    x1, y1 = np.clip(high, 0, [width, height])
    blocks_x, blocks_y = (x1 - x0) // factor, (y1 - y0) // factor
    if blocks_x < 1 or blocks_y < 1:
        return image, centre, side
    window = image[y0:y0 + blocks_y * factor, x0:x0 + blocks_x * factor]
    small = cv2.resize(window, (int(blocks_x), int(blocks_y)), interpolation=cv2.INTER_AREA)
    # The centre of the first block lies (factor − 1) / 2 pixels inside the window.
    offset = np.array([x0, y0]) + 0.5 * (factor - 1)
    return small, (centre - offset) / factor, side / factor


def to_pixels(points: Array, centre: Array, side: float) -> Array:
    """Map crop units (..., 2) to pixels of the image."""
    return np.asarray(points) * (0.5 * side) + np.asarray(centre)


def to_crop_units(points: Array, centre: Array, side: float) -> Array:
    """Map pixels of the image (..., 2) to crop units."""
    return (np.asarray(points) - np.asarray(centre)) * (2.0 / side)
