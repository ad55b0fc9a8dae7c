"""The evaluation of detectors as curves, and as pictures of the worst cases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure

from trans3dhead_ros.types import Image
from trans3dhead_training.core.contact_sheet import contact_sheet
from trans3dhead_training.detection.detection_metrics import HEIGHT_BINS, bin_name
from trans3dhead_training.evaluation.detection_evaluation import (
    RATES,
    DetectionResult,
    EvaluatedPicture,
)

_TILE, _COLUMNS, _ROWS = 400, 4, 3
_LABEL_COLOUR, _TRUE_COLOUR, _FALSE_COLOUR = (60, 220, 60), (255, 160, 60), (60, 60, 255)


def write_detection_plots(folder: Path, results: Mapping[str, DetectionResult],
                          default_scores: Mapping[str, float]) -> None:
    """
    Draw recall against false detections, and the pictures with most mistakes.

    :param folder: for `recall.png`, and `<detector>_worst.png` each.
    :param results: by the name of the detector.
    :param default_scores: smallest score of a head, by the name of the detector.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(11, 8))
    axes = figure.subplots(2, 2)
    for axis, heights in zip(axes.flat, HEIGHT_BINS, strict=True):
        for name, result in results.items():
            rates = np.geomspace(0.01, 5, 40)
            recalls = [100 * result.curve.recall(result.curve.threshold(rate), heights)
                       for rate in rates]
            axis.plot(rates, recalls, label=name)
        axis.set(xscale='log', ylim=(0, 100), title=f'heads of {bin_name(heights)} px',
                 xlabel='false detections a picture', ylabel='found, %')
        for rate in RATES:
            axis.axvline(rate, color='0.8', linewidth=0.8)
        axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(folder / 'recall.png', dpi=90)
    for name, result in results.items():
        cv2.imwrite(str(folder / f'{name.replace("/", "_")}_worst.png'),
                    _worst_sheet(result, default_scores[name]))


def _worst_sheet(result: DetectionResult, score: float) -> Image:
    def mistakes(entry: EvaluatedPicture) -> int:
        matches = entry.matches
        false = ~matches.is_true & ~matches.is_excused & (matches.score >= score)
        large = matches.height >= HEIGHT_BINS[2][0]
        return int(false.sum() + (large & (matches.head_score < score)).sum())

    worst = sorted(result.pictures, key=mistakes, reverse=True)[:_COLUMNS * _ROWS]
    tiles = [_tile(entry, score) for entry in worst]
    return contact_sheet([tiles[start:start + _COLUMNS]
                          for start in range(0, len(tiles), _COLUMNS)])


def _tile(entry: EvaluatedPicture, score: float) -> Image:
    """Draw labels in green, heads that were found in blue and false ones in red."""
    canvas, heads, found = entry.picture.image.copy(), entry.picture.heads, entry.found
    labels = np.where(np.isnan(heads.head_box), heads.landmark_box, heads.head_box)
    boxes = found.landmark_box if found.head_box is None else found.head_box
    kept, true = found.score >= score, entry.matches.is_true
    for group, colour in ((labels, _LABEL_COLOUR), (boxes[kept & true], _TRUE_COLOUR),
                          (boxes[kept & ~true], _FALSE_COLOUR)):
        for x0, y0, x1, y1 in np.round(group).astype(int).tolist():
            cv2.rectangle(canvas, (x0, y0), (x1, y1), colour, 2)
    scale = _TILE / max(canvas.shape[:2])
    small = cv2.resize(canvas, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tile = np.zeros((_TILE, _TILE, 3), np.uint8)
    tile[:small.shape[0], :small.shape[1]] = small[:_TILE, :_TILE]
    return tile
