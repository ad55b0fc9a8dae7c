"""A labelled photograph as a textured head in front of a background without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.geometry import euler_from_rotation
from trans3dhead_ros.landmarks import COUNT, JAW_COUNT
from trans3dhead_ros.mesh import vertex_normals
from trans3dhead_ros.types import Array, Image
from trans3dhead_training.synthesis.turned_photos.background_inpainting import remove_head
from trans3dhead_training.synthesis.turned_photos.eye_inpainting import EyePatch, remove_eyes
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

# m, head frame: the centre of the skull, and a point at the height of the chin.
_MIDDLE, _CHIN = np.array([-0.085, 0.0, 0.0]), np.array([-0.085, 0.0, -0.10])


class RejectedError(ValueError):
    """The photograph is not suitable for turning; the message says why."""


@dataclass(frozen=True)
class PhotographConfig:
    """Which photographs are turned."""

    max_yaw_deg: float = 50.0
    """Largest yaw; beyond it, one side of the face is hardly visible."""
    max_residual: float = 0.02
    """Largest residual of the fit's inner points, relative to the landmark box."""
    min_box_px: float = 60.0
    """Least length of the landmark box's longer side."""
    outside: tuple[int, int, int] | None = (0, 0, 0)
    """BGR of what lies outside the photograph; None continues its colours."""


@dataclass(frozen=True, eq=False)
class FaceFit:
    """
    The head model fitted to one face.

    In units of the landmark box of its labels, u = 2 (px - box centre) / longer side.
    """

    rotation: Array
    """(3, 3) head -> camera, apparent."""
    translation: Array
    """(2,) box units."""
    log_scale: float
    """Log of box units per metre."""
    shape: Array
    """(I,) identity coefficients."""
    expression: Array
    """(E,) expression coefficients."""
    inner_error: float
    """Residual of points 17-67, relative to the box."""
    offsets: Array
    """(51, 3) m, from the model's landmarks to where annotators place the inner points."""

    @classmethod
    def from_row(cls, fits: Mapping[str, NDArray], row: int) -> FaceFit:
        """
        Return one face of the arrays of a file of fits.

        :param fits: arrays (N, ...); `displacement` (N, 51, 3) gives the offsets.
        :param row: index of the face.
        :return: the fit.
        """
        values = {name: np.asarray(fits[name][row], dtype=float)
                  for name in ('rotation', 'translation', 'shape', 'expression')}
        return cls(**values, log_scale=float(fits['log_scale'][row]),
                   inner_error=float(fits['inner_error'][row]),
                   offsets=np.asarray(fits['displacement'][row], dtype=float))


@dataclass(frozen=True, eq=False)
class Photograph:
    """
    A photograph ready to be rendered in another pose.

    The surface projects to the photograph by weak perspective, px = scale (rotation v)[:2] +
    translation.
    """

    surface: HeadSurface
    """The head's surface."""
    rotation: Array
    """(3, 3) head -> camera."""
    translation: Array
    """(2,) px."""
    scale: float
    """px per metre."""
    shape: Array
    """(I,) identity coefficients."""
    expression: Array
    """(E,) expression coefficients."""
    displacement: Array
    """(V, 3) m, head frame: displacement of the model onto the labels."""
    inner: Array
    """(51, 3) m, head frame: the labelled points 17-67."""
    thickness: Array
    """(vertices,) m, thickness of the hair."""
    texture: PhotoTexture
    """Texture of the head with hair."""
    eye_patch: EyePatch
    """The photograph's eyes, painted over."""
    backgrounds: tuple[Image, Image]
    """(H, W, 3) BGR, the photograph without its head, for yaw < 0 and for yaw >= 0."""

    def project(self, points: Array) -> Array:
        """Project points (..., 3) m of the head frame to px (..., 2) of the photograph."""
        return self.scale * (points @ self.rotation[:2].T) + self.translation


