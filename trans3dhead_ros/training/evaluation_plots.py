"""Pictures of an evaluation: the cumulative error curve, and the faces that went worst."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from trans3dhead_ros.landmarks import CURVES
from trans3dhead_ros.perception.crop import crop_square, crop_window, landmark_box, to_crop_units
from trans3dhead_ros.perception.source import read_picture
from trans3dhead_ros.training import metrics

if TYPE_CHECKING:
    from trans3dhead_ros.training.evaluation_views import Answer

_TILE, _COLUMNS, _WORST = 220, 4, 12
_TRUE_COLOUR, _OWN_COLOUR = (90, 230, 90), (60, 60, 255)


def write_plots(folder: Path, answers: Mapping[str, Sequence['Answer']]) -> list[Path]:
    """
    Write `cumulative_error.png` and, for every predictor, `worst_<name>.png`; return their paths.

    :param answers: of the same faces, by the predictor's name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    errors = {name: _errors(given) for name, given in answers.items()}
    paths = [folder / 'cumulative_error.png']
    _plot_curve(paths[0], errors)
    for name, given in answers.items():
        worst = np.argsort(-errors[name], kind='stable')[:_WORST]
        paths.append(folder / f'worst_{name}.png')
        cv2.imwrite(str(paths[-1]), _sheet([(given[i], float(errors[name][i])) for i in worst]))
    return paths


def _errors(answers: Sequence['Answer']) -> NDArray[np.float64]:
    return np.array([metrics.nme_inner(a.plain.landmarks, a.sample.points) for a in answers])


def _plot_curve(path: Path, errors: Mapping[str, NDArray[np.float64]]) -> None:
    figure = Figure(figsize=(6, 4), layout='constrained')
    axes = figure.subplots()
    for name, values in errors.items():
        axes.step(100 * np.sort(values), np.arange(1, len(values) + 1) / len(values),
                  where='post', label=f'{name}: mean {100 * values.mean():.2f} %')
    axes.set(xlim=(0, 100 * metrics.FAILURE_THRESHOLD), ylim=(0, 1),
             xlabel='error of the inner 51 points, % of the box', ylabel='share of faces')
    axes.grid(alpha=0.3)
    axes.legend(loc='lower right')
    figure.savefig(path, dpi=120)


def _sheet(worst: Sequence[tuple['Answer', float]]) -> NDArray[np.uint8]:
    """Draw the true points green and the predicted ones red, the worst face first."""
    rows = -(-len(worst) // _COLUMNS)
    sheet = np.zeros((rows * _TILE, _COLUMNS * _TILE, 3), np.uint8)
    for number, (answer, error) in enumerate(worst):
        tile = _tile(answer, error)
        y, x = _TILE * (number // _COLUMNS), _TILE * (number % _COLUMNS)
        sheet[y:y + _TILE, x:x + _TILE] = tile
    return sheet


def _tile(answer: 'Answer', error: float) -> NDArray[np.uint8]:
    centre, side = crop_window(landmark_box(answer.sample.points), 1.5)
    tile = crop_square(read_picture(answer.sample.path), centre, side, _TILE)
    for points, colour in ((answer.sample.points, _TRUE_COLOUR),
                           (answer.plain.landmarks, _OWN_COLOUR)):
        units = to_crop_units(points, centre, side)
        pixels = np.round(((units + 1) * _TILE - 1) / 2 * 16).astype(np.int32)
        for curve, closed in CURVES:
            cv2.polylines(tile, [pixels[list(curve)]], closed, colour, 1, cv2.LINE_AA, 4)
    label = f'{100 * error:.1f} % {answer.sample.path.stem}'
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(tile, label, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, thickness,
                    cv2.LINE_AA)
    return tile
