"""What a predictor says about a face: plain, and in views of it that need no labels to judge."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.geometry import euler_from_rotation, geodesic_distance_deg, nearest_rotation
from trans3dhead_ros.landmarks import INNER
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_ros.training import metrics
from trans3dhead_ros.training.data.sample import Sample
from trans3dhead_ros.training.evaluation.views import (
    TURN_DEG,
    corner_boxes,
    faceless_copies,
    jittered_boxes,
    mirror_picture,
    noisy_copies,
    outline,
    turn_picture,
)
from trans3dhead_ros.training.predictors import Alignment, Predictor

Array = NDArray[np.float64]
Image = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Answer:
    """What a predictor said about one face, plain and under changes that need no labels."""

    sample: Sample
    plain: Alignment
    #: Geodesic degrees against the plain answer: two turns, one mirror image, other boxes.
    turn_deg: tuple[float, ...] = ()
    mirror_deg: float | None = None
    box_deg: tuple[float, ...] = ()
    #: Change of the inner 51 points under other boxes, over the size of the face's box.
    box_points: tuple[float, ...] = ()
    #: Deviation over pictures that a still camera could have taken: RMS degrees, and RMS distance
    #: of the inner 51 points over the size of the face's box.
    noise_deg: float | None = None
    noise_points: float | None = None
    #: Scores of views of the same picture that show no head.
    headless_scores: tuple[float, ...] = ()
    #: Errors of the mesh, where the sample has one, by the names of `dense.measure_mesh`; and what
    #: a set's own benchmark measures, by the names in `dad_3dheads`.
    mesh: dict[str, float] | None = None

    @property
    def yaw(self) -> float:
        """Yaw in degrees; nan where the predictor gives no rotation."""
        if self.plain.rotation is None:
            return float('nan')
        return float(euler_from_rotation(self.plain.rotation)[0])


def ask(
    predictor: Predictor, sample: Sample, image: Image | None = None, label_free: bool = True,
) -> Answer:
    """
    Align one face in its true box and, if asked, turned, mirrored, with other boxes and with noise.

    What is drawn depends on the sample's name alone, so that all predictors see the same.

    :param image: the sample's picture where it has been read already.
    :raises ValueError: the picture cannot be read.
    """
    image = sample.image() if image is None else image
    box = landmark_box(outline(sample))
    if not label_free:
        return Answer(sample, predictor.predict(image, box[None])[0])
    generator = np.random.default_rng(zlib.crc32(sample.name.encode()))
    others, corners = jittered_boxes(box, generator), corner_boxes(image, box)
    plain, *rest = predictor.predict(image, np.concatenate([box[None], others, corners]))
    under_boxes, in_corners = rest[:len(others)], rest[len(others):]
    size = metrics.box_size(outline(sample))
    noise_points, noise_deg = _noise(predictor, image, box, size, generator)
    return Answer(
        sample, plain, **_turned_and_mirrored(predictor, plain, image, outline(sample)),
        box_deg=() if plain.rotation is None else tuple(
            float(geodesic_distance_deg(plain.rotation, other.rotation)) for other in under_boxes),
        box_points=tuple(float(metrics.mean_point_error(
            other.landmarks[INNER], plain.landmarks[INNER]) / size) for other in under_boxes),
        noise_deg=noise_deg, noise_points=noise_points,
        headless_scores=() if plain.score is None else (
            *(other.score for other in in_corners),
            *(predictor.predict(copy, box[None])[0].score for copy in faceless_copies(image, box))))


def _turned_and_mirrored(
    predictor: Predictor, plain: Alignment, image: Image, points: Array,
) -> dict[str, tuple[float, ...] | float]:
    if plain.rotation is None:
        return {}
    turned = [_rotation(predictor, *turn_picture(image, points, angle))
              for angle in (TURN_DEG, -TURN_DEG)]
    return {
        'turn_deg': tuple(float(metrics.turn_error_deg(plain.rotation, rotation, angle))
                          for rotation, angle in zip(turned, (TURN_DEG, -TURN_DEG), strict=True)),
        'mirror_deg': float(metrics.mirror_error_deg(
            plain.rotation, _rotation(predictor, *mirror_picture(image, points))))}


def _rotation(predictor: Predictor, image: Image, points: Array) -> Array:
    return predictor.predict(image, landmark_box(points)[None])[0].rotation


def _noise(
    predictor: Predictor, image: Image, box: Array, size: float, generator: np.random.Generator,
) -> tuple[float, float | None]:
    """Return the RMS deviation of the inner points over `size`, and of the rotation in degrees."""
    found = [(predictor.predict(copy, box[None])[0], shift)
             for copy, shift in noisy_copies(image, generator)]
    points = np.stack([answer.landmarks[INNER] - shift for answer, shift in found])
    # N draws about their own mean have N - 1 degrees of freedom.
    spread = np.sqrt((points.var(axis=0, ddof=1).sum(axis=-1)).mean()) / size
    if found[0][0].rotation is None:
        return float(spread), None
    rotations = np.stack([answer.rotation for answer, _ in found])
    angles = geodesic_distance_deg(rotations, np.broadcast_to(
        nearest_rotation(rotations.mean(axis=0)), rotations.shape))
    return float(spread), float(np.sqrt((angles ** 2).sum() / (len(angles) - 1)))
