"""
Square crops of an image, and the map between crop units and pixels.

Crop units are `u = 2 * (px - centre) / side`: -1…1 spans the crop. Pixel centres lie at integers in
the image and in the crop: pixel i of a crop of `size` pixels is at `u = (2 * i + 1) / size - 1`.

The network takes upright heads. The crop of a head that leans by more than 40° is turned with it,
in steps of 60°, so that a head near the limit does not turn its crop back and forth.
"""

import math

import cv2
import numpy as np

from trans3dhead_ros.types import Array, Image

# Degrees.
_MAX_ROLL_IN_CROP, _CROP_ROLL_STEP = 40.0, 60.0
# Length in the image of a unit vector out of the crown, below which it says nothing of the roll.
_LEAST_UP = 0.4


def crop_window(box: Array, scale: float) -> tuple[Array, float]:
    """Return the centre (2,) and side px of the crop for a landmark box (4,): x0 y0 x1 y1."""
    box = np.asarray(box, dtype=np.float64)
    centre = 0.5 * (box[:2] + box[2:])
    return centre, float(scale * np.max(box[2:] - box[:2]))


def landmark_box(points: Array) -> Array:
    """Return the tight boxes (..., 4) px, x0 y0 x1 y1, around points (..., P, 2 or 3) px."""
    xy = points[..., :2]
    return np.concatenate([xy.min(axis=-2), xy.max(axis=-2)], axis=-1)


def roll_in_image(rotation: Array, unknown_deg: Array | float = 0.0) -> Array:
    """
    Return by how much heads are rolled in the image.

    :param rotation: (B, 3, 3) head → camera optical frame.
    :param unknown_deg: (B,) the roll of heads that look so far up or down that they show none.
    :return: (B,) degrees, clockwise.
    """
    up = rotation[:, :2, 2]
    roll = np.rad2deg(np.arctan2(up[:, 0], -up[:, 1]))
    return np.where(np.linalg.norm(up, axis=1) < _LEAST_UP, unknown_deg, roll)


def crop_roll(roll_deg: Array, before: Array | float = 0.0) -> Array:
    """
    Return by how much crops are turned for heads that are rolled in the image.

    :param roll_deg: (B,) of the heads, clockwise.
    :param before: (B,) of their last crops, clockwise.
    :return: (B,) degrees, clockwise: that of the last crop while the head leans little in it.
    """
    leaning = np.abs((roll_deg - before + 180.0) % 360.0 - 180.0)
    turned = _CROP_ROLL_STEP * np.round(roll_deg / _CROP_ROLL_STEP)
    return np.where(leaning <= _MAX_ROLL_IN_CROP, before, turned)


def part_outside(boxes: Array, size: Array) -> Array:
    """
    Return how far boxes reach beyond their images.

    :param boxes: (B, 4) x0 y0 x1 y1 px.
    :param size: (B, 2) width and height of the images, px.
    :return: (B,) in longer sides of the box; 0 for one inside.
    """
    beyond = np.maximum(-0.5 - boxes[:, :2], boxes[:, 2:] - (size - 0.5))
    return beyond.clip(0.0).max(axis=1) / (boxes[:, 2:] - boxes[:, :2]).max(axis=1)


def roll_matrix(roll_deg: Array | float) -> Array:
    """Return the matrices (..., 2, 2) that turn pixels clockwise by angles (...,) degrees."""
    angle = np.deg2rad(roll_deg)
    matrix = np.empty((*np.shape(angle), 2, 2))
    matrix[..., 0, 0] = matrix[..., 1, 1] = np.cos(angle)
    matrix[..., 1, 0] = np.sin(angle)
    matrix[..., 0, 1] = -matrix[..., 1, 0]
    return matrix


def upright_box(points: Array, roll_deg: Array) -> Array:
    """
    Return the landmark boxes for turned crops.

    :param points: (B, P, 2 or 3) px.
    :param roll_deg: (B,) clockwise, of the crops.
    :return: (B, 4) px: the box that is tight in the turned crop, turned back about its centre.
    """
    if not np.any(roll_deg):
        return landmark_box(points)
    turn = roll_matrix(roll_deg)
    box = landmark_box(points[..., :2] @ turn)
    centre = np.einsum('bij,bj->bi', turn, 0.5 * (box[:, :2] + box[:, 2:]))
    half = 0.5 * (box[:, 2:] - box[:, :2])
    turned = np.concatenate([centre - half, centre + half], axis=1)
    return np.where(roll_deg[:, None] == 0.0, box, turned)


def crop_square(
    image: Image, centre: Array, side: float, size: int, roll_deg: float = 0.0,
    border: int = cv2.BORDER_CONSTANT,
) -> Image:
    """
    Cut a square out of an image and resample it.

    A crop that is shrunk to less than half is averaged over its pixels first, because bilinear
    sampling would skip some of them and alias.

    :param image: (H, W, C).
    :param centre: (2,) px.
    :param side: px.
    :param size: side of the result, px.
    :param roll_deg: turn of the square about its centre, clockwise.
    :param border: what lies outside of the image, as OpenCV names it: black, or
        `cv2.BORDER_REPLICATE`.
    :return: (size, size, C).
    """
    centre_x, centre_y = float(centre[0]), float(centre[1])
    shrink = side / size
    if shrink > 2.0:
        # Blocks of 2 x 2 pixels are averaged many times as fast as those of 3 x 3.
        image, centre_x, centre_y, side = _averaged(
            image, centre_x, centre_y, side, int(shrink) if shrink >= 4.0 else 2, roll_deg)
    step = side / size
    cos, sin = math.cos(math.radians(roll_deg)), math.sin(math.radians(roll_deg))
    # To the centre of the first pixel.
    back = 0.5 * (step - side)
    matrix = np.array([[cos * step, -sin * step, centre_x + (cos - sin) * back],
                       [sin * step, cos * step, centre_y + (sin + cos) * back]])
    return cv2.warpAffine(
        image, matrix, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=border, borderValue=0)


def _averaged(
    image: Image, centre_x: float, centre_y: float, side: float, factor: int, roll_deg: float,
) -> tuple[Image, float, float, float]:
    """Average blocks of factor² pixels around a window; return its centre and side in them too."""
    height, width = image.shape[:2]
    roll = math.radians(roll_deg)
    reach = 0.5 * side * (abs(math.cos(roll)) + abs(math.sin(roll))) + 2 * factor
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
