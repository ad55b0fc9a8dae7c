"""A photograph's head in a new pose, and the labels that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from trans3dhead_ros.geometry import euler_from_rotation, rotation_from_euler
from trans3dhead_ros.head_model import visible_contour
from trans3dhead_ros.landmarks import JAW_COUNT, SELLION
from trans3dhead_training.synthesis.turned_photos.expression_transfer import change_expression
from trans3dhead_training.synthesis.turned_photos.photograph import Photograph

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

PIVOT = np.array([-0.095, 0.0, -0.10])
"""Where a head turns on its neck, m, head frame."""


@dataclass(frozen=True)
class Turn:
    """
    A new pose and expression.

    :ivar euler_deg: (yaw, pitch, roll) of the new picture, the convention of `geometry`.
    :ivar blink: (right, left) 0..1, how far the eyes close from where they are.
    :ivar jaw: added to the model's jawOpen; below 0 closes an open mouth.
    """

    euler_deg: tuple[float, float, float]
    blink: tuple[float, float] = (0.0, 0.0)
    jaw: float = 0.0


@dataclass(frozen=True, eq=False)
class TurnedFace:
    """
    Truth of a turned picture, px of that picture (pixel centres at integers).

    u = exp(log_scale) (rotation V)[:2] + translation, but for what moved the model onto its labels.

    :ivar landmarks: (68, 3) the 3D definition, z px, smaller nearer, 0 at the sellion; the inner 51
        are the labelled points. :ivar contour: (17, 2) jaw on the visible contour.
    :ivar visible: (68,) of `landmarks`. :ivar rotation: (3, 3) apparent. :ivar translation: (2,).
    :ivar log_scale: log of px per metre. :ivar shape: (I,). :ivar expression: (E,).
    :ivar vertices_px: (V, 3) x, y, depth of the head model's vertices, on the labels.
    """

    landmarks: Array
    contour: Array
    visible: NDArray[np.bool_]
    rotation: Array
    translation: Array
    log_scale: float
    shape: Array
    expression: Array
    vertices_px: Array

    @property
    def box(self) -> Array:
        """(4,) x0 y0 x1 y1, tight around the landmarks."""
        return np.concatenate([self.landmarks[:, :2].min(0), self.landmarks[:, :2].max(0)])


@dataclass(frozen=True, eq=False)
class Posed:
    """
    What a picture shows, before it is drawn.

    :ivar vertices: (vertices, 3) px, px, m. :ivar uv: (T, 3, 2) px of
    :ivar texture: (h, w, 3) BGR.
    :ivar background: (size, size, 3) BGR. :ivar truth: all landmarks still count as seen.
    :ivar landmark_depth: (68,) m, as those of `vertices`.
    """

    photograph: Photograph
    vertices: Array
    uv: Array
    texture: Image
    background: Image
    truth: TurnedFace
    landmark_depth: Array


def pose(photograph: Photograph, turn: Turn, size: int = 256) -> Posed:
    """Place the head, its background and its labels in a picture (size, size)."""
    surface, model = photograph.surface, photograph.surface.model
    rotation = rotation_from_euler(np.array(turn.euler_deg))
    changed = change_expression(photograph, turn.blink, turn.jaw)
    head = changed.head
    index = model.landmark_indices.numpy()
    landmarks = np.concatenate([head[index[:JAW_COUNT]], changed.inner])
    candidates = head[model.contour_indices.numpy()]
    chosen = visible_contour(torch.from_numpy(candidates)[None],
                             torch.from_numpy(rotation)[None])[0].numpy()
    contour = candidates[np.arange(JAW_COUNT), chosen]

    # The pivot stays where it is; then the crop about the new landmark box.
    turned = landmarks @ rotation.T
    translation = photograph.project(PIVOT) - photograph.scale * (rotation @ PIVOT)[:2]
    flat = photograph.scale * turned[:, :2] + translation
    low, high = flat.min(0), flat.max(0)
    zoom = size / (2.0 * (high - low).max())
    shift = (size - 1) / 2 - zoom * (low + high) / 2
    scale = photograph.scale * zoom
    translation = zoom * translation + shift
    depth = turned[:, 2]
    sellion_depth = rotation[2] @ head[index[SELLION]]

    def on_picture(points: Array) -> Array:
        placed = points @ rotation.T
        return np.column_stack([scale * placed[:, :2] + translation,
                                scale * (placed[:, 2] - sellion_depth)])

    truth = TurnedFace(
        on_picture(landmarks), on_picture(contour)[:, :2], np.ones(len(landmarks), dtype=bool),
        rotation, translation, float(np.log(scale)), photograph.shape, changed.expression,
        on_picture(head))
    placed = surface.with_hair(surface.vertices(head), photograph.thickness) @ rotation.T
    vertices = np.column_stack([scale * placed[:, :2] + translation, placed[:, 2]])
    background = _background(photograph, turn, zoom, shift, size)
    return Posed(photograph, vertices, changed.uv, changed.texture, background, truth, depth)


def _background(
    photograph: Photograph, turn: Turn, zoom: float, shift: Array, size: int,
) -> Image:
    """Cut the crop from the photograph without its head, turned in the plane as the head was."""
    roll = euler_from_rotation(photograph.rotation)[2]
    angle = np.deg2rad(turn.euler_deg[2] - roll)
    c, s = np.cos(angle), np.sin(angle)
    linear = zoom * np.array([[c, -s], [s, c]])
    pivot = photograph.project(PIVOT)
    matrix = np.column_stack([linear, zoom * pivot + shift - linear @ pivot])
    picture = photograph.backgrounds[int(turn.euler_deg[0] >= 0)]
    return cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_REFLECT_101)
