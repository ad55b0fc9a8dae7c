"""What a predictor returns for a face, on the original image and on altered copies of it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import euler_from_rotation, geodesic_distance_deg, nearest_rotation
from trans3dhead_ros.landmarks import INNER
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_ros.types import Array, Image
from trans3dhead_training.core import metrics
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.evaluation.difficult_views import difficult_views
from trans3dhead_training.evaluation.image_perturbations import (
    TURN_DEG,
    corner_boxes,
    face_outline,
    faceless_copies,
    jittered_boxes,
    mirror_image,
    noisy_copies,
    off_boxes,
    rotate_image,
)
from trans3dhead_training.predictors import Alignment, Predictor


@dataclass(frozen=True, eq=False)
class FaceResult:
    """The prediction for one face, and how it changes under alterations that need no labels."""

    sample: Sample
    prediction: Alignment
    turn_deg: tuple[float, ...] = ()
    """Geodesic errors in degrees on the image rotated both ways."""
    mirror_deg: float | None = None
    """Geodesic error in degrees on the mirrored image."""
    box_deg: tuple[float, ...] = ()
    """Geodesic distances in degrees between the rotations from the true and from jittered boxes."""
    box_points: tuple[float, ...] = ()
    """Displacement of the inner 51 points under jittered boxes, over the size of the face's box."""
    off_rotations: tuple[Array, ...] = ()
    """Rotations (3, 3) from boxes that are off the face, see `off_boxes`."""
    noise_deg: float | None = None
    """RMS deviation in degrees over images that a still camera could have taken."""
    noise_points: float | None = None
    """RMS deviation of the inner 51 points over the same, over the size of the face's box."""
    headless_scores: tuple[float, ...] = ()
    """Scores of regions and copies of the same image that show no head."""
    difficult: Mapping[str, Alignment] = field(default_factory=dict)
    """The prediction in each of `difficult_views.VIEWS`, px of the original image; empty where the
    predictor states no uncertainty."""
    extra: dict[str, float] | None = None
    """Mesh errors as `compute_mesh_errors` names them, where the sample has a mesh, and the metrics
    of a dataset's own benchmark (`dad_metrics`)."""

    @property
    def yaw(self) -> float:
        """Predicted yaw in degrees; nan where the predictor returns no rotation."""
        if self.prediction.rotation is None:
            return float('nan')
        return float(euler_from_rotation(self.prediction.rotation)[0])


def check_labels(sample: Sample) -> None:
    """
    Check that the errors of a sample can be computed.

    :param sample: to check.
    :raises UserError: a label is not finite, or the face has no extent.
    """
    for name in ('points', 'contour', 'rotation', 'given_box', 'shape', 'expression'):
        value = getattr(sample, name)
        if name == 'points' and value is not None and not sample.points_are_3d:
            value = value if sample.visible is None else value[sample.visible]
        if value is not None and not np.isfinite(value).all():
            raise UserError(f'data: {name} of {sample.name} ({sample.source}) holds a value that '
                            'is not finite; correct or remove it')
    if not (np.ptp(face_outline(sample), axis=0) > 0).all():
        raise UserError(f'data: the face in {sample.name} ({sample.source}) has no extent; '
                        'correct or remove it')


