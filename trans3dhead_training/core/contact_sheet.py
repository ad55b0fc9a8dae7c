"""Contact sheets: equal tiles in rows, and the outline of a face drawn into a tile."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.landmarks import CURVES
from trans3dhead_ros.types import Image

LABEL_COLOUR, PREDICTION_COLOUR = (90, 230, 90), (60, 60, 255)
"""BGR of labelled and of predicted points."""

_SHIFT = 4  # fractional bits of OpenCV's fixed-point coordinates


def contact_sheet(rows: Sequence[Sequence[Image]], background: int = 0) -> Image:
    """
    Lay tiles out in rows.

    :param rows: tiles (H, W, 3), all of one size; at least one.
    :param background: grey level that fills the end of shorter rows.
    :return: (rows * H, longest row * W, 3).
    """
    height, width = next(tile for row in rows for tile in row).shape[:2]
    columns = max(map(len, rows))
    sheet = np.full((height * len(rows), width * columns, 3), background, np.uint8)
    for y, row in enumerate(rows):
        for x, tile in enumerate(row):
            sheet[height * y:height * (y + 1), width * x:width * (x + 1)] = tile
    return sheet


def draw_landmarks(
    tile: Image, points: NDArray[np.floating], colour: tuple[int, int, int],
) -> None:
    """
    Draw the curves of the 68 landmarks.

    :param tile: (S, S, 3), changed in place.
    :param points: (68, 2) crop units: -1...1 spans the tile; nan where unknown.
    :param colour: BGR.
    """
    known = np.isfinite(points).all(-1)
    pixels = tile_pixels(np.nan_to_num(points), tile.shape[0])
    for curve, closed in CURVES:
        shown = [point for point in curve if known[point]]
        if shown:
            cv2.polylines(tile, [pixels[shown]], closed, colour, 1, cv2.LINE_AA, _SHIFT)


def draw_line(
    tile: Image, ends: NDArray[np.floating], colour: tuple[int, int, int],
) -> None:
    """
    Draw a line.

    :param tile: (S, S, 3), changed in place.
    :param ends: (2, 2) crop units.
    :param colour: BGR.
    """
    start, end = tile_pixels(ends, tile.shape[0]).tolist()
    cv2.line(tile, start, end, colour, 1, cv2.LINE_AA, _SHIFT)


def tile_pixels(points: NDArray[np.floating], size: int) -> NDArray[np.int32]:
    """
    Convert crop units to OpenCV's fixed-point pixels.

    :param points: (P, 2) crop units.
    :param size: side of the tile, px.
    :return: (P, 2), with 4 fractional bits.
    """
    return np.round(
        2 ** _SHIFT * np.clip((points + 1) * size / 2 - 0.5, -1e4, 1e4)).astype(np.int32)
