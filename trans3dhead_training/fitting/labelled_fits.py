"""Fits of every labelled face and of its mirror image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from trans3dhead_ros.atomic_files import replacing
from trans3dhead_ros.landmarks import MIRROR_68
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_training.data.labels import NEVER_HELD_OUT, FaceRecord
from trans3dhead_training.fitting.fit import Fit, fit_landmarks
from trans3dhead_training.fitting.fit_quality import rejection_reasons
from trans3dhead_training.fitting.fit_solver import FitConfig
from trans3dhead_training.fitting.portrait_fits import fit_portraits
from trans3dhead_training.fitting.source_conventions import (
    HAND,
    convention_arrays,
    convert_points,
    measure_sources,
)
from trans3dhead_training.fitting.teachers import query_teachers


def fit_records(
    records: Sequence[FaceRecord], model: HeadModule, baselines: Path | None = None,
) -> dict[str, np.ndarray]:
    """
    Fit labelled records and their mirror images.

    :param records: N labelled faces.
    :param model: the head model.
    :param baselines: folder of the teachers that the fits are compared with; None compares none.
    :return: `files` (N,); `common_points` (N, 68, 2) px, the labels, automatic ones converted to
        the convention of hand labels; `offsets` (51, 3) m, displacements of hand-labelled inner
        points in a frontal face; `convention_...` of each source (`stored_convention`), measured
        without held-out faces; and arrays (N, 2, ...), [:, 0] of the face, [:, 1] of its mirror
        image: the fields of `Fit`, `reason` ('' is accepted), `accepted`, and `displacement`
        (N, 2, 51, 3) and `jaw_displacement` (N, 2, 17, 3) m, head frame, from the model's landmarks
        and visible contour to `common_points`.
    """
    points = np.stack([record.points for record in records])
    teachers = None
    if baselines is not None:
        boxes = np.stack([landmark_box(face) for face in points])
        teachers = query_teachers([record.path for record in records], boxes, baselines)
    sources = np.array([record.source for record in records])
    conventions = measure_sources(
        model, points, sources, np.array([not record.is_validation for record in records]),
        ~np.isin(sources, sorted(NEVER_HELD_OUT)), None if teachers is None else teachers.rotation)
    mirror = points[:, MIRROR_68] * [-1.0, 1.0]
    common = points.copy()
    columns: dict[str, np.ndarray] = {}
    with tqdm(total=2 * len(points), desc='fit', unit='face', disable=None) as bar:
        for source, rows, side in _batches(sources):
            own = conventions[source]
            given = torch.from_numpy((points, mirror)[side][rows]).float()
            fit = fit_landmarks(model, given, convention=own)
            target = conventions[HAND] if source in NEVER_HELD_OUT else own
            if source in NEVER_HELD_OUT and side == 0:
                common[rows] = convert_points(model, points[rows], fit, own, target)
            values = {field.name: getattr(fit, field.name) for field in fields(Fit)}
            values['displacement'] = target.inner_at(fit.rotation)
            values['jaw_displacement'] = target.jaw_at(fit.rotation)
            for name, value in values.items():
                column = columns.setdefault(name, np.zeros(
                    (len(points), 2, *value.shape[1:]), np.float32))
                column[rows, side] = value.numpy()
            bar.update(len(rows))
    result = {'files': np.array([record.file for record in records]),
              'offsets': conventions[HAND].inner[0].numpy(), **convention_arrays(conventions),
              'common_points': common, **columns}
    own, mirrored = (fit_from_arrays(result, side) for side in (0, 1))
    why = rejection_reasons(own, common, teachers)
    # Both or none: a face is unreliable if the fit of its mirror image is.
    why = np.where(why == '', rejection_reasons(mirrored, mirror), why)
    result['reason'] = np.repeat(why[:, None], 2, axis=1)
    result['accepted'] = result['reason'] == ''
    return result


def _batches(sources: np.ndarray) -> Iterator[tuple[str, np.ndarray, int]]:
    """Yield (source, rows, side) that cover both sides of all faces, each of one source."""
    size = FitConfig().batch
    for source in dict.fromkeys(sources.tolist()):
        rows = np.flatnonzero(sources == source)
        for start in range(0, len(rows), size):
            for side in (0, 1):
                yield source, rows[start:start + size], side


def fit_from_arrays(arrays: dict[str, np.ndarray], side: int | None = None) -> Fit:
    """Convert the arrays of `fit_records` to fits; side 1 are the mirror images, None both."""
    rows = slice(None) if side is None else (slice(None), side)
    return Fit(*(torch.from_numpy(np.ascontiguousarray(arrays[field.name][rows]))
                 for field in fields(Fit)))


def _by_hand(records: Sequence[FaceRecord]) -> np.ndarray:
    """Return a mask (N,) of what is labelled by hand and not held out."""
    return np.array([record.source not in NEVER_HELD_OUT and not record.is_validation
                     for record in records], dtype=bool)


def write_portraits(
    records: Sequence[FaceRecord], labelled: Sequence[FaceRecord], model: HeadModule,
    baselines: Path, output: Path,
) -> dict[str, np.ndarray]:
    """
    Fit unlabelled records and write the fits.

    :param records: unlabelled.
    :param labelled: labelled records, on which the teacher's convention is measured.
    :param model: the head model.
    :param baselines: folder of the teachers.
    :param output: file.
    :return: the arrays that were written.
    """
    known = [record for record, used in zip(labelled, _by_hand(labelled), strict=True) if used]
    known = known[::max(1, len(known) // 300)]
    points, rotations = None, None
    if known:
        boxes = np.stack([landmark_box(record.points) for record in known])
        teachers = query_teachers([record.path for record in known], boxes, baselines)
        points, rotations = teachers.frontal, teachers.rotation
    fits = fit_portraits(records, model, baselines, points, rotations)
    save_fits(output, fits)
    return fits


def save_fits(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays as .npz atomically: another process may be reading the file."""
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)
