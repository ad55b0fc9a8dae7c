"""Eyelids that never let the eyeball through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trans3dhead_training.synthesis.anatomy.face_kit import Part
from trans3dhead_training.synthesis.appearance.eyes import centre_of

Float = NDArray[np.float32]

EYES = ('eye_left', 'eye_right')
REACH_M = 0.021
LID_M = 0.0004
"""A lid lies at least so far outside the eyeball's sphere."""
BULGE = 1.025
"""The cornea stands out of the sphere, as a share of its radius, at most about so far."""


@dataclass(frozen=True, eq=False)
class Lid:
    """
    The skin about one eyeball.

    :ivar vertices: (L,) skin vertices in front of it. :ivar centre: (3,) m. :ivar radius: m.
    :ivar floor: (L,) m: nearer to the centre a vertex may not come.
    """

    vertices: NDArray[np.int64]
    centre: Float
    radius: float
    floor: Float

    @classmethod
    def of(cls, parts: Mapping[str, Part], shapes: Mapping[str, Float], eye: str) -> Lid:
        """Measure one eye of a person with neutral vertices `shapes`."""
        mean_centre = centre_of(parts[eye].mean)
        away = parts['skin'].mean - mean_centre
        near = np.flatnonzero((np.linalg.norm(away, axis=1) < REACH_M) & (away[:, 0] > 0.002))
        centre = centre_of(shapes[eye])
        radius = float(np.median(np.linalg.norm(shapes[eye] - centre, axis=1)))
        rest = shapes['skin'][near] - centre
        distance = np.linalg.norm(rest, axis=1)
        # The lids' inner edges lie inside by design, hidden: they come no deeper than at rest.
        floor = np.minimum(distance, radius * BULGE + LID_M)
        return cls(near, centre.astype(np.float32), radius, floor.astype(np.float32))

    def flattened(self, eyeball: Float) -> Float:
        """Return the eyeball (V, 3) with a flatter cornea, over which a lid can close."""
        away = eyeball - self.centre
        distance = np.linalg.norm(away, axis=1, keepdims=True)
        limit = BULGE * self.radius
        flat = np.where(distance > limit, limit + 0.2 * (distance - limit), distance)
        return (self.centre + away * (flat / distance)).astype(np.float32)

    def kept_outside(self, skin: Float) -> Float:
        """Return the skin (S, 3) with the vertices that lie in the eyeball moved before it."""
        away = skin[self.vertices] - self.centre
        distance = np.linalg.norm(away, axis=1, keepdims=True)
        result = skin.copy()
        result[self.vertices] = self.centre + away * np.maximum(
            self.floor[:, None] / distance, 1.0)
        return result
