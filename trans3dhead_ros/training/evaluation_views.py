"""What a predictor says about a face: plain, and in views of it that need no labels to judge."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.geometry import euler_from_rotation, geodesic_distance_deg
from trans3dhead_ros.landmarks import INNER
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_ros.perception.detect import iou
from trans3dhead_ros.training import metrics
from trans3dhead_ros.training.data.sample import Sample
from trans3dhead_ros.training.negatives import MAXIMUM_OVERLAP
from trans3dhead_ros.training.predictors import Alignment, Predictor

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

TURN_DEG = 25.0
BOX_JITTER = 0.05
"""Share of the box's size by which the label-free test shifts it and scales it."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What a predictor said about one face, plain and under changes that need no labels."""

    sample: Sample
    plain: Alignment
    #: Geodesic degrees against the plain answer, two turns, one mirror image, two other boxes.
    turn_deg: tuple[float, ...] = ()
    mirror_deg: float | None = None
    box_deg: tuple[float, ...] = ()
    #: Change of the inner 51 points under another box, over the size of the face's box.
    box_points: tuple[float, ...] = ()
    #: Scores of views of the same picture that show no head.
    headless_scores: tuple[float, ...] = ()

    @property
    def yaw(self) -> float:
        """Yaw in degrees; nan where the predictor gives no rotation."""
        if self.plain.rotation is None:
            return float('nan')
        return float(euler_from_rotation(self.plain.rotation)[0])


def ask(predictor: Predictor, sample: Sample, label_free: bool = True) -> Answer:
    """
    Align one face in its true box and, if asked, under turns, in a mirror and with other boxes.

    :raises ValueError: the picture cannot be read.
    """
    image, points = sample.image(), outline(sample)
    plain = _align(predictor, image, points)
    if not label_free:
        return Answer(sample, plain)
    box_points, box_deg = [], []
    for moved in _jittered(points):
        other = _align(predictor, image, moved)
        box_points.append(float(metrics.mean_point_error(
            other.landmarks[INNER], plain.landmarks[INNER]) / metrics.box_size(points)))
        if other.rotation is not None:
            box_deg.append(float(geodesic_distance_deg(plain.rotation, other.rotation)))
    if plain.rotation is None:
        return Answer(sample, plain, box_points=tuple(box_points))
    headless = () if plain.score is None else tuple(
        predictor.predict(view, box[None])[0].score for view, box in headless_views(image, points))
    turned = (_align(predictor, *turn_picture(image, points, angle)).rotation
              for angle in (TURN_DEG, -TURN_DEG))
    mirrored = _align(predictor, np.ascontiguousarray(image[:, ::-1]),
                      np.array([image.shape[1] - 1, 0]) + points * [-1, 1]).rotation
    return Answer(
        sample, plain,
        turn_deg=tuple(float(metrics.turn_error_deg(plain.rotation, rotation, angle))
                       for rotation, angle in zip(turned, (TURN_DEG, -TURN_DEG), strict=True)),
        mirror_deg=float(metrics.mirror_error_deg(plain.rotation, mirrored)),
        box_deg=tuple(box_deg), box_points=tuple(box_points), headless_scores=headless)


def outline(sample: Sample) -> Array:
    """
    Return points (P, 2) px whose tight box is the face's, in this view and in a turned one.

    These are the labelled points; where a set has only a box, the ellipse that fills it, because
    the corners of a turned box would make it larger.
    """
    if sample.points is not None:
        return sample.points
    angle = np.arange(64) * (np.pi / 32)
    centre, radius = (sample.box[:2] + sample.box[2:]) / 2, (sample.box[2:] - sample.box[:2]) / 2
    return centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _align(predictor: Predictor, image: Image, points: Array) -> Alignment:
    return predictor.predict(image, landmark_box(points)[None])[0]


def _jittered(points: Array) -> list[Array]:
    """Points whose boxes are shifted and scaled by `BOX_JITTER`, one way and the other."""
    box = landmark_box(points)
    centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    return [centre + sign * BOX_JITTER * size + (points - centre) * (1 + sign * BOX_JITTER)
            for sign in (1, -1)]


def turn_picture(image: Image, points: Array, degrees: float) -> tuple[Image, Array]:
    """Turn a picture and its points about the face; cv2's sign, counter-clockwise on the screen."""
    box = landmark_box(points)
    centre = (box[:2] + box[2:]) / 2
    turn = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), degrees, 1.0)
    size = (image.shape[1], image.shape[0])
    return cv2.warpAffine(image, turn, size), points @ turn[:, :2].T + turn[:, 2]


def headless_views(image: Image, points: Array) -> list[tuple[Image, Array]]:
    """
    Return views of a picture and boxes (4,) in them that hold no head.

    A small box in each corner that overlaps the face by less than a fifth (IoU), the face covered
    with its mean colour, and the face cut into 8 × 8 blocks that change places.
    """
    height, width = image.shape[:2]
    box = landmark_box(points)
    side = 0.6 * float((box[2:] - box[:2]).max())
    views = []
    for corner in ((0, 0), (width - side, 0), (0, height - side), (width - side, height - side)):
        other = np.array([*corner, corner[0] + side, corner[1] + side])
        if iou(box[None], other[None])[0, 0] < MAXIMUM_OVERLAP:
            views.append((image, other))
    x0, y0 = np.floor(np.clip(box[:2], 0, [width - 9, height - 9])).astype(int)
    x1, y1 = np.ceil(np.clip(box[2:], [x0 + 8, y0 + 8], [width, height])).astype(int)
    covered, scrambled = image.copy(), image.copy()
    covered[y0:y1, x0:x1] = image[y0:y1, x0:x1].mean(axis=(0, 1))
    step_y, step_x = (y1 - y0) // 8, (x1 - x0) // 8
    for place, origin in enumerate(np.random.default_rng(0).permutation(64)):
        (to_y, to_x), (from_y, from_x) = divmod(place, 8), divmod(int(origin), 8)
        scrambled[y0 + to_y * step_y:, x0 + to_x * step_x:][:step_y, :step_x] = (
            image[y0 + from_y * step_y:, x0 + from_x * step_x:][:step_y, :step_x])
    return [*views, (covered, box), (scrambled, box)]
