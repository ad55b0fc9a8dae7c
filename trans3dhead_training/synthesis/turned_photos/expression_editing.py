"""Closing the eyes and moving the jaw of a photograph with the head model's blendshapes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from trans3dhead_ros.landmarks import JAW_COUNT
from trans3dhead_ros.types import Array, Image
from trans3dhead_training.synthesis.turned_photos.eye_inpainting import UPPER_LIDS, draw_lashes
from trans3dhead_training.synthesis.turned_photos.head_surface import SIDES
from trans3dhead_training.synthesis.turned_photos.photograph import Photograph

# Landmarks of upper and lower lid, above each other.
_LIDS = {'R': ((37, 41), (38, 40)), 'L': ((43, 47), (44, 46))}
_LID_GAP_M = 0.0006
_EXTRA_BLINK = (-0.3, 0.5)
_SHUT = 0.95
_INNER_MOUTH = (62, 66)


@dataclass(frozen=True, eq=False)
class EditedHead:
    """A photograph's head with another expression."""

    expression: Array
    """(E,) coefficients."""
    head: Array
    """(V, 3) m, head frame, on the labels."""
    inner: Array
    """(51, 3) m, head frame: the labelled points 17-67."""
    uv: Array
    """(T, 3, 2) px of `texture`."""
    texture: Image
    """(h, w, 3) BGR."""


def mouth_gap(photograph: Photograph) -> float:
    """Return the labelled distance (m) between the inner lips."""
    upper, lower = (photograph.inner[point - JAW_COUNT] for point in _INNER_MOUTH)
    return float(np.linalg.norm(upper - lower))


def eyelid_gap(photograph: Photograph, side: str) -> float:
    """Return the labelled distance (m) between the lids of the eye 'R' or 'L'."""
    return float(np.mean([np.linalg.norm(photograph.inner[a - JAW_COUNT]
                                         - photograph.inner[b - JAW_COUNT])
                          for a, b in _LIDS[side]]))


def edit_expression(
    photograph: Photograph, blink: tuple[float, float], jaw: float,
) -> EditedHead:
    """
    Close the eyes and open or close the mouth.

    :param photograph: the photograph.
    :param blink: (right, left) 0 unchanged .. 1 closed.
    :param jaw: added to jawOpen.
    :return: the edited head.
    """
    surface, texture = photograph.surface, photograph.texture
    names, basis = surface.model.expression_names, surface.expressions
    inner = surface.model.landmark_indices.numpy()[JAW_COUNT:]
    expression = photograph.expression.copy()
    if jaw and 'jawOpen' in names:
        place = names.index('jawOpen')
        expression[place] = np.clip(expression[place] + jaw, 0, 1)
    closing = {side: amount for side, amount in zip(SIDES, blink, strict=True)
               if amount > 0 and f'eyeBlink_{side}' in names}
    for side, amount in closing.items():
        for name, target in (('eyeBlink', 1.0), ('eyeWide', 0.0), ('eyeSquint', 0.0)):
            if f'{name}_{side}' in names:
                place = names.index(f'{name}_{side}')
                expression[place] += amount * (target - expression[place])
    displacement = photograph.displacement
    moved = np.tensordot(expression - photograph.expression, basis[:, inner], 1)
    for side, amount in closing.items():
        shape = basis[names.index(f'eyeBlink_{side}')]
        extra = _extra_blink(photograph, moved, shape[inner], side, amount)
        displacement = displacement + extra * shape
        moved = moved + extra * shape[inner]
    head = surface.model_vertices(photograph.shape, expression) + displacement
    edited = EditedHead(expression, head, photograph.inner + moved,
                        texture.uv_mouth_open if jaw > 0 else texture.uv, texture.image)
    return _texture_lids(photograph, edited, closing) if closing else edited


def _extra_blink(
    photograph: Photograph, moved: Array, shape: Array, side: str, amount: float,
) -> float:
    """Return the extra blink coefficient that brings the labelled lids together."""
    gap = closing_rate = target_gap = 0.0
    for upper, lower in np.array(_LIDS[side]) - JAW_COUNT:
        open_now = (photograph.inner[upper] - photograph.inner[lower])[2]
        gap += open_now + (moved[upper] - moved[lower])[2]
        closing_rate += (shape[lower] - shape[upper])[2]
        target_gap += (1 - amount) * open_now + amount * _LID_GAP_M
    return float(np.clip((gap - target_gap) / max(closing_rate, 1e-6), *_EXTRA_BLINK))


def _texture_lids(
    photograph: Photograph, edited: EditedHead, closing: dict[str, float]
) -> EditedHead:
    """
    Texture closing lids with the skin where they come to lie, and lashes at their edge.

    Their own skin is folded in the photograph; stretched, it would show lashes and shadow.
    """
    surface, texture, eye_patch = photograph.surface, photograph.texture, photograph.eye_patch
    target_uv = photograph.project(surface.vertices(edited.head))[surface.triangles]
    height, width = eye_patch.image.shape[:2]
    inside = np.clip(target_uv - eye_patch.corner, 0, [width - 1, height - 1])
    target_uv = inside + texture.eye_patch_corner
    uv, part = edited.uv, eye_patch
    for side, amount in closing.items():
        covered = surface.lids[SIDES.index(side)]
        if amount > _SHUT:  # the eyeball must not show through the seam
            covered = covered | surface.eyeballs[SIDES.index(side)]
        uv = np.where(covered[:, None, None], target_uv, uv)
        edge = photograph.project(edited.inner[np.array(UPPER_LIDS[side]) - JAW_COUNT])
        part = replace(part, image=draw_lashes(part, edge, photograph.scale, amount))
    image = texture.image.copy()
    x, y = texture.eye_patch_corner
    image[y:y + height, x:x + width] = part.image
    return replace(edited, uv=uv, texture=image)
