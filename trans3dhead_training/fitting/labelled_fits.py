"""Fits of every labelled face and of its mirror image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from trans3dhead_ros.landmarks import MIRROR_68
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_training.data.labels import NEVER_HELD_OUT, FaceRecord
from trans3dhead_training.fitting.fit import Fit, fit_landmarks, measure_displacements
from trans3dhead_training.fitting.fit_quality import rejection_reasons
from trans3dhead_training.fitting.fit_solver import FitConfig
from trans3dhead_training.fitting.jaw_contour import jaw_displacement
from trans3dhead_training.fitting.portrait_fits import fit_portraits
from trans3dhead_training.fitting.teachers import query_teachers

OFFSET_FACES = 600


def fit_records(
    records: Sequence[FaceRecord], model: HeadModule, baselines: Path | None = None,
) -> dict[str, np.ndarray]:
    """
    Fit labelled records and their mirror images.

    :param records: N labelled faces.
    :param model: the head model.
    :param baselines: folder of the teachers that the fits are compared with; None compares none.
    :return: arrays (N, 2, ...) of `Fit`'s fields, [:, 0] the face, [:, 1] its mirror image, of
        `reason` ('' is accepted) and `accepted`; `files` (N,), and `offsets` (51, 3) of
        `measure_displacements`, measured without validation faces. `jaw_displacement`
        (N, 2, 17, 3) m, head frame, is from the visible contour to the labels.
    """
    config = FitConfig()
    points = np.stack([record.points for record in records])
    mirror = points[:, MIRROR_68] * [-1.0, 1.0]
    both = torch.from_numpy(np.stack([points, mirror], 1)).float().flatten(0, 1)
    offsets, jaw_offsets = measure_displacements(
        model, torch.from_numpy(spread_subset(points[_measurable(records)])), config)
    parts = []
    with tqdm(total=len(both), desc='fit', unit='face', disable=None) as bar:
        for part in both.split(config.batch):
            parts.append(fit_landmarks(model, part, config, offsets, jaw_offsets=jaw_offsets))
            bar.update(len(part))
    result = {'files': np.array([record.file for record in records]),
              'offsets': offsets.numpy()}
    for field in fields(Fit):
        values = torch.cat([getattr(part, field.name) for part in parts])
        result[field.name] = values.unflatten(0, (-1, 2)).numpy()
    result['jaw_displacement'] = jaw_displacement(
        jaw_offsets, torch.from_numpy(result['rotation']).flatten(0, 1)).unflatten(
            0, (-1, 2)).numpy()
    teachers = None
    if baselines is not None:
        boxes = np.stack([landmark_box(face) for face in points])
        teachers = query_teachers([record.path for record in records], boxes, baselines)
    own, mirrored = (fit_from_arrays(result, side) for side in (0, 1))
    why = rejection_reasons(own, points, teachers)
    # Both or none: a face is unreliable if the fit of its mirror image is.
    why = np.where(why == '', rejection_reasons(mirrored, mirror), why)
    result['reason'] = np.repeat(why[:, None], 2, axis=1)
    result['accepted'] = result['reason'] == ''
    return result


def fit_from_arrays(arrays: dict[str, np.ndarray], side: int | None = None) -> Fit:
    """Convert the arrays of `fit_records` to fits; side 1 are the mirror images, None both."""
    rows = slice(None) if side is None else (slice(None), side)
    return Fit(*(torch.from_numpy(np.ascontiguousarray(arrays[field.name][rows]))
                 for field in fields(Fit)))


def spread_subset(points: np.ndarray) -> np.ndarray:
    """Return at most `OFFSET_FACES` of the faces (N, 68, 2), evenly spread over all datasets."""
    return points[np.linspace(0, len(points) - 1, min(len(points), OFFSET_FACES)).astype(int)]


def _by_hand(records: Sequence[FaceRecord]) -> np.ndarray:
    """Return a mask (N,) of what is labelled by hand and not held out."""
    return np.array([record.source not in NEVER_HELD_OUT and not record.is_validation
                     for record in records], dtype=bool)


def _measurable(records: Sequence[FaceRecord]) -> np.ndarray:
    """Return a mask (N,) of the faces on which displacements are measured."""
    by_hand = _by_hand(records)
    return by_hand if by_hand.any() else np.array([not r.is_validation for r in records], bool)


def write_portraits(
    records: Sequence[FaceRecord], labelled: Sequence[FaceRecord], model: HeadModule,
    baselines: Path, output: Path,
) -> dict[str, np.ndarray]:
    """
    Fit unlabelled records and write the fits.

    :param records: unlabelled.
    :param labelled: labelled records, on which the teacher's displacements are measured.
    :param model: the head model.
    :param baselines: folder of the teachers.
    :param output: file.
    :return: the arrays that were written.
    """
    known = [record for record, used in zip(labelled, _by_hand(labelled), strict=True) if used]
    known = known[::max(1, len(known) // 300)]
    points = None
    if known:
        boxes = np.stack([landmark_box(record.points) for record in known])
        points = query_teachers([record.path for record in known], boxes, baselines).frontal
    fits = fit_portraits(records, model, baselines, points)
    save_fits(output, fits)
    return fits


def save_fits(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays as .npz, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Another process may be reading the file that this one replaces.
    unfinished = path.with_name(f'{path.stem}.unfinished.npz')
    np.savez_compressed(unfinished, **arrays)
    os.replace(unfinished, path)
