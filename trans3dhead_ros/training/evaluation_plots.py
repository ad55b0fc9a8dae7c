"""Pictures of an evaluation: the cumulative error curve, and the faces that went worst."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from trans3dhead_ros.geometry import geodesic_distance_deg
from trans3dhead_ros.landmarks import CURVES
from trans3dhead_ros.perception.crop import crop_square, crop_window, to_crop_units
from trans3dhead_ros.training import metrics

if TYPE_CHECKING:
    from trans3dhead_ros.training.evaluation_views import Answer

_TILE, _COLUMNS, _WORST = 220, 4, 12
_TRUE_COLOUR, _OWN_COLOUR = (90, 230, 90), (60, 60, 255)


@dataclass(frozen=True)
class _Measure:
    """What the curve and the order of the worst faces go by."""

    label: str
    unit: str
    limit: float
    #: Of an answer; nan where there is nothing to compare.
    error: Callable[['Answer'], float]


def _inner_error(answer: 'Answer') -> float:
    if answer.sample.points is None:
        return float('nan')
    return 100 * float(metrics.nme_inner(answer.plain.landmarks, answer.sample.points))


def _rotation_error(answer: 'Answer') -> float:
    if answer.sample.rotation is None or answer.plain.rotation is None:
        return float('nan')
    return float(geodesic_distance_deg(answer.plain.rotation, answer.sample.rotation))


_LANDMARKS = _Measure('error of the inner 51 points, % of the box', ' %',
                      100 * metrics.FAILURE_THRESHOLD, _inner_error)
_ROTATION = _Measure('error of the rotation, degrees', ' deg', 30.0, _rotation_error)


def write_plots(folder: Path, answers: Mapping[str, Sequence['Answer']]) -> list[Path]:
    """
    Write `cumulative_error.png` and, for every predictor, `worst_<name>.png`; return their paths.

    They go by the landmarks, or by the rotation where no face has labelled landmarks; predictors
    that do not give it are left out, and nothing is written where none does.

    :param answers: of the same faces, by the predictor's name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    has_points = any(a.sample.points is not None for given in answers.values() for a in given)
    measure = _LANDMARKS if has_points else _ROTATION
    errors = {name: np.array([measure.error(a) for a in given]) for name, given in answers.items()}
    errors = {name: values for name, values in errors.items() if not np.isnan(values).all()}
    if not errors:
        return []
    paths = [folder / 'cumulative_error.png']
    _plot_curve(paths[0], errors, measure)
    for name, values in errors.items():
        # Faces without an error sort behind all others.
        worst = [i for i in np.argsort(-values, kind='stable')[:_WORST] if not np.isnan(values[i])]
        paths.append(folder / f'worst_{name}.png')
        cv2.imwrite(str(paths[-1]), _sheet([
            (answers[name][i], f'{values[i]:.1f}{measure.unit}') for i in worst]))
    return paths


def _plot_curve(path: Path, errors: Mapping[str, NDArray[np.float64]], measure: _Measure) -> None:
    figure = Figure(figsize=(6, 4), layout='constrained')
    axes = figure.subplots()
    for name, values in errors.items():
        values = values[~np.isnan(values)]
        axes.step(np.sort(values), np.arange(1, len(values) + 1) / len(values), where='post',
                  label=f'{name}: mean {values.mean():.2f}{measure.unit}')
    axes.set(xlim=(0, measure.limit), ylim=(0, 1), xlabel=measure.label, ylabel='share of faces')
    axes.grid(alpha=0.3)
    axes.legend(loc='lower right')
    figure.savefig(path, dpi=120)


def _sheet(worst: Sequence[tuple['Answer', str]]) -> NDArray[np.uint8]:
    """Draw the true points green and the predicted ones red, the worst face first."""
    rows = -(-len(worst) // _COLUMNS)
    sheet = np.zeros((rows * _TILE, _COLUMNS * _TILE, 3), np.uint8)
    for number, (answer, error) in enumerate(worst):
        tile = _tile(answer, error)
        y, x = _TILE * (number // _COLUMNS), _TILE * (number % _COLUMNS)
        sheet[y:y + _TILE, x:x + _TILE] = tile
    return sheet


def _tile(answer: 'Answer', error: str) -> NDArray[np.uint8]:
    centre, side = crop_window(answer.sample.box, 1.5)
    tile = crop_square(answer.sample.image(), centre, side, _TILE)
    for points, colour in ((answer.sample.points, _TRUE_COLOUR),
                           (answer.plain.landmarks, _OWN_COLOUR)):
        if points is None:
            continue
        units = to_crop_units(points, centre, side)
        pixels = np.round(((units + 1) * _TILE - 1) / 2 * 16).astype(np.int32)
        for curve, closed in CURVES:
            cv2.polylines(tile, [pixels[list(curve)]], closed, colour, 1, cv2.LINE_AA, 4)
    label = f'{error} {answer.sample.name}'
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(tile, label, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, thickness,
                    cv2.LINE_AA)
    return tile
