"""The faces that went worst, in one picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.landmarks import CURVES
from trans3dhead_ros.perception.crop import crop_square, crop_window, to_crop_units
from trans3dhead_training.evaluation.predictions import Answer

Image = NDArray[np.uint8]

WORST = 12
_TILE, _COLUMNS, _LINE = 240, 4, 14
_TRUE_COLOUR, _OWN_COLOUR = (90, 230, 90), (60, 60, 255)
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
    rows = max(-(-len(answers) // _COLUMNS), 1)
    sheet = np.zeros((rows * _TILE, min(max(len(answers), 1), _COLUMNS) * _TILE, 3), np.uint8)
    for number, (answer, label) in enumerate(zip(answers, labels, strict=True)):
        y, x = _TILE * (number // _COLUMNS), _TILE * (number % _COLUMNS)
        sheet[y:y + _TILE, x:x + _TILE] = _tile(answer, label)
    return sheet


def _tile(answer: Answer, label: str) -> Image:
    sample, plain = answer.sample, answer.plain
    centre, side = crop_window(sample.box, 1.5)
    tile = crop_square(sample.image(), centre, side, _TILE)
    # The jaw that the labels mean.
    on_contour = sample.points is not None and not sample.points_are_3d
    own = plain.contour if on_contour and plain.contour is not None else plain.landmarks
    for points, colour in ((sample.points, _TRUE_COLOUR), (own, _OWN_COLOUR)):
        if points is None or not np.isfinite(points).all():
            continue
        units = to_crop_units(points, centre, side)
        pixels = np.round(np.clip((units + 1) * _TILE - 1, -1e5, 1e5) / 2 * 16).astype(np.int32)
        for curve, closed in CURVES:
            cv2.polylines(tile, [pixels[list(curve)]], closed, colour, 1, cv2.LINE_AA, 4)
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
