"""The stage `fit`: the head model fitted to the labels, which gives pose, identity, expression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_ros.types import Array, BoolArray
from trans3dhead_training.fitting.fit import Fit, box_units, fit_landmarks, predict_labels
from trans3dhead_training.fitting.fit_quality import Limits, rejection_reasons
from trans3dhead_training.fitting.fit_solver import FitConfig
from trans3dhead_training.fitting.label_convention import LabelConvention
from trans3dhead_training.preparation.photograph_maker import placement_px
from trans3dhead_training.update.collected_heads import Table
from trans3dhead_training.update.labelling import LabelledHeads
from trans3dhead_training.update.update_run import UpdateRun


@dataclass(frozen=True, eq=False)
class HeadFits(Table):
    """The fits of N labelled heads, in their order; weak perspective, px of the crop."""

    rotation: Array
    """(N, 3, 3) head → camera optical frame."""
    translation: Array
    """(N, 2) px, where the sellion of the mean head appears."""
    log_scale: Array
    """(N,) natural logarithm of px per metre."""
    shape: Array
    """(N, I) identity coefficients."""
    expression: Array
    """(N, E) expression coefficients."""
    points: Array
    """(N, 68, 2) px of the crop: the labels, completed from the fit where the user gave none."""
    reason: NDArray[np.str_]
    """(N,) why a fit is rejected; '' where it is not."""

    @property
    def accepted(self) -> BoolArray:
        """(N,) whether a fit is to be learnt from."""
        return self.reason == ''


def fit(run: UpdateRun, model: HeadModule, offsets: Array) -> HeadFits:
    """
    Fit the head model to the labels, and write the fits.

    :param run: with labels.
    :param model: the head model of the current model, on the CPU.
    :param offsets: (51, 3) m, from the landmarks of the head model to where labels are.
    :return: the fits.
    """
    labels = LabelledHeads.load(run.labels)
    convention = LabelConvention.zero(model.mean)
    convention.inner[0] = torch.from_numpy(np.asarray(offsets)).to(model.mean)
    size = FitConfig().batch
    parts = []
    for start in tqdm(range(0, len(labels), size), desc='fit', unit='batch', disable=None):
        parts.append(_fit_rows(model, labels[start:start + size], convention))
    fits = HeadFits.join(parts)
    fits.save(run.fits)
    return fits


def _fit_rows(
    model: HeadModule, labels: LabelledHeads, convention: LabelConvention,
) -> HeadFits:
    """Fit a batch; the heads of which the model knows the pose have it as a prior."""
    known = np.isfinite(labels.rotation).all((1, 2))
    parts, order = [], []
    for rows in (np.flatnonzero(known), np.flatnonzero(~known)):
        if len(rows):
            own = labels[rows]
            prior = torch.from_numpy(own.rotation) if known[rows[0]] else None
            found = fit_landmarks(model, torch.from_numpy(own.points).float(),
                                  convention=convention, prior_rotation=prior)
            parts.append(_in_px(own, found, predict_labels(model, found, convention)))
            order.append(rows)
    return HeadFits.join(parts)[np.argsort(np.concatenate(order))]


def _in_px(labels: LabelledHeads, found: Fit, predicted: torch.Tensor) -> HeadFits:
    """Convert fits, and the labels that they predict (N, 68, 2), from box units to px."""
    _, centre, side = box_units(torch.from_numpy(labels.points))
    completed = (centre[:, None] + predicted * side[:, None, None] / 2).numpy()
    completed = np.where(np.isfinite(labels.points), labels.points, completed)
    why = rejection_reasons(found, labels.points, limits=Limits())
    placements = [placement_px(points, translation, float(scale)) for points, translation, scale in
                  zip(labels.points, found.translation.numpy(), found.log_scale, strict=True)]
    return HeadFits(
        found.rotation.numpy(), np.stack([placement.translation for placement in placements]),
        np.array([placement.log_scale for placement in placements]), found.shape.numpy(),
        found.expression.numpy(), completed, np.where(labels.reason == '', why, labels.reason))
