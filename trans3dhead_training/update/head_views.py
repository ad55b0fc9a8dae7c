"""One head seen several times: mirrored, turned, moved, nearer, in other light; and the average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from trans3dhead_ros.geometry import geodesic_distance_deg, mirrored, nearest_rotation
from trans3dhead_ros.landmarks import MIRROR_68
from trans3dhead_ros.perception.aligner import Alignments, HeadAligner
from trans3dhead_ros.perception.crop import crop_roll, upright_box
from trans3dhead_ros.types import Array, Image
from trans3dhead_training.data.head_dataset import SamplingConfig

_NORMAL_LIGHT, _MAX_GAIN, _ALIKE_GAIN = 110.0, 8.0, 1.25
_NOISY_GAIN = 2.5
# Part of the box's size by which an answer may differ before it counts less.
_OUTLYING = 0.02
_ROUNDS = 3


@dataclass(frozen=True)
class View:
    """How a head is looked at."""

    mirror: bool = False
    """Whether the picture is mirrored."""
    turn_deg: float = 0.0
    """By which the crop is turned."""
    shift: tuple[float, float] = (0.0, 0.0)
    """Of the crop, in sides of the box."""
    zoom: float = 1.0
    """Factor on the crop's side."""
    relight: bool = False
    """Whether light and contrast are changed to normal ones."""


FEW_VIEWS = (View(), View(mirror=True, turn_deg=8.0), View(turn_deg=-10.0, zoom=1.1),
             View(mirror=True, shift=(0.05, -0.05), relight=True))
"""Views that tell whether the network is sure of a head."""
MANY_VIEWS = tuple(
    View(mirror, turn, shift, zoom, relight)
    for relight in (False, True) for mirror in (False, True)
    for turn, shift, zoom in ((0.0, (0.0, 0.0), 1.0), (-12.0, (0.04, 0.02), 1.06),
                              (12.0, (-0.04, -0.02), 0.95), (5.0, (0.0, -0.05), 1.12)))
"""Views whose average is a label."""


@dataclass(frozen=True, eq=False)
class ViewAverage:
    """What the views of one head agree on, in px of its picture."""

    points: Array
    """(68, 2) px, jaw on the visible contour."""
    rotation: Array
    """(3, 3) head → camera optical frame, as the crop shows it."""
    score: float
    """Median of the scores, 0…1."""
    spread: float
    """RMS distance of the answers from `points`, over the size of the box."""
    rotation_spread_deg: float
    """RMS distance of the rotations from `rotation`."""


def average_views(
    aligner: HeadAligner, image: Image, points: Array, rotation: Array, views: Sequence[View],
) -> ViewAverage:
    """
    Ask the network about several views of one head, and average its answers.

    Answers that stand apart count less, and those whose points the network is unsure of.

    :param aligner: the network.
    :param image: (H, W, 3) BGR.
    :param points: (68, 2) px, about where they are.
    :param rotation: (3, 3) about how the head is turned, as the crop shows it.
    :param views: at least one.
    :return: the average.
    """
    roll = float(np.rad2deg(np.arctan2(rotation[0, 2], -rotation[1, 2])))
    roll = float(crop_roll(np.array([roll]))[0])
    box = upright_box(points[None], np.array([roll]))[0]
    found = _answers(aligner, image, box, roll, views)
    points = found.contour
    size = float(np.sqrt(np.prod(np.ptp(np.median(points, axis=0), axis=0)))) + 1e-9
    trust = 1.0 / np.maximum(found.landmark_scale.mean(axis=1) / size, 1e-3) ** 2
    weight = trust / trust.sum()
    for _ in range(_ROUNDS):
        mean = np.einsum('v,vpc->pc', weight, points)
        away = np.sqrt(((points - mean) ** 2).sum(-1).mean(-1)) / size
        weight = trust / (1.0 + (away / _OUTLYING) ** 2)
        weight = weight / weight.sum()
    turn = nearest_rotation(np.einsum('v,vij->ij', weight, found.rotation))
    turned = geodesic_distance_deg(found.rotation, np.broadcast_to(turn, found.rotation.shape))
    return ViewAverage(mean, turn, float(np.median(found.score)),
                       float(np.sqrt((away ** 2).mean())),
                       float(np.sqrt((turned ** 2).mean())))


def relit(image: Image, box: Array) -> Image:
    """
    Return a picture whose head is as bright as in daylight; a bright one gets another contrast.

    :param image: (H, W, 3) BGR.
    :param box: (4,) landmark box, px.
    :return: (H, W, 3) BGR.
    """
    height, width = image.shape[:2]
    x0, y0, x1, y1 = np.clip(np.round(box), 0, [width, height, width, height]).astype(int)
    head = image[y0:max(y1, y0 + 1), x0:max(x1, x0 + 1)]
    brightness = float(head.mean()) if head.size else _NORMAL_LIGHT
    gain = min(_NORMAL_LIGHT / max(brightness, 1.0), _MAX_GAIN)
    if 1 / _ALIKE_GAIN < gain < _ALIKE_GAIN:
        lab = cv2.cvtColor(image, cv2.COLOR_BGR2LAB)
        lab[..., 0] = cv2.createCLAHE(2.0, (4, 4)).apply(np.ascontiguousarray(lab[..., 0]))
        return cv2.cvtColor(lab, cv2.COLOR_LAB2BGR)
    if gain > _NOISY_GAIN:
        image = cv2.GaussianBlur(image, (0, 0), 0.8)
    return cv2.convertScaleAbs(image, alpha=gain)


def _answers(
    aligner: HeadAligner, image: Image, box: Array, roll: float, views: Sequence[View],
) -> Alignments:
    """Return the answers of all views, in px of the picture itself."""
    kinds = sorted({(view.mirror, view.relight) for view in views})
    requests = []
    for mirror, relight in kinds:
        own = [view for view in views if (view.mirror, view.relight) == (mirror, relight)]
        picture = relit(image, box) if relight else image
        width = image.shape[1]
        start = np.array([width - 1 - box[2], box[1], width - 1 - box[0], box[3]]) \
            if mirror else box
        picture = np.ascontiguousarray(picture[:, ::-1]) if mirror else picture
        requests.append((picture, np.stack([_moved(start, view) for view in own]),
                         np.array([view.turn_deg - roll if mirror else view.turn_deg + roll
                                   for view in own])))
    found = [_unmirrored(answer, image.shape[1]) if mirror else answer
             for answer, (mirror, _) in zip(aligner.align_images(requests), kinds, strict=True)]
    return Alignments.join(found)


def _moved(box: Array, view: View) -> Array:
    centre, side = (box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max())
    centre = centre + np.array(view.shift) * side
    half = view.zoom * (box[2:] - box[:2]) / 2
    return np.concatenate([centre - half, centre + half])


def _unmirrored(found: Alignments, width: int) -> Alignments:
    """Return answers on a mirrored picture in px of the picture; coefficients stay mirrored."""
    values = dict(vars(found))
    side = np.ptp(found.landmarks[..., :2], axis=1).max(-1)
    # Labels lie to the right of what they mark in a mirrored picture too.
    right = width - 1 + 2 * SamplingConfig().label_offset * side[:, None]
    landmarks = found.landmarks[:, list(MIRROR_68)].copy()
    landmarks[..., 0] = right - landmarks[..., 0]
    contour = found.contour[:, list(MIRROR_68)].copy()
    contour[..., 0] = right - contour[..., 0]
    values.update(landmarks=landmarks, contour=contour,
                  landmark_scale=found.landmark_scale[:, list(MIRROR_68)],
                  rotation=mirrored(found.rotation))
    return Alignments(**values)
