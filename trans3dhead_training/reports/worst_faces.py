"""The faces that went worst, in one picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.perception.crop import crop_square, crop_window, to_crop_units
from trans3dhead_training.core.contact_sheet import (
    LABEL_COLOUR,
    PREDICTION_COLOUR,
    contact_sheet,
    draw_landmarks,
)
from trans3dhead_training.evaluation.predictions import Answer

Image = NDArray[np.uint8]

WORST = 12
_TILE, _COLUMNS, _LINE = 240, 4, 14
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.4


def worst_faces(errors: NDArray[np.float64]) -> list[int]:
    """Return the rows of the largest errors (N,), the worst first; nan is none."""
    order = np.argsort(-np.where(np.isnan(errors), -np.inf, errors), kind='stable')[:WORST]
    return [int(row) for row in order if not np.isnan(errors[row])]


def draw_sheet(answers: Sequence[Answer], labels: Sequence[str]) -> Image:
    """
    Return the tiles of answers in a grid: true points green, predicted ones red.

    :param labels: what stands above the name in each tile.
    """
    tiles = [_tile(answer, label) for answer, label in zip(answers, labels, strict=True)]
    return contact_sheet([tiles[start:start + _COLUMNS]
                          for start in range(0, len(tiles), _COLUMNS)])


def _tile(answer: Answer, label: str) -> Image:
    sample, plain = answer.sample, answer.plain
    centre, side = crop_window(sample.box, 1.5)
    tile = crop_square(sample.image(), centre, side, _TILE)
    # The jaw that the labels mean.
    on_contour = sample.points is not None and not sample.points_are_3d
    own = plain.contour if on_contour and plain.contour is not None else plain.landmarks
    for points, colour in ((sample.points, LABEL_COLOUR), (own, PREDICTION_COLOUR)):
        if points is not None and np.isfinite(points).all():
            draw_landmarks(tile, to_crop_units(points, centre, side), colour)
    name = sample.name if sample.source in sample.name else f'{sample.source} {sample.name}'
    for number, line in enumerate((label, _fitting(name))):
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(tile, line, (4, _LINE * (number + 1)), _FONT, _FONT_SCALE, colour,
                        thickness, cv2.LINE_AA)
    return tile


def _fitting(text: str) -> str:
    """Cut a text to the width of a tile, in the middle: names differ at their ends."""
    while cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)[0][0] > _TILE - 8:
        middle = len(text) // 2
        text = text[:middle - 2] + '..' + text[middle + 2:]
    return text