def evaluate_face(
    predictor: Predictor, sample: Sample, image: Image | None = None, label_free: bool = True,
) -> FaceResult:
    """
    Align one face in its true box and, if requested, on altered images and boxes.

    Random alterations depend on the sample's name alone, so all predictors see the same ones. Those
    that state an uncertainty are also asked for the face in difficult views.

    :param predictor: to evaluate.
    :param sample: the face.
    :param image: the sample's image where it has been read already.
    :param label_free: also rotate, mirror and disturb the image, and jitter the box.
    :return: the prediction, and its changes.
    :raises UserError: the image cannot be read.
    """
    image = sample.image() if image is None else image
    points = face_outline(sample)
    box = landmark_box(points)
    if not label_free:
        prediction, = predictor.predict(image, box[None])
        return FaceResult(sample, prediction,
                          difficult=_in_difficult_views(predictor, sample, image, prediction))
    generator = np.random.default_rng(zlib.crc32(sample.name.encode()))
    jittered, corners = jittered_boxes(box, generator), corner_boxes(image, box)
    noisy = noisy_copies(image, generator)
    moved = [rotate_image(image, points, TURN_DEG), rotate_image(image, points, -TURN_DEG),
             mirror_image(image, points)]
    # In one batch, which a network processes faster than crop by crop.
    found, *rest = predictor.predict_batch([
        (image, np.concatenate([box[None], jittered, off_boxes(box), corners])),
        *((picture, landmark_box(outline)[None]) for picture, outline in moved),
        *((picture, box[None]) for picture, _ in noisy),
        *((picture, box[None]) for picture in faceless_copies(image, box))])
    prediction, found = found[0], found[1:]
    in_jittered, found = found[:len(jittered)], found[len(jittered):]
    in_off, in_corners = found[:len(off_boxes(box))], found[len(off_boxes(box)):]
    rest = [alignment for alignment, in rest]
    (turned, turned_back, mirrored), rest = rest[:3], rest[3:]
    in_noisy, in_faceless = rest[:len(noisy)], rest[len(noisy):]
    size = float(metrics.box_size(points))
    result = FaceResult(
        sample, prediction, difficult=_in_difficult_views(predictor, sample, image, prediction),
        box_points=tuple(float(metrics.mean_point_error(
            other.landmarks[INNER], prediction.landmarks[INNER]) / size) for other in in_jittered),
        noise_points=_rms_deviation(np.stack([
            alignment.landmarks[INNER] - shift
            for alignment, (_, shift) in zip(in_noisy, noisy, strict=True)])) / size,
        headless_scores=() if prediction.score is None else tuple(
            alignment.score for alignment in (*in_corners, *in_faceless)))
    if prediction.rotation is None:
        return result
    return replace(
        result,
        turn_deg=tuple(float(metrics.turn_error_deg(prediction.rotation, other.rotation, degrees))
                       for other, degrees in ((turned, TURN_DEG), (turned_back, -TURN_DEG))),
        off_rotations=tuple(other.rotation for other in in_off),
        mirror_deg=float(metrics.mirror_error_deg(prediction.rotation, mirrored.rotation)),
        box_deg=tuple(float(geodesic_distance_deg(prediction.rotation, other.rotation))
                      for other in in_jittered),
        noise_deg=_rms_deviation_deg(np.stack([alignment.rotation for alignment in in_noisy])))


def _in_difficult_views(
    predictor: Predictor, sample: Sample, image: Image, prediction: Alignment,
) -> dict[str, Alignment]:
    if prediction.landmark_scale is None:
        return {}
    views = difficult_views(image, face_outline(sample),
                            np.random.default_rng([1, zlib.crc32(sample.name.encode())]))
    found = predictor.predict_batch([(view.image, view.box[None]) for view in views.values()])
    return {name: view.to_original(alignment)
            for (name, view), (alignment,) in zip(views.items(), found, strict=True)}


def _rms_deviation(points: Array) -> float:
    """Return the RMS distance px of points (N, P, 2) from their means over N draws."""
    # Unbiased: deviations from the draws' own mean have N - 1 degrees of freedom.
    return float(np.sqrt(points.var(axis=0, ddof=1).sum(axis=-1).mean()))


def _rms_deviation_deg(rotations: Array) -> float:
    """Return the RMS distance in degrees of rotations (N, 3, 3) from their mean."""
    mean = np.broadcast_to(nearest_rotation(rotations.mean(axis=0)), rotations.shape)
    angles = geodesic_distance_deg(rotations, mean)
    return float(np.sqrt((angles ** 2).sum() / (len(angles) - 1)))
