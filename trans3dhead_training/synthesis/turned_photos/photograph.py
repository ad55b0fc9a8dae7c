"""A labelled photograph as a textured head before a background without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from trans3dhead_ros.geometry import euler_from_rotation
from trans3dhead_ros.head_model import visible_contour
from trans3dhead_ros.landmarks import COUNT, JAW_COUNT
from trans3dhead_ros.mesh import vertex_normals
from trans3dhead_ros.types import Array, Image
from trans3dhead_training.synthesis.turned_photos.background_inpainting import remove_head
from trans3dhead_training.synthesis.turned_photos.eye_inpainting import EyelessPatch, remove_eyes
from trans3dhead_training.synthesis.turned_photos.hair_segmentation import (
    hair_thickness,
    segment_person,
)
from trans3dhead_training.synthesis.turned_photos.head_surface import (
    HeadSurface,
    spread_displacements,
)
from trans3dhead_training.synthesis.turned_photos.photo_texture import (
    PhotoTexture,
    exclude_outline,
    photo_visibility,
    project_texture,
)

# Places of the head frame, m: the middle of the skull, and the height of the chin.
_MIDDLE, _CHIN = np.array([-0.085, 0.0, 0.0]), np.array([-0.085, 0.0, -0.10])


class RejectedError(ValueError):
    """A photograph that cannot be turned; the message says why."""


@dataclass(frozen=True)
class PhotographConfig:
    """Which photographs are turned."""

    largest_yaw_deg: float = 50.0
    """Beyond, one side of the face is not in the picture well enough."""
    largest_residual: float = 0.02
    """Of the fit's inner points, of the landmark box."""
    smallest_box_px: float = 60.0
    """Of the landmark box's longer side."""


@dataclass(frozen=True, eq=False)
class FaceFit:
    """The fit of one face, in box units of its labels (u = 2 (px - box centre) / longer side)."""

    rotation: Array
    """(3, 3) head -> camera, apparent."""
    translation: Array
    """(2,)."""
    log_scale: float
    """Log of box units per metre."""
    shape: Array
    """(I,)."""
    expression: Array
    """(E,)."""
    inner_error: float
    """Residual of points 17-67, of the box."""
    offsets: Array
    """(51, 3) m, where labellers put the inner points, seen from the model's landmarks."""

    @classmethod
    def of_row(cls, fits: Mapping[str, NDArray], row: int, offsets: Array) -> FaceFit:
        """
        Take one face of arrays (N, ...) named as these fields.

        :param offsets: (51, 3) m, of all of them.
        """
        values = {name: np.asarray(fits[name][row], dtype=float)
                  for name in ('rotation', 'translation', 'shape', 'expression')}
        return cls(**values, log_scale=float(fits['log_scale'][row]),
                   inner_error=float(fits['inner_error'][row]), offsets=offsets)


@dataclass(frozen=True, eq=False)
class Photograph:
    """
    What is needed to show the head in another pose.

    Between the photograph and the surface there is weak perspective:
    px = scale (rotation v)[:2] + translation.
    """

    surface: HeadSurface
    rotation: Array
    """(3, 3), translation (2,) px, scale px per metre."""
    translation: Array
    scale: float
    shape: Array
    """(I,), expression (E,)."""
    expression: Array
    field: Array
    """(V, 3) m, head frame: what moves the model onto the labels."""
    inner: Array
    """(51, 3) m, head frame: the labelled points 17-67."""
    thickness: Array
    """(vertices,) m of the hair."""
    texture: PhotoTexture
    """Of the head with that hair."""
    eyeless: EyelessPatch
    """The photograph without its eyes."""
    backgrounds: tuple[Image, Image]
    """(H, W, 3) BGR, the photograph with its head painted over, for a head that turns to its left
    (yaw < 0) and to its right."""

    def project(self, points: Array) -> Array:
        """Return (..., 2) px of (..., 3) m in the photograph."""
        return self.scale * (points @ self.rotation[:2].T) + self.translation


