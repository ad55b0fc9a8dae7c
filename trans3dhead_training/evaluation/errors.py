"""The errors of many answers as arrays, one row a face; nan where there is nothing to compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.geometry import euler_from_rotation, geodesic_distance_deg
from trans3dhead_ros.landmarks import COUNT, JAW, JAW_COUNT
from trans3dhead_training.core import metrics
from trans3dhead_training.evaluation.predictions import Answer
from trans3dhead_training.evaluation.uncertainty import calibration_columns

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Errors:
    """
    What N answers of one predictor got wrong.

    :ivar faces: (N,) name of each face. :ivar sources: (N,). :ivar groups: (N,).
    :ivar yaw_deg: (N,) true yaw; nan where it is unknown.
    :ivar columns: (N,) or (N, K) by name; names end in the unit.
    """

    faces: list[str]
    sources: list[str]
    groups: list[str]
    yaw_deg: Array
    columns: dict[str, Array]

    def __len__(self) -> int:
        return len(self.faces)

    def part(self, chosen: Array) -> Errors:
        """Return the faces that a mask (N,) chooses."""
        rows = np.flatnonzero(chosen)
        return Errors(*([names[i] for i in rows]
                        for names in (self.faces, self.sources, self.groups)),
                      self.yaw_deg[rows], {n: v[rows] for n, v in self.columns.items()})


def gather(answers: Sequence[Answer]) -> Errors:
    """Return the errors of answers; columns that no answer fills are left out."""
    columns = {**_landmarks(answers), **_pose(answers), **_label_free(answers), **_mesh(answers),
               **calibration_columns(answers)}
    samples = [answer.sample for answer in answers]
    return Errors(
        faces=[sample.name for sample in samples], sources=[sample.source for sample in samples],
        groups=[sample.group for sample in samples],
        yaw_deg=np.array([np.nan if s.rotation is None else labelled_euler(s.rotation[None])[0, 0]
                          for s in samples]),
        columns={name: values for name, values in columns.items() if not np.isnan(values).all()})


def labelled_euler(rotation: Array) -> Array:
    """
    Decode true rotations (N, 3, 3) to the angles (N, 3) in degrees that a labeller would write.

    Beyond ±90° of yaw the plain decode folds to an upside-down head; of the two triples of one
    rotation this returns the one with the smaller largest angle, so that a label of 95° stays 95°.
    """
    plain = euler_from_rotation(rotation)
    other = (plain * [-1, 1, 1] + 360) % 360 - 180
    smaller = np.abs(other).max(axis=-1) < np.abs(plain).max(axis=-1)
    return np.where(smaller[:, None], other, plain)


def _landmarks(answers: Sequence[Answer]) -> dict[str, Array]:
    samples = [answer.sample for answer in answers]
    true = _stacked([s.points for s in samples], (COUNT, 2))
    labelled = ~np.isnan(true).any(axis=(1, 2))
    if not labelled.any():
        return {}
    in_3d = np.array([sample.points_are_3d for sample in samples])
    landmarks = np.stack([answer.plain.landmarks for answer in answers])
    contour = _stacked([answer.plain.contour for answer in answers], (COUNT, 2))
    gives_contour = ~np.isnan(contour).all(axis=(1, 2))
    on_contour = true.copy()
    jaws = _stacked([sample.contour for sample in samples], (JAW_COUNT, 2))
    on_contour[in_3d, JAW] = jaws[in_3d]
    size = metrics.box_size(true)
    errors = {
        'nme_68_percent': metrics.nme_68(landmarks, true),
        'nme_68_contour_percent': metrics.mean_point_error(contour, on_contour) / size,
        'inner_51_percent': metrics.nme_inner(landmarks, true),
        'inner_51_interocular_percent': metrics.nme_inner_interocular(landmarks, true),
    }
    # An answer that is no number is the worst one, never one that drops out of a mean.
    missing = labelled & ~np.isfinite(landmarks).all(axis=(1, 2))
    errors = {name: 100 * np.where(missing & gives_contour if 'contour' in name else missing,
                                   np.inf, values) for name, values in errors.items()}
    # Each face by the definition of its own labels; a predictor without a contour by what it has.
    errors['nme_68_as_labelled_percent'] = np.where(
        in_3d | ~gives_contour, errors['nme_68_percent'], errors['nme_68_contour_percent'])
    # Sets labelled in 2D are scored by the inner points, those labelled in 3D by all.
    errors['scored_percent'] = np.where(
        in_3d, errors['nme_68_percent'], errors['inner_51_interocular_percent'])
    offset = 100 * metrics.inner_offset(landmarks, true)
    return errors | {'inner_51_offset_x_percent': offset[:, 0],
                     'inner_51_offset_y_percent': offset[:, 1]}


def _pose(answers: Sequence[Answer]) -> dict[str, Array]:
    true = _stacked([answer.sample.rotation for answer in answers], (3, 3))
    predicted = _stacked([answer.plain.rotation for answer in answers], (3, 3))
    given = np.array([answer.plain.rotation is not None for answer in answers])
    known = given & ~np.isnan(true).any(axis=(1, 2))
    result = {name: np.full((len(answers), *shape), np.nan) for name, shape in
              {'euler_deg': (3,), 'geodesic_deg': (), 'rotation_frobenius': ()}.items()}
    if known.any():
        true, predicted = true[known], predicted[known]
        true_deg = labelled_euler(true)
        counted = (np.abs(true_deg) <= metrics.POSE_LIMIT_DEG).all(axis=-1)
        for name, rows, values in (
                ('geodesic_deg', known, geodesic_distance_deg(predicted, true)),
                ('rotation_frobenius', known, metrics.rotation_frobenius(predicted, true)),
                ('euler_deg', np.flatnonzero(known)[counted],
                 metrics.pose_absolute_error(euler_from_rotation(predicted), true_deg))):
            result[name][rows] = np.where(np.isnan(values), np.inf, values)
    return result


def _label_free(answers: Sequence[Answer]) -> dict[str, Array]:
    return {
        'turn_deg': _ragged([a.turn_deg for a in answers]),
        'mirror_deg': _ragged([() if a.mirror_deg is None else (a.mirror_deg,) for a in answers]),
        'box_deg': _ragged([a.box_deg for a in answers]),
        'box_inner_51_percent': 100 * _ragged([a.box_points for a in answers]),
        'noise_deg': _ragged([() if a.noise_deg is None else (a.noise_deg,) for a in answers]),
        'noise_inner_51_percent': 100 * _ragged(
            [() if a.noise_points is None else (a.noise_points,) for a in answers]),
        'score': np.array([np.nan if a.plain.score is None else a.plain.score for a in answers]),
        'headless_score': _ragged([a.headless_scores for a in answers]),
    }


def _mesh(answers: Sequence[Answer]) -> dict[str, Array]:
    names = sorted({name for answer in answers for name in answer.mesh or {}})
    return {name: np.array([(answer.mesh or {}).get(name, np.nan) for answer in answers])
            for name in names}


def _stacked(values: Sequence[Array | None], shape: tuple[int, ...]) -> Array:
    """Stack arrays of one shape; what is None becomes nan."""
    return np.stack([np.full(shape, np.nan) if value is None else np.asarray(value, float)
                     for value in values])


def _ragged(rows: Sequence[tuple[float, ...]]) -> Array:
    """Return rows of any length as (N, K), filled up with nan."""
    result = np.full((len(rows), max((len(row) for row in rows), default=0) or 1), np.nan)
    for filled, row in zip(result, rows, strict=True):
        filled[:len(row)] = row
    return result
