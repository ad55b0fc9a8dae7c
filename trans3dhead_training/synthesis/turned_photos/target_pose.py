"""A photograph's head in a new pose, and the labels that follow."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from trans3dhead_ros.geometry import (
    euler_from_rotation,
    rotation_from_euler,
    turned_in_image,
)
from trans3dhead_ros.landmarks import JAW_COUNT, SELLION
from trans3dhead_ros.types import Array, BoolArray, Image
from trans3dhead_training.synthesis.turned_photos.expression_editing import edit_expression
from trans3dhead_training.synthesis.turned_photos.photograph import Photograph

PIVOT = np.array([-0.095, 0.0, -0.10])
"""m, head frame: the point about which a head turns on its neck."""


@dataclass(frozen=True)
class TargetPose:
    """A new pose and expression."""

    euler_deg: tuple[float, float, float]
    """(yaw, pitch, roll) in the convention of `geometry`, before the tilt."""
    blink: tuple[float, float] = (0.0, 0.0)
    """(right, left) 0..1, how far the eyes close."""
    jaw: float = 0.0
    """Added to jawOpen; a negative value closes an open mouth."""
    nod_deg: float = 0.0
    """Nod on the neck, chin up, before `euler_deg`, so that profiles nod too."""
    tilt_deg: float = 0.0
    """Clockwise tilt of the whole picture, after `euler_deg`."""

    @property
    def rotation(self) -> Array:
        """(3, 3) head -> camera, of the new picture."""
        nod = Rotation.from_euler('y', -self.nod_deg, degrees=True).as_matrix()
        return turned_in_image(rotation_from_euler(np.array(self.euler_deg)) @ nod, -self.tilt_deg)


@dataclass(frozen=True, eq=False)
class TurnedFace:
    """
    The labels of a turned picture, px of that picture (pixel centres at integers).

    u = exp(log_scale) (rotation V)[:2] + translation, apart from the displacement onto the labels.
    """

    landmarks: Array
    """(68, 3) the 3D definition; z in px, smaller nearer, 0 at the sellion. The inner 51 are the
    labelled points."""
    contour: Array
    """(17, 2) jaw on the visible contour."""
    visible: BoolArray
    """(68,) visibility of `landmarks`."""
    rotation: Array
    """(3, 3) apparent rotation, head -> camera."""
    translation: Array
    """(2,) px."""
    log_scale: float
    """Log of px per metre."""
    shape: Array
    """(I,) identity coefficients."""
    expression: Array
    """(E,) expression coefficients."""
    vertices_px: Array
    """(V, 3) x, y, depth of the head model's vertices, displaced onto the labels."""

    @property
    def box(self) -> Array:
        """(4,) x0 y0 x1 y1, tight around the landmarks."""
        return np.concatenate([self.landmarks[:, :2].min(0), self.landmarks[:, :2].max(0)])


@dataclass(frozen=True, eq=False)
class PosedHead:
    """What a picture shows, before it is rendered."""

    photograph: Photograph
    """The photograph."""
    vertices: Array
    """(vertices, 3) px, px, m."""
    uv: Array
    """(T, 3, 2) px of `texture`."""
    texture: Image
    """(h, w, 3) BGR."""
    background: Image
    """(size, size, 3) BGR."""
    truth: TurnedFace
    """The labels; visibility is not yet determined."""
    landmark_depth: Array
    """(68,) m, in the coordinates of `vertices`."""


def pose_photograph(photograph: Photograph, target: TargetPose, size: int = 256) -> PosedHead:
    """Place head, background and labels in a picture (size, size)."""
    surface, model = photograph.surface, photograph.surface.model
    rotation = target.rotation
    edited = edit_expression(photograph, target.blink, target.jaw)
    head = edited.head
    index = model.landmark_indices.numpy()
    landmarks = np.concatenate([head[index[:JAW_COUNT]], edited.inner])
    contour = surface.contour(head, rotation)

    # The head turns about the pivot; then it is cropped about the new landmark box.
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
        rotated = points @ rotation.T
        return np.column_stack([scale * rotated[:, :2] + translation,
                                scale * (rotated[:, 2] - sellion_depth)])

    truth = TurnedFace(
        on_picture(landmarks), on_picture(contour)[:, :2], np.ones(len(landmarks), dtype=bool),
        rotation, translation, float(np.log(scale)), photograph.shape, edited.expression,
        on_picture(head))
    rotated = surface.with_hair(surface.vertices(head), photograph.thickness) @ rotation.T
    vertices = np.column_stack([scale * rotated[:, :2] + translation, rotated[:, 2]])
    background = _background(photograph, target, zoom, shift, size)
    return PosedHead(photograph, vertices, edited.uv, edited.texture, background, truth, depth)


def _background(
    photograph: Photograph, target: TargetPose, zoom: float, shift: Array, size: int,
) -> Image:
    """Return the crop of the photograph without its head, rotated in the plane like the head."""
    roll = euler_from_rotation(photograph.rotation)[2]
    angle = np.deg2rad(target.euler_deg[2] - roll + target.tilt_deg)
    c, s = np.cos(angle), np.sin(angle)
    linear = zoom * np.array([[c, -s], [s, c]])
    pivot = photograph.project(PIVOT)
    matrix = np.column_stack([linear, zoom * pivot + shift - linear @ pivot])
    picture = photograph.backgrounds[int(target.euler_deg[0] >= 0)]
    return cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_REFLECT_101)
