"""The result for one head in one image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from trans3dhead_ros.geometry import angle_to_camera_deg, quaternion_from_rotation
from trans3dhead_ros.types import Array

FACE_VISIBLE_DEG = 100.0
"""
Largest angle between where a face points and the camera at which the face counts as visible.

Of the 51 inner landmarks of the average head 26 are in view at 90°, 20 at 100° and 6 at 120°.
"""
FACE_PROBABILITY, LOCATED_SCORE = 0.5, 0.5
"""The face is hidden if the detector's probability and the aligner's score are both below these."""


def is_face_visible(rotation: Array, translation: Array, metric: bool) -> bool:
    """
    Return whether enough of a face is turned to the camera for its landmarks to be seen.

    :param rotation: (3, 3) head frame → camera optical frame.
    :param translation: (3,) m, the head in the camera optical frame.
    :param metric: whether `rotation` is that in the camera; False: the apparent one in the crop.
    :return: False for a head from behind: its landmarks are a guess.
    """
    position = translation if metric else np.array([0.0, 0.0, 1.0])
    return angle_to_camera_deg(rotation, position) <= FACE_VISIBLE_DEG


class HeadMesh:
    """
    The vertices of one head; most heads are used without them, so they may be computed when read.

    :param vertices: (V, 3) m in the camera optical frame, or a function that returns them.
    :param vertices_px: (V, 2) px, likewise.
    """

    def __init__(
        self, vertices: Array | Callable[[], Array], vertices_px: Array | Callable[[], Array],
    ) -> None:
        self._vertices = vertices
        self._vertices_px = vertices_px

    @property
    def vertices(self) -> Array:
        """(V, 3) m in the camera optical frame."""
        if callable(self._vertices):
            self._vertices = self._vertices()
        return self._vertices

    @property
    def vertices_px(self) -> Array:
        """(V, 2) px, the vertices in the image."""
        if callable(self._vertices_px):
            self._vertices_px = self._vertices_px()
        return self._vertices_px

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the vertices themselves."""
        return HeadMesh, (self.vertices, self.vertices_px)


@dataclass(frozen=True, eq=False)
class Head:
    """
    One head of one image.

    Pixels have their centres at integers, x right, y down. The camera optical frame is x right,
    y down, z forward, in metres. The head frame has its origin at the sellion, x out of the face,
    y to the head's left, z up: `p_camera = rotation @ p_head + translation`.
    """

    box: Array
    """(4,) x0 y0 x1 y1 px, the tight box of `landmarks`."""
    score: float
    """Probability 0…1 that the crop shows a head whose landmarks can be located."""
    track_id: int | None
    """Identity over time, unique in the process; None from `align` and `detect`."""
    landmarks: Array
    """(68, 3) points fixed on the head in iBUG-68 order, also the hidden ones: x, y in px; z in px,
    smaller is nearer, 0 at the sellion."""
    landmarks_contour: Array
    """(68, 2) px, the same inner 51 points with the jaw (0…16) on the visible contour."""
    landmark_scale: Array
    """(68,) px, Laplace scale of `landmarks`: the expected absolute error of each coordinate."""
    rotation: Array
    """(3, 3) head frame → camera optical frame."""
    translation: Array
    """(3,) m, the sellion in the camera optical frame."""
    metric: bool
    """True: the pose was solved with the camera's intrinsics. False: the weak-perspective rotation,
    and a depth from an assumed field of view."""
    pose_covariance: Array
    """(6, 6) of (x, y, z, rotation about the fixed camera axes x, y, z), in m², m·rad and rad²."""
    euler_deg: tuple[float, float, float]
    """(yaw, pitch, roll) degrees of the apparent rotation in the crop, as in AFLW2000-3D."""
    shape: Array
    """(I,) identity coefficients."""
    expression: Array
    """(E,) expression coefficients, named by `HeadPipeline.expression_names`."""
    landmarks_m: Array
    """(68, 3) m, the landmarks of the head model in the camera optical frame."""
    mesh: HeadMesh
    """Holds the vertices, which are computed when they are first read."""
    face_probability: float | None = None
    """Probability 0…1 that the face is seen, as the detector said; None from `align`."""

    @property
    def vertices(self) -> Array:
        """(V, 3) m in the camera optical frame."""
        return self.mesh.vertices

    @property
    def vertices_px(self) -> Array:
        """(V, 2) px, the vertices in the image."""
        return self.mesh.vertices_px

    @cached_property
    def quaternion(self) -> Array:
        """(4,) x, y, z, w of `rotation`, with w >= 0."""
        return quaternion_from_rotation(self.rotation)

    @cached_property
    def face_visible(self) -> bool:
        """
        False for a head from behind, whose landmarks are a guess.

        The detector and the aligner both find the face hidden, or it is turned away, see
        `is_face_visible`.
        """
        hidden = self.face_probability is not None and self.face_probability < FACE_PROBABILITY \
            and self.score < LOCATED_SCORE
        return not hidden and is_face_visible(self.rotation, self.translation, self.metric)
