"""The errors of many predictions as arrays, one row per face; nan where nothing can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trans3dhead_ros.geometry import euler_from_rotation, geodesic_distance_deg
from trans3dhead_ros.landmarks import COUNT, JAW, JAW_COUNT
from trans3dhead_ros.types import Array, BoolArray
from trans3dhead_training.core import metrics
from trans3dhead_training.evaluation.calibration import calibration_columns
from trans3dhead_training.evaluation.face_result import FaceResult


@dataclass(frozen=True, eq=False)
class FaceErrors:
    """The errors of one predictor on N faces."""

    faces: list[str]
    """Name of each face."""
    sources: list[str]
    """The part of the dataset that each face comes from."""
    groups: list[str]
    """The photograph or person that each face belongs to."""
    yaw_deg: Array
    """(N,) true yaw; nan where it is unknown."""
    columns: dict[str, Array]
    """(N,) or (N, K) by name; names end in the unit."""

    def __len__(self) -> int:
        return len(self.faces)

    def subset(self, mask: BoolArray) -> FaceErrors:
        """Return the faces that a mask (N,) selects."""
        rows = np.flatnonzero(mask)
        return FaceErrors(*([names[i] for i in rows]
                            for names in (self.faces, self.sources, self.groups)),
                          self.yaw_deg[rows], {n: v[rows] for n, v in self.columns.items()})


def collect_errors(results: Sequence[FaceResult]) -> FaceErrors:
    """Return the errors of results; columns without any value are left out."""
    columns = {**_landmark_errors(results), **_pose_errors(results), **_label_free(results),
               **_extra(results), **calibration_columns(results),
               'answered_yaw_deg': _column([result.yaw for result in results])}
    samples = [result.sample for result in results]
    return FaceErrors(
        faces=[sample.name for sample in samples], sources=[sample.source for sample in samples],
        groups=[sample.group for sample in samples],
        yaw_deg=np.array([
            np.nan if sample.rotation is None else decode_label_euler(sample.rotation[None])[0, 0]
            for sample in samples]),
        columns={name: values for name, values in columns.items() if not np.isnan(values).all()})


def decode_label_euler(rotation: Array) -> Array:
    """
    Decode true rotations to the Euler angles that a dataset would state.

    Beyond ±90° of yaw the plain decode folds to an upside-down head. Of the two triples of one
    rotation this returns the one with the smaller largest angle, so that a label of 95° stays 95°.

    :param rotation: (N, 3, 3).
    :return: (N, 3) yaw, pitch, roll in degrees.
    """
    plain = euler_from_rotation(rotation)
    other = (plain * [-1, 1, 1] + 360) % 360 - 180
    smaller = np.abs(other).max(axis=-1) < np.abs(plain).max(axis=-1)
    return np.where(smaller[:, None], other, plain)


def _landmark_errors(results: Sequence[FaceResult]) -> dict[str, Array]:
    samples = [result.sample for result in results]
    true = _stack([s.labelled_points for s in samples], (COUNT, 2))
    known = ~np.isnan(true).any(axis=-1)
    labelled = known.any(axis=1)
    if not labelled.any():
        return {}
    in_3d = np.array([sample.points_are_3d for sample in samples])
    landmarks = np.stack([result.prediction.landmarks for result in results])
    contour = _stack([result.prediction.contour for result in results], (COUNT, 2))
    has_contour = ~np.isnan(contour).all(axis=(1, 2))
    true_contour = true.copy()
    jaws = _stack([sample.contour for sample in samples], (JAW_COUNT, 2))
    true_contour[in_3d, JAW] = jaws[in_3d]
    size = metrics.box_size(true)
    partial = labelled & ~known.all(axis=1)
    some = np.full(len(samples), np.nan)
    if partial.any():
        points = np.where(has_contour[:, None, None], contour, landmarks)
        some[partial] = metrics.nme_labelled(points[partial], true[partial])
    errors = {
        'nme_68_percent': metrics.nme_68(landmarks, true),
        'nme_68_contour_percent': metrics.mean_point_error(contour, true_contour) / size,
        'inner_51_percent': metrics.nme_inner(landmarks, true),
        'inner_51_interocular_percent': metrics.nme_inner_interocular(landmarks, true),
        'labelled_percent': some,
    }
    # A prediction that is not finite is the worst one; it must not drop out of a mean.
    invalid = labelled & ~np.isfinite(landmarks).all(axis=(1, 2))
    for name, values in errors.items():
        rows = invalid & (partial if name == 'labelled_percent' else ~partial)
        errors[name] = 100 * np.where(rows & has_contour if 'contour' in name else rows, np.inf,
                                      values)
    # Each face by the definition of its own labels; predictors without a contour by what they have.
    errors['nme_68_as_labelled_percent'] = np.where(
        in_3d | ~has_contour, errors['nme_68_percent'], errors['nme_68_contour_percent'])
    # Sets labelled in 2D are scored by the inner points, those labelled in 3D by all; a face that
    # is labelled in part, by what is labelled.
    errors['scored_percent'] = np.where(partial, errors['labelled_percent'], np.where(
        in_3d, errors['nme_68_percent'], errors['inner_51_interocular_percent']))
    offset = 100 * metrics.inner_offset(landmarks, true)
    return errors | {'inner_51_offset_x_percent': offset[:, 0],
                     'inner_51_offset_y_percent': offset[:, 1]}


def _pose_errors(results: Sequence[FaceResult]) -> dict[str, Array]:
    true = _stack([result.sample.rotation for result in results], (3, 3))
    predicted = _stack([result.prediction.rotation for result in results], (3, 3))
    given = np.array([result.prediction.rotation is not None for result in results])
    known = given & ~np.isnan(true).any(axis=(1, 2))
    columns = {name: np.full((len(results), *shape), np.nan) for name, shape in
               {'euler_deg': (3,), 'true_euler_deg': (3,), 'answered_euler_deg': (3,),
                'geodesic_deg': (), 'rotation_frobenius': ()}.items()}
    off = [_off_errors(result) for result in results]
    columns['off_box_deg'] = _pad([from_own for from_own, _ in off])
    columns['off_geodesic_deg'] = _pad([from_true for _, from_true in off])
    if known.any():
        true, predicted = true[known], predicted[known]
        true_deg = decode_label_euler(true)
        counted = (np.abs(true_deg) <= metrics.POSE_LIMIT_DEG).all(axis=-1)
        answered_deg = euler_from_rotation(predicted)
        for name, values in (('true_euler_deg', true_deg), ('answered_euler_deg', answered_deg)):
            columns[name][np.flatnonzero(known)[counted]] = values[counted]
        for name, rows, values in (
                ('geodesic_deg', known, geodesic_distance_deg(predicted, true)),
                ('rotation_frobenius', known, metrics.rotation_frobenius(predicted, true)),
                ('euler_deg', np.flatnonzero(known)[counted],
                 metrics.pose_absolute_error(answered_deg, true_deg))):
            columns[name][rows] = np.where(np.isnan(values), np.inf, values)
    return columns


def _off_errors(result: FaceResult) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return how far off the rotations from boxes off the face are: from the own, and the true."""
    own, true = result.prediction.rotation, result.sample.rotation
    from_own, from_true = (
        () if rotation is None else tuple(
            float(geodesic_distance_deg(rotation, other)) for other in result.off_rotations)
        for rotation in (own, true))
    return from_own, from_true


