"""What a predictor says about a face: plain, and in views of it that need no labels to judge."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.geometry import euler_from_rotation, geodesic_distance_deg, nearest_rotation
from trans3dhead_ros.landmarks import INNER
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_training.core import metrics
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.evaluation.views import (
    TURN_DEG,
    corner_boxes,
    faceless_copies,
    jittered_boxes,
    mirror_picture,
    noisy_copies,
    outline,
    turn_picture,
)
from trans3dhead_training.predictors import Alignment, Predictor

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
    points = outline(sample)
    box = landmark_box(points)
    if not label_free:
        return Answer(sample, predictor.predict(image, box[None])[0])
    generator = np.random.default_rng(zlib.crc32(sample.name.encode()))
    others, corners = jittered_boxes(box, generator), corner_boxes(image, box)
    noisy = noisy_copies(image, generator)
    changed = [turn_picture(image, points, TURN_DEG), turn_picture(image, points, -TURN_DEG),
               mirror_picture(image, points)]
    # All at once, because a network takes a batch faster than its crops one by one.
    plain, *rest = predictor.predict_each([
        (image, np.concatenate([box[None], others, corners])),
        *((picture, landmark_box(moved)[None]) for picture, moved in changed),
        *((picture, box[None]) for picture, _ in noisy),
        *((picture, box[None]) for picture in faceless_copies(image, box))])
    plain, under_boxes, in_corners = (
        plain[0], plain[1:1 + len(others)], plain[1 + len(others):])
    (turned, turned_back, mirrored), rest = [found for found, in rest[:3]], rest[3:]
    noise, faceless = [found for found, in rest[:len(noisy)]], rest[len(noisy):]
    size = float(metrics.box_size(points))
    answer = Answer(
        sample, plain,
        box_points=tuple(float(metrics.mean_point_error(
            other.landmarks[INNER], plain.landmarks[INNER]) / size) for other in under_boxes),
        noise_points=_spread(
            np.stack([found.landmarks[INNER] - shift
                      for found, (_, shift) in zip(noise, noisy, strict=True)])) / size,
        headless_scores=() if plain.score is None else (
            *(found.score for found in in_corners), *(found.score for found, in faceless)))
    if plain.rotation is None:
        return answer
    return replace(
        answer,
        turn_deg=(float(metrics.turn_error_deg(plain.rotation, turned.rotation, TURN_DEG)),
                  float(metrics.turn_error_deg(plain.rotation, turned_back.rotation, -TURN_DEG))),
        mirror_deg=float(metrics.mirror_error_deg(plain.rotation, mirrored.rotation)),
        box_deg=tuple(
            float(geodesic_distance_deg(plain.rotation, other.rotation)) for other in under_boxes),
        noise_deg=_spread_deg(np.stack([found.rotation for found in noise])))


def _spread(points: Array) -> float:
    """Return the RMS distance px of points (N, P, 2) from their means over N draws."""
    # N draws about their own mean have N - 1 degrees of freedom.
    return float(np.sqrt(points.var(axis=0, ddof=1).sum(axis=-1).mean()))


def _spread_deg(rotations: Array) -> float:
    """Return the RMS distance in degrees of rotations (N, 3, 3) from their mean."""
    mean = np.broadcast_to(nearest_rotation(rotations.mean(axis=0)), rotations.shape)
    angles = geodesic_distance_deg(rotations, mean)
    return float(np.sqrt((angles ** 2).sum() / (len(angles) - 1)))