def prepare_photograph(
    picture: Image, points: Array, fit: FaceFit, surface: HeadSurface,
    config: PhotographConfig = PhotographConfig(),
) -> Photograph:
    """
    Make a photograph ready to be turned.

    :param picture: (H, W, 3) uint8 BGR.
    :param points: (68, 2) px, jaw on the visible contour.
    :raises RejectedError: with the reason, where the result would not be worth looking at.
    :raises ValueError: for an array of another shape.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(f'picture: expected (H, W, 3) uint8, got {picture.shape} {picture.dtype}')
    points = np.asarray(points, dtype=float)
    if points.shape != (COUNT, 2) or not np.isfinite(points).all():
        raise ValueError(f'points: expected finite (68, 2), got {points.shape}')
    low, high = points.min(0), points.max(0)
    side = float((high - low).max())
    _reject(fit, side, config)
    scale = float(np.exp(fit.log_scale)) * side / 2
    translation = fit.translation * side / 2 + (low + high) / 2
    head = surface.model_vertices(fit.shape, fit.expression)
    field, inner = _onto_labels(head, points, fit, scale, translation, surface)
    bare = surface.vertices(head + field) @ fit.rotation.T
    person, thickness = _hair(picture, bare, scale, translation, surface)
    turned = surface.with_hair(bare, thickness)
    pixels = scale * turned[:, :2] + translation
    sight = photo_visibility(pixels, turned, surface, picture.shape)
    eyeless = remove_eyes(picture, points, scale)
    texture = project_texture(picture, pixels, exclude_outline(
        sight, pixels, person, surface, scale), eyeless.image, surface)
    middle, chin = (scale * fit.rotation[:2] @ place + translation for place in (_MIDDLE, _CHIN))
    left, up = scale * fit.rotation[:2, 1:].T
    backgrounds = (remove_head(picture, sight.head, person, left, up, middle, chin),
                   remove_head(picture, sight.head, person, -left, up, middle, chin))
    return Photograph(surface, fit.rotation, translation, scale, fit.shape, fit.expression, field,
                      inner, thickness, texture, eyeless, backgrounds)


def _hair(
    picture: Image, turned: Array, scale: float, translation: Array, surface: HeadSurface,
) -> tuple[NDArray[np.uint8], Array]:
    """Return the person's mask (H, W) and the thickness of its hair (vertices,) m."""
    pixels = scale * turned[:, :2] + translation
    sight = photo_visibility(pixels, turned, surface, picture.shape)
    person = segment_person(picture, sight.head | sight.neck, scale)
    normals = vertex_normals(turned, surface.triangles)
    return person, hair_thickness(surface, pixels, normals, person, scale)


def _reject(fit: FaceFit, side: float, config: PhotographConfig) -> None:
    yaw = float(euler_from_rotation(fit.rotation)[0])
    if not abs(yaw) <= config.largest_yaw_deg:
        raise RejectedError(f'yaw {yaw:.0f} deg is beyond {config.largest_yaw_deg:.0f}')
    if not fit.inner_error <= config.largest_residual:
        raise RejectedError(f'the fit misses its labels by {100 * fit.inner_error:.1f} % of the '
                            f'box, more than {100 * config.largest_residual:.1f}')
    if side < config.smallest_box_px:
        raise RejectedError(f'the landmark box is {side:.0f} px, less than '
                            f'{config.smallest_box_px:.0f}')


def _onto_labels(
    head: Array, points: Array, fit: FaceFit, scale: float, translation: Array,
    surface: HeadSurface,
) -> tuple[Array, Array]:
    """Return the field (V, 3) that puts the head on its labels, and the labelled (51, 3) points."""
    model = surface.model
    landmarks = head[model.landmark_indices.numpy()]
    candidates = head[model.contour_indices.numpy()]
    chosen = visible_contour(torch.from_numpy(candidates)[None],
                             torch.from_numpy(fit.rotation)[None])[0].numpy()
    contour = candidates[np.arange(JAW_COUNT), chosen]
    control = np.concatenate([contour, landmarks[JAW_COUNT:] + fit.offsets])
    missing = points - (scale * control @ fit.rotation[:2].T + translation)
    # Along the outline a jaw point may lie anywhere.
    along = np.gradient(points[:JAW_COUNT], axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    jaw = missing[:JAW_COUNT]
    jaw -= (jaw * along).sum(1, keepdims=True) * along
    displaced = missing @ fit.rotation[:2] / scale
    field = spread_displacements(head, np.concatenate([contour, landmarks[JAW_COUNT:]]), displaced)
    return field, control[JAW_COUNT:] + displaced[JAW_COUNT:]