def prepare_photograph(
    picture: Image, points: Array, fit: FaceFit, surface: HeadSurface,
    config: PhotographConfig = PhotographConfig(),
) -> Photograph:
    """
    Prepare a photograph for turning.

    :param picture: (H, W, 3) uint8 BGR.
    :param points: (68, 2) px, jaw on the visible contour.
    :param fit: the head model fitted to it.
    :param surface: the head's surface.
    :param config: which photographs are accepted.
    :return: the photograph.
    :raises RejectedError: the photograph is not suitable; the message says why.
    :raises ValueError: an array has another shape.
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
    displacement, inner = _fit_to_labels(head, points, fit, scale, translation, surface)
    bare = surface.vertices(head + displacement) @ fit.rotation.T
    person, thickness = _hair(picture, bare, scale, translation, surface)
    turned = surface.with_hair(bare, thickness)
    pixels = scale * turned[:, :2] + translation
    visibility = photo_visibility(pixels, turned, surface, picture.shape)
    eye_patch = remove_eyes(picture, points, scale)
    texture = project_texture(picture, pixels, exclude_outline(
        visibility, pixels, person, surface, scale), eye_patch.image, surface)
    middle, chin = (scale * fit.rotation[:2] @ place + translation for place in (_MIDDLE, _CHIN))
    left, up = scale * fit.rotation[:2, 1:].T
    backgrounds = (
        remove_head(picture, visibility.head, person, left, up, middle, chin, config.outside),
        remove_head(picture, visibility.head, person, -left, up, middle, chin, config.outside))
    return Photograph(
        surface, fit.rotation, translation, scale, fit.shape, fit.expression, displacement, inner,
        thickness, texture, eye_patch, backgrounds)


def _hair(
    picture: Image, turned: Array, scale: float, translation: Array, surface: HeadSurface,
) -> tuple[NDArray[np.uint8], Array]:
    """Return the person's mask (H, W) and the thickness (vertices,) m of the hair."""
    pixels = scale * turned[:, :2] + translation
    visibility = photo_visibility(pixels, turned, surface, picture.shape)
    person = segment_person(picture, visibility.head | visibility.neck, scale)
    normals = vertex_normals(turned, surface.triangles)
    return person, hair_thickness(surface, pixels, normals, person, scale)


def _reject(fit: FaceFit, side: float, config: PhotographConfig) -> None:
    yaw = float(euler_from_rotation(fit.rotation)[0])
    if not abs(yaw) <= config.max_yaw_deg:
        raise RejectedError(f'yaw {yaw:.0f} deg is beyond {config.max_yaw_deg:.0f}')
    if not fit.inner_error <= config.max_residual:
        raise RejectedError(f'the fit misses its labels by {100 * fit.inner_error:.1f} % of the '
                            f'box, more than {100 * config.max_residual:.1f}')
    if side < config.min_box_px:
        raise RejectedError(f'the landmark box is {side:.0f} px, less than '
                            f'{config.min_box_px:.0f}')


def _fit_to_labels(
    head: Array, points: Array, fit: FaceFit, scale: float, translation: Array,
    surface: HeadSurface,
) -> tuple[Array, Array]:
    """Return the head's displacement (V, 3) onto its labels, and the labels (51, 3) m."""
    model = surface.model
    landmarks = head[model.landmark_indices.numpy()]
    contour = surface.contour(head, fit.rotation)
    control = np.concatenate([contour, landmarks[JAW_COUNT:] + fit.offsets])
    missing = points - (scale * control @ fit.rotation[:2].T + translation)
    # The position of a jaw point along the outline is arbitrary.
    along = np.gradient(points[:JAW_COUNT], axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    jaw = missing[:JAW_COUNT]
    jaw -= (jaw * along).sum(1, keepdims=True) * along
    displaced = missing @ fit.rotation[:2] / scale
    displacement = spread_displacements(
        head, np.concatenate([contour, landmarks[JAW_COUNT:]]), displaced
    )
    return displacement, control[JAW_COUNT:] + displaced[JAW_COUNT:]
