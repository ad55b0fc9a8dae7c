"""Collision of eyelids and eyeballs: the lids stay outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trans3dhead_ros.types import Float32Array, IndexArray
from trans3dhead_training.synthesis.anatomy.face_kit import HeadPart
from trans3dhead_training.synthesis.appearance.eye_texture import fit_sphere_centre

EYES = ('eye_left', 'eye_right')
REACH_M = 0.021
LID_CLEARANCE_M = 0.0004
"""Least distance of a lid from the eyeball's sphere."""
CORNEA_RADII = 1.025
"""Distance of the flattened cornea from the centre, in radii of the eyeball."""


@dataclass(frozen=True, eq=False)
class Eyelid:
    """The skin in front of one eyeball."""

    vertices: IndexArray
    """(L,) indices of skin vertices."""
    centre: Float32Array
    """(3,) m, centre of the eyeball."""
    radius: float
    """m, radius of the eyeball."""
    min_distance: Float32Array
    """(L,) m, least distance of each vertex from the centre."""

    @classmethod
    def from_person(
        cls, parts: Mapping[str, HeadPart], shapes: Mapping[str, Float32Array], eye: str
    ) -> Eyelid:
        """
        Measure one eye of a person.

        :param parts: the parts of the mean head.
        :param shapes: the person's vertices of each part with a neutral expression.
        :param eye: 'eye_left' or 'eye_right'.
        :return: the lid.
        """
        mean_centre = fit_sphere_centre(parts[eye].mean)
        away = parts['skin'].mean - mean_centre
        near = np.flatnonzero((np.linalg.norm(away, axis=1) < REACH_M) & (away[:, 0] > 0.002))
        centre = fit_sphere_centre(shapes[eye])
        radius = float(np.median(np.linalg.norm(shapes[eye] - centre, axis=1)))
        rest = shapes['skin'][near] - centre
        distance = np.linalg.norm(rest, axis=1)
        # The hidden inner edges of the lids lie inside the eyeball; they come no deeper.
        min_distance = np.minimum(distance, radius * CORNEA_RADII + LID_CLEARANCE_M)
        return cls(near, centre.astype(np.float32), radius, min_distance.astype(np.float32))

    def with_flat_cornea(self, eyeball: Float32Array) -> Float32Array:
        """Return the eyeball (V, 3) with a flatter cornea, over which the lid can close."""
        away = eyeball - self.centre
        distance = np.linalg.norm(away, axis=1, keepdims=True)
        limit = CORNEA_RADII * self.radius
        flat = np.where(distance > limit, limit + 0.2 * (distance - limit), distance)
        return (self.centre + away * (flat / distance)).astype(np.float32)

    def push_skin_outside(self, skin: Float32Array) -> Float32Array:
        """Return the skin (S, 3) with vertices inside the eyeball projected to its surface."""
        away = skin[self.vertices] - self.centre
        distance = np.linalg.norm(away, axis=1, keepdims=True)
        result = skin.copy()
        result[self.vertices] = self.centre + away * np.maximum(
            self.min_distance[:, None] / distance, 1.0)
        return result
