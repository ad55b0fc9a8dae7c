"""The label convention of each source, and points converted from one convention to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_ros.types import Array, BoolArray
from trans3dhead_training.fitting.fit import Fit, measure_convention, predict_labels
from trans3dhead_training.fitting.fit_solver import FitConfig
from trans3dhead_training.fitting.label_convention import LabelConvention

HAND = 'hand'
"""Name of the convention of all hand-labelled sources together, to which others are converted."""

MEASURED_FACES = 500
"""Number of faces that a convention is measured on, at most."""

MIN_SOURCE_FACES = 200
"""A source with fewer faces has the convention `HAND`."""


def measure_spread(
    model: HeadModule, points: Array, rotations: Array | None, config: FitConfig | None = None,
    rounds: int = 5,
) -> LabelConvention:
    """
    Measure a convention on at most `MEASURED_FACES` faces, evenly spread over the given ones.

    :param model: the head model.
    :param points: (N, 68, 2) px, nan where a point is not labelled.
    :param rotations: (N, 3, 3) of a teacher; None: no prior.
    :param config: of the fits; None: the defaults.
    :param rounds: see `measure_convention`.
    :return: the convention.
    """
    rows = np.linspace(0, len(points) - 1, min(len(points), MEASURED_FACES)).astype(int)
    prior = None if rotations is None else torch.from_numpy(rotations[rows]).float()
    return measure_convention(model, torch.from_numpy(points[rows]).float(), config, rounds, prior)


def measure_sources(
    model: HeadModule, points: Array, sources: Sequence[str], usable: BoolArray, by_hand: BoolArray,
    rotations: Array | None,
) -> dict[str, LabelConvention]:
    """
    Measure the convention of each source, and `HAND` on all hand-labelled faces.

    :param model: the head model.
    :param points: (N, 68, 2) px.
    :param sources: N names.
    :param usable: (N,) whether a face is not held out.
    :param by_hand: (N,) whether a face is labelled by hand.
    :param rotations: (N, 3, 3) of a teacher; None: no prior.
    :return: conventions by the name of the source, and `HAND`.
    """
    sources = np.asarray(sources)

    def measured(rows: BoolArray) -> LabelConvention:
        return measure_spread(model, points[rows], None if rotations is None else rotations[rows])

    hand = usable & by_hand
    conventions = {HAND: measured(hand if hand.any() else usable)}
    for name in dict.fromkeys(sources.tolist()):
        own = usable & (sources == name)
        conventions[name] = (measured(own) if own.sum() >= MIN_SOURCE_FACES
                             else conventions[HAND])
    return conventions


def convert_points(
    model: HeadModule, points: Array, fit: Fit, own: LabelConvention, other: LabelConvention,
) -> Array:
    """
    Convert labels to another convention, and complete them from the fits.

    :param model: of the fits.
    :param points: (N, 68, 2) px, nan where a point is not labelled.
    :param fit: of the N faces.
    :param own: convention of the labels.
    :param other: convention of the result.
    :return: (N, 68, 2) px; points that are not labelled are those of the fit.
    """
    low, high = np.nanmin(points, axis=1), np.nanmax(points, axis=1)
    half = (high - low).max(1)[:, None, None] / 2
    with torch.no_grad():
        before, after = (predict_labels(model, fit, each).numpy().astype(float)
                         for each in (own, other))
    fitted = half * after + ((low + high) / 2)[:, None]
    return np.where(np.isfinite(points), points + half * (after - before), fitted)


def convention_arrays(conventions: Mapping[str, LabelConvention]) -> dict[str, np.ndarray]:
    """Return the arrays that a file of fits stores of conventions."""
    return {f'convention_{part}_{name}': getattr(each, part).numpy()
            for name, each in conventions.items() for part in ('inner', 'jaw')}


def stored_convention(fits: Mapping[str, np.ndarray], name: str) -> LabelConvention:
    """Return the convention of a source from the arrays of a file of fits."""
    return LabelConvention(*(torch.from_numpy(np.asarray(fits[f'convention_{part}_{name}']))
                             for part in ('inner', 'jaw')))
