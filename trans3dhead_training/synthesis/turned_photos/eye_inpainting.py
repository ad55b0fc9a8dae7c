"""Skin for closing eyes: the photograph without its eyes, and lashes at the lid's edge."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from trans3dhead_ros.types import Array, Image, IndexArray
from trans3dhead_training.synthesis.turned_photos.inpainting import inpaint

UPPER_LIDS = {'R': (36, 37, 38, 39), 'L': (42, 43, 44, 45)}
"""Landmarks from corner to corner; 'R' and 'L' are the suffixes of the expressions' names."""
_EYES = {'R': range(36, 42), 'L': range(42, 48)}

_AROUND_M, _LASHES_M = 0.014, 0.003
_LASH_WIDTH_M, _LASH_STRENGTH = 0.0011, 0.75
_GRAIN = 1.5


@dataclass(frozen=True, eq=False)
class EyePatch:
    """The region of the eyes, painted over."""

    image: Image
    """(h, w, 3) BGR."""
    corner: IndexArray
    """(2,) px of the photograph, the upper left corner."""
    lash: Array
    """(3,) BGR, colour of the lashes."""


def remove_eyes(picture: Image, points: Array, px_per_metre: float) -> EyePatch:
    """
    Paint over both eyes with the surrounding skin.

    :param picture: (H, W, 3) BGR.
    :param points: (68, 2) px.
    :param px_per_metre: px per metre.
    :return: the region of the eyes.
    """
    eyes = points[36:48]
    reach = _AROUND_M * px_per_metre + 4
    size = np.array(picture.shape[1::-1])
    low = np.clip(np.floor(eyes.min(0) - reach), 0, size - 2).astype(int)
    high = np.clip(np.ceil(eyes.max(0) + reach), low + 2, size).astype(int)
    part = picture[low[1]:high[1], low[0]:high[0]]
    opening = np.zeros(part.shape[:2], np.uint8)
    for eye in _EYES.values():
        outline = cv2.convexHull(np.round(16 * (points[eye] - low)).astype(np.int32))
        cv2.fillConvexPoly(opening, outline, 1, cv2.LINE_8, 4)
    width = max(round(_LASHES_M * px_per_metre), 2)
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    covered = cv2.dilate(opening, element)
    known = 1 - covered.astype(np.float32)
    filled = inpaint(part.astype(np.float32), known)
    filled = np.where(covered[..., None] > 0, cv2.GaussianBlur(filled, (0, 0), width / 2), filled)
    grain = np.random.default_rng(0).normal(0, _GRAIN, part.shape[:2])[..., None]
    soft = cv2.GaussianBlur(known, (0, 0), width / 3)[..., None]
    soft = np.minimum(soft, known[..., None])
    image = filled + (1 - soft) * grain + soft * (part - filled)
    eye_px = part[cv2.dilate(opening, element[::2, ::2]) > 0]
    lash = np.percentile(eye_px, 8, axis=0) if len(eye_px) else np.zeros(3)
    return EyePatch(np.clip(image, 0, 255).astype(np.uint8), low, lash)


def draw_lashes(eye_patch: EyePatch, edge: Array, px_per_metre: float, amount: float) -> Image:
    """
    Return the patch with lashes along the edge of a lid.

    :param eye_patch: the patch.
    :param edge: (4, 2) px of the photograph, from corner to corner.
    :param px_per_metre: px per metre.
    :param amount: how far the lid closes, 0..1; a lid that does not move keeps its own lashes.
    :return: (h, w, 3) BGR.
    """
    across = edge[3] - edge[0]
    length = np.linalg.norm(across)
    if length < 3:
        return eye_patch.image
    axis = across / length
    down = np.array([-axis[1], axis[0]])
    # A parabola through the corners, because two labels on the edge are not enough for its shape.
    along, below = (edge - edge[0]) @ axis / length, (edge - edge[0]) @ down
    bend = along * (1 - along)
    height = (bend * below).sum() / max((bend ** 2).sum(), 1e-6)
    t = np.linspace(0, 1, 15)
    curve = edge[0] + t[:, None] * across + (height * t * (1 - t))[:, None] * down
    oversampling = 4
    opacity = np.zeros(
        (oversampling * eye_patch.image.shape[0], oversampling * eye_patch.image.shape[1]), np.uint8
    )
    curve_px = np.round(16 * (oversampling * (curve - eye_patch.corner + 0.5) - 0.5)).astype(
        np.int32
    )
    thickness = max(round(oversampling * _LASH_WIDTH_M * px_per_metre), 2)
    cv2.polylines(opacity, [curve_px], False, 255, thickness, cv2.LINE_AA, 4)
    opacity = cv2.resize(opacity, eye_patch.image.shape[1::-1], interpolation=cv2.INTER_AREA)
    share = (_LASH_STRENGTH * amount / 255 * opacity)[..., None]
    return np.round(eye_patch.image + share * (eye_patch.lash - eye_patch.image)).astype(np.uint8)
