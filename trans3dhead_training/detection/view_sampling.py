"""Which part of a picture a view shows, at which scale and rotation, and the labels of the view."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from trans3dhead_ros.types import Array, Image
from trans3dhead_training.detection.labelled_picture import HeadLabels, LabelledPicture

# A linear interpolation that shrinks by more than this skips pixels.
_MIN_LINEAR_SCALE = 0.6


@dataclass(frozen=True)
class ViewConfig:
    """Distribution of the views of pictures."""

    natural_share: float = 0.6
    """Share of the views near the scale of the picture; for the others, the size of a head is
    drawn."""
    zoom_sigma: float = 0.45
    """Standard deviation of the logarithm of the scale near that of the picture."""
    empty_zoom: tuple[float, float] = (0.5, 2.5)
    """Range of the scale of pictures without heads, log-uniform."""
    head_px: tuple[float, float] = (8.0, 400.0)
    """Range of the height of the selected head, log-uniform."""
    max_zoom: float = 3.0
    """Maximum enlargement of a picture."""
    min_filled: float = 0.75
    """Minimum length of a picture in its view, as a share of the side of the view."""
    turn_sigma_deg: float = 10.0
    """Standard deviation of the in-plane rotation of most views."""
    cut_share: float = 0.2
    """Share of the views whose border cuts the selected head, half to all of which is visible."""
    wide_turn_share: float = 0.12
    """Share of the views that are rotated uniformly by up to wide_turn_deg instead."""
    wide_turn_deg: float = 45.0
    """Maximum rotation of that share."""
    any_turn_share: float = 0.35
    """Share of the views that are rotated by any angle, half of them near a quarter or a half turn,
    as cameras are mounted."""
    min_head_px: float = 7.0
    """Smaller heads are ignored by the loss."""
    min_shown: float = 0.5
    """Heads of which the border of the view leaves less than this share are ignored by the loss;
    those of which less than a third of this is visible count as absent."""


def view_matrix(
    picture: LabelledPicture, size: tuple[int, int], generator: np.random.Generator,
    config: ViewConfig, zoom_factor: float = 1.0,
) -> Array:
    """
    Draw a view of a picture.

    :param picture: to look at.
    :param size: (width, height) px of the view.
    :param generator: decides.
    :param config: distribution.
    :param zoom_factor: on the scale, for views that are smaller than usual.
    :return: (2, 3) similarity from the picture to the view, px; it may mirror.
    """
    height, width = picture.image.shape[:2]
    extent = picture.extent_box
    number = int(generator.integers(len(extent))) if len(extent) else -1
    if number < 0:
        zoom = np.exp(generator.uniform(*np.log(config.empty_zoom)))
    elif generator.random() < config.natural_share:
        zoom = np.exp(generator.normal(0.0, config.zoom_sigma))
    else:
        low, high = np.log(config.head_px)
        zoom = np.exp(generator.uniform(low, high)) / max(extent[number, 3] - extent[number, 1], 1)
    # No smaller than that most of the view shows the picture.
    least = config.min_filled * max(size) / max(width, height)
    zoom = float(np.clip(zoom * zoom_factor, least, config.max_zoom))
    turn = np.deg2rad(_turn_deg(generator, config))
    flip = -1.0 if generator.random() < 0.5 else 1.0
    cos, sin = zoom * np.cos(turn), zoom * np.sin(turn)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([flip, 1.0])
    if number >= 0 and generator.random() < 0.8:
        focus = 0.5 * (extent[number, :2] + extent[number, 2:])
    else:
        focus = generator.random(2) * (width, height)
    place = (0.5 + generator.uniform(-0.48, 0.48, 2)) * size
    if number >= 0 and generator.random() < config.cut_share:
        focus = 0.5 * (extent[number, :2] + extent[number, 2:])
        axis = int(generator.integers(2))
        inside = zoom * generator.uniform(0.0, 0.5) * (
            extent[number, 2 + axis] - extent[number, axis])
        place[axis] = inside if generator.random() < 0.5 else size[axis] - inside
    # A view beyond the picture would show nothing: move it inside as far as it fits.
    half = 0.5 * np.array(size) / zoom
    middle = focus + np.linalg.solve(linear, 0.5 * np.array(size) - place)
    whole = np.array([width, height], dtype=float)
    middle = np.clip(middle, np.minimum(half, 0.5 * whole), np.maximum(whole - half, 0.5 * whole))
    return np.column_stack([linear, 0.5 * np.array(size) - 0.5 - linear @ middle])


def _turn_deg(generator: np.random.Generator, config: ViewConfig) -> float:
    kind = generator.random()
    if kind < 0.5 * config.any_turn_share:
        return float(90 * generator.integers(1, 4) + generator.normal(0, config.turn_sigma_deg))
    if kind < config.any_turn_share:
        return float(generator.uniform(-180, 180))
    if kind < config.any_turn_share + config.wide_turn_share:
        return float(generator.uniform(-config.wide_turn_deg, config.wide_turn_deg))
    return float(generator.normal(0, config.turn_sigma_deg))


def render_view(image: Image, matrix: Array, size: tuple[int, int], colour: Array) -> Image:
    """
    Resample a picture.

    :param image: (H, W, 3).
    :param matrix: (2, 3) similarity from the picture to the view.
    :param size: (width, height) px of the view.
    :param colour: (3,) beyond the picture.
    :return: (height, width, 3).
    """
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < _MIN_LINEAR_SCALE:
        height, width = image.shape[:2]
        small = max(round(width * scale), 1), max(round(height * scale), 1)
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        back = np.diag([width / small[0], height / small[1]])
        linear = matrix[:, :2] @ back
        # Pixel centres: the edges of both pictures coincide, not their first pixels.
        offset = matrix[:, :2] @ (0.5 * np.diag(back) - 0.5) + matrix[:, 2]
        matrix = np.column_stack([linear, offset])
    return cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_CONSTANT, borderValue=tuple(map(float, colour)))


@dataclass(frozen=True, eq=False)
class ViewLabels:
    """Labels of a view: heads, and boxes (M, 4) px that the score loss ignores."""

    heads: HeadLabels
    """Heads that are supervised."""
    ignored: Array
    """(M, 4) px."""


def view_labels(
    heads: HeadLabels, size: tuple[int, int], config: ViewConfig,
) -> ViewLabels:
    """
    Sort the heads of a view.

    :param heads: in px of the view.
    :param size: (width, height) px of the view.
    :param config: which heads are taught.
    :return: the taught heads, with the share of them that is shown, and the ignored boxes.
    """
    if not len(heads):
        return ViewLabels(heads, np.zeros((0, 4)))
    box = heads.extent_box
    whole = np.prod(np.maximum(box[:, 2:] - box[:, :2], 1e-6), axis=1)
    inside = np.clip(box, -0.5, np.tile(size, 2) - 0.5)
    shown = heads.shown * np.prod(inside[:, 2:] - inside[:, :2], axis=1) / whole
    heads = replace(heads, shown=shown)
    taught = (shown >= config.min_shown) & (box[:, 3] - box[:, 1] >= config.min_head_px)
    ignored = ~taught & (shown >= config.min_shown / 3)
    return ViewLabels(heads[taught], box[ignored])
