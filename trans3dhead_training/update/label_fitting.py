"""The stage `fit`: the head model fitted to the labels, which gives pose, identity, expression."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from trans3dhead_ros.landmarks import JAW_COUNT
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_ros.types import Array, BoolArray
from trans3dhead_training.core.alignment import fit_weak_perspective
from trans3dhead_training.fitting.fit import (
    Fit,
    box_units,
    fit_landmarks,
    predict_labels,
    towards_box,
)
from trans3dhead_training.fitting.fit_quality import Limits, rejection_reasons
from trans3dhead_training.fitting.fit_solver import FitConfig
from trans3dhead_training.fitting.label_convention import LabelConvention
from trans3dhead_training.preparation.photograph_maker import placement_px
from trans3dhead_training.update.collected_heads import Table
from trans3dhead_training.update.labelling import LabelledHeads
from trans3dhead_training.update.update_run import UpdateRun

SAME_PERSON_SIGMA = 0.15
"""Of identity coefficients of one person in several pictures."""


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

    All heads of a person are fitted a second time with about the same identity, which one view does
    not determine: a pose takes its error. So does the stretch of a wide lens, where it is known.

    :param run: with labels.
    :param model: the head model of the current model, on the CPU.
    :param offsets: (51, 3) m, from the landmarks of the head model to where labels are.
    :return: the fits.
    """
    labels = LabelledHeads.load(run.labels)
    convention = LabelConvention.zero(model.mean)
    convention.inner[0] = torch.from_numpy(np.asarray(offsets)).to(model.mean)
    alone = _fit_all(model, labels, convention, FitConfig(), None)
    fits = _fit_all(model, labels, convention, FitConfig(shape_sigma=SAME_PERSON_SIGMA),
                    _shapes_of_people(labels, alone))
    fits.save(run.fits)
    return fits


def _fit_all(
    model: HeadModule, labels: LabelledHeads, convention: LabelConvention, config: FitConfig,
    shapes: Array | None,
) -> HeadFits:
    """Fit all heads in batches of those of which the same is known: the pose, the camera."""
    posed, seen = (np.isfinite(values).reshape(len(labels), -1).all(1)
                   for values in (labels.rotation, labels.rays))
    parts, order = [], []
    for has_pose, has_camera in product((False, True), repeat=2):
        chosen = np.flatnonzero((posed == has_pose) & (seen == has_camera))
        for start in range(0, len(chosen), config.batch):
            rows = chosen[start:start + config.batch]
            own = labels[rows]
            points, focal = torch.from_numpy(own.points), None
            if has_camera:
                points, focal = towards_box(torch.from_numpy(own.rays),
                                            torch.eye(3).expand(len(rows), 3, 3))
            found = fit_landmarks(
                model, points.float(), config, convention, focal_px=focal,
                prior_rotation=torch.from_numpy(own.rotation) if has_pose else None,
                prior_shape=None if shapes is None else torch.from_numpy(shapes[rows]))
            parts.append(_on_axis(model, own, found, points, convention) if has_camera else
                         _in_px(own, found, predict_labels(model, found, convention)))
            order.append(rows)
    return HeadFits.join(parts)[np.argsort(np.concatenate(order))]


def _shapes_of_people(labels: LabelledHeads, fits: HeadFits) -> Array:
    """Return the mean identity (N, I) of all accepted fits of each head's person."""
    shapes = fits.shape.copy()
    for person in np.unique(labels.person):
        own = labels.person == person
        if (own & fits.accepted).any():
            shapes[own] = fits.shape[own & fits.accepted].mean(axis=0)
    return shapes


def _on_axis(
    model: HeadModule, labels: LabelledHeads, found: Fit, points: torch.Tensor,
    convention: LabelConvention,
) -> HeadFits:
    """Convert fits to points on the axis of the camera; their places are those in the crop."""
    inner = slice(JAW_COUNT, None)
    head = model.points_of(model.landmark_indices[inner], found.shape, found.expression)
    turned = (head + convention.inner_at(found.rotation)) @ found.rotation.mT
    scale, translation = fit_weak_perspective(
        turned[..., :2], torch.from_numpy(labels.points[:, inner]).float())
    return _table(labels, found, translation.numpy(), scale.log().numpy(), labels.points,
                  rejection_reasons(found, points.numpy(), limits=Limits()))


def _in_px(labels: LabelledHeads, found: Fit, predicted: torch.Tensor) -> HeadFits:
    """Convert fits, and the labels that they predict (N, 68, 2), from box units to px."""
    _, centre, side = box_units(torch.from_numpy(labels.points))
    completed = (centre[:, None] + predicted * side[:, None, None] / 2).numpy()
    completed = np.where(np.isfinite(labels.points), labels.points, completed)
    placements = [placement_px(points, translation, float(scale)) for points, translation, scale in
                  zip(labels.points, found.translation.numpy(), found.log_scale, strict=True)]
    return _table(labels, found, np.stack([placement.translation for placement in placements]),
                  np.array([placement.log_scale for placement in placements]), completed,
                  rejection_reasons(found, labels.points, limits=Limits()))


def _table(
    labels: LabelledHeads, found: Fit, translation: Array, log_scale: Array, points: Array,
    why: NDArray[np.str_],
) -> HeadFits:
    return HeadFits(
        found.rotation.numpy().astype(float), translation.astype(float), log_scale.astype(float),
        found.shape.numpy(), found.expression.numpy(), points,
        np.where(labels.reason == '', why, labels.reason))
