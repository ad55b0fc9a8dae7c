"""Figures of a training: its curves, and its predictions for held-out heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from trans3dhead_ros.geometry import axis_points
from trans3dhead_ros.landmarks import JAW_COUNT
from trans3dhead_ros.network.model import Trans3DHead
from trans3dhead_training.core.contact_sheet import (
    LABEL_COLOUR,
    PREDICTION_COLOUR,
    contact_sheet,
    draw_landmarks,
    draw_line,
)
from trans3dhead_training.data.head_dataset import HeadDataset

Rows = Sequence[Mapping[str, str]]

_TILE, _COLUMNS = 224, 8
_AXIS_COLOURS = ((60, 60, 255), (60, 220, 60), (255, 110, 60))  # BGR
# Columns of losses.csv that are not losses.
_NOT_LOSSES = ('step', 'minutes', 'images_per_s', 'learning_rate', 'gradient_norm')


def write_curves(path: Path, losses: Rows, metrics: Rows, panels: Mapping[str, str]) -> None:
    """
    Draw losses, validation errors and the learning rate against the steps.

    :param path: PNG to write.
    :param losses: rows of losses.csv.
    :param metrics: rows of metrics.csv.
    :param panels: titles of two diagrams, and what the names of their metrics contain.
    """
    figure = Figure(figsize=(15, 9))
    # Automatic layouts measure every label, which takes longer than all the drawing.
    axes = figure.subplots(2, 2, gridspec_kw={
        'left': 0.04, 'right': 0.88, 'bottom': 0.06, 'top': 0.96, 'wspace': 0.4, 'hspace': 0.2})
    names = [name for name in (losses[0] if losses else ()) if name not in _NOT_LOSSES]
    _curves(axes[0, 0], losses, {name: name for name in names})
    # The likelihood falls below zero.
    axes[0, 0].set_yscale('symlog', linthresh=0.01)
    axes[0, 0].set_title('loss and its weighted terms')
    errors = sorted({name for row in metrics for name in row if name.startswith('val_')})
    for axis, (title, part) in zip((axes[0, 1], axes[1, 0]), panels.items(), strict=True):
        _curves(axis, metrics, {name: name[4:] for name in errors if part in name})
        axis.set_title(title)
    _curves(axes[1, 1], losses, {'learning_rate': 'learning rate'})
    axes[1, 1].set_title('learning rate')
    figure.savefig(path, dpi=80)


def _curves(axes: Axes, rows: Rows, labels: Mapping[str, str]) -> None:
    for number, (name, label) in enumerate(labels.items()):
        known = [(int(row['step']), float(row[name])) for row in rows if row.get(name)]
        if known:
            axes.plot(*zip(*known, strict=True), label=label, linewidth=1.2,
                      marker='.' if len(known) < 60 else '',
                      linestyle='-' if number < 10 else '--')
    axes.set_xlabel('step')
    axes.grid(alpha=0.3)
    if axes.lines:
        if axes.dataLim.ymin >= 0:
            axes.set_ylim(bottom=0.0)
        axes.legend(fontsize=7, loc='upper left', bbox_to_anchor=(1.0, 1.0))


@torch.no_grad()
def write_samples(path: Path, network: Trans3DHead, parts: Mapping[str, HeadDataset],
                  device: torch.device) -> None:
    """
    Draw some heads of each part: truth in green, estimate in red, and the axes of the estimate.

    :param path: PNG to write.
    :param network: in evaluation mode.
    :param parts: held-out heads by part; the same heads are drawn every time.
    :param device: of the network.
    """
    lines = []
    for heads in parts.values():
        rows = np.linspace(0, len(heads) - 1, min(_COLUMNS, len(heads))).astype(int)
        batch = heads.plain_batch([int(row) for row in rows])
        estimate = network(batch.crops.to(device))
        points = torch.cat([estimate.contour, estimate.landmarks[:, JAW_COUNT:]], 1).cpu().numpy()
        pictures = (255 * batch.crops.permute(0, 2, 3, 1).numpy()[..., ::-1]).astype(np.uint8)
        tiles = [_tile(*sample) for sample in zip(
            pictures, batch.points.numpy(), points, estimate.rotation.cpu().numpy(),
            estimate.translation.cpu().numpy(), estimate.log_scale.cpu().numpy(), strict=True)]
        lines.append(tiles)
    partial = path.with_name(f'.{path.name}')
    cv2.imwrite(str(partial), contact_sheet(lines))
    partial.replace(path)


def _tile(picture: NDArray[np.uint8], truth: np.ndarray, points: np.ndarray, rotation: np.ndarray,
          translation: np.ndarray, log_scale: np.ndarray) -> NDArray[np.uint8]:
    canvas = cv2.resize(np.ascontiguousarray(picture), (_TILE, _TILE))
    draw_landmarks(canvas, truth, LABEL_COLOUR)
    draw_landmarks(canvas, points, PREDICTION_COLOUR)
    origin, *ends = axis_points(np.exp(log_scale) * rotation[:2], translation)
    # The axis that points away from the camera is drawn first.
    for axis in np.argsort(-rotation[2]):
        draw_line(canvas, np.stack([origin, ends[axis]]), _AXIS_COLOURS[axis])
    return canvas