def _label_free(results: Sequence[FaceResult]) -> dict[str, Array]:
    return {
        'turn_deg': _pad([r.turn_deg for r in results]),
        'mirror_deg': _column([r.mirror_deg for r in results]),
        'box_deg': _pad([r.box_deg for r in results]),
        'box_inner_51_percent': 100 * _pad([r.box_points for r in results]),
        'noise_deg': _column([r.noise_deg for r in results]),
        'noise_inner_51_percent': 100 * _column([r.noise_points for r in results]),
        'score': _column([r.prediction.score for r in results]),
        'headless_score': _pad([r.headless_scores for r in results]),
    }


def _extra(results: Sequence[FaceResult]) -> dict[str, Array]:
    names = sorted({name for result in results for name in result.extra or {}})
    return {name: _column([(result.extra or {}).get(name) for result in results])
            for name in names}


def _stack(values: Sequence[Array | None], shape: tuple[int, ...]) -> Array:
    """Stack arrays of one shape; None becomes nan."""
    return np.stack([np.full(shape, np.nan) if value is None else np.asarray(value, float)
                     for value in values])


def _column(values: Sequence[float | None]) -> Array:
    """Return numbers as (N,); None becomes nan."""
    return np.array([np.nan if value is None else value for value in values], float)


def _pad(rows: Sequence[tuple[float, ...]]) -> Array:
    """Return rows of any length as (N, K), padded with nan."""
    result = np.full((len(rows), max((len(row) for row in rows), default=0) or 1), np.nan)
    for padded, row in zip(result, rows, strict=True):
        padded[:len(row)] = row
    return result
