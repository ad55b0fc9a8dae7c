"""A contact sheet of the faces with the largest errors."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from trans3dhead_ros.perception.crop import crop_square, crop_window, to_crop_units
from trans3dhead_ros.types import Array, Image
from trans3dhead_training.core.contact_sheet import (
    LABEL_COLOUR,
    PREDICTION_COLOUR,
    contact_sheet,
    draw_landmarks,
)
from trans3dhead_training.evaluation.face_result import FaceResult

WORST_COUNT = 12
_TILE, _COLUMNS, _LINE = 240, 4, 14
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.4


def worst_rows(errors: Array) -> list[int]:
    """Return the rows of the `WORST_COUNT` largest errors (N,), largest first, without nan."""
    order = np.argsort(-np.where(np.isnan(errors), -np.inf, errors), kind='stable')[:WORST_COUNT]
    return [int(row) for row in order if not np.isnan(errors[row])]


def draw_results(results: Sequence[FaceResult], captions: Sequence[str]) -> Image:
    """
    Draw faces in a grid, labelled points in green and predicted ones in red.

    :param results: at least one.
    :param captions: shown above the name in each tile.
    :return: (H, W, 3) BGR.
    """
    tiles = [_tile(result, caption) for result, caption in zip(results, captions, strict=True)]
    return contact_sheet([tiles[start:start + _COLUMNS]
                          for start in range(0, len(tiles), _COLUMNS)])


def _tile(result: FaceResult, caption: str) -> Image:
    sample, prediction = result.sample, result.prediction
    centre, side = crop_window(sample.box, 1.5)
    tile = crop_square(sample.image(), centre, side, _TILE)
    # By the definition of the jaw that the labels have.
    on_contour = sample.points is not None and not sample.points_are_3d
    predicted = (prediction.contour if on_contour and prediction.contour is not None
                 else prediction.landmarks)
    for points, colour in ((sample.labelled_points, LABEL_COLOUR), (predicted, PREDICTION_COLOUR)):
        if points is not None and not np.isinf(points).any():
            draw_landmarks(tile, to_crop_units(points, centre, side), colour)
    name = sample.name if sample.source in sample.name else f'{sample.source} {sample.name}'
    for number, line in enumerate((caption, _shorten(name))):
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(tile, line, (4, _LINE * (number + 1)), _FONT, _FONT_SCALE, colour,
                        thickness, cv2.LINE_AA)
    return tile


def _shorten(text: str) -> str:
    """Shorten a text to the width of a tile, in the middle because names differ at their ends."""
    while cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)[0][0] > _TILE - 8:
        middle = len(text) // 2
        text = text[:middle - 2] + '..' + text[middle + 2:]
    return text
