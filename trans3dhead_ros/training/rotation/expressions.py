"""Closing eyes and moving the jaw of a photograph by the model's expression shapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.landmarks import JAW_COUNT
from trans3dhead_ros.training.rotation.photograph import Photograph

Array = NDArray[np.float64]

# Upper over lower lid, landmarks; 'R' and 'L' as the expressions' names end.
_LIDS = {'R': ((37, 41), (38, 40)), 'L': ((43, 47), (44, 46))}
_LID_SKIN_M = 0.0018
"""How far above the edge of an open lid there is skin: at the edge are lashes."""
_LID_GAP_M = 0.0006
_EXTRA_BLINK = (-0.3, 0.5)
_INNER_MOUTH = (62, 66)


@dataclass(frozen=True, eq=False)
class Changed:
    """
    A photograph's head with another expression.

    :ivar expression: (E,). :ivar head: (V, 3) m, on its labels. :ivar inner: (51, 3) m the labelled
        points 17-67. :ivar uv: (T, 3, 2) px of the photograph's texture.
    """

    expression: Array
    head: Array
    inner: Array
    uv: Array


def mouth_gap(photograph: Photograph) -> float:
    """Return m between the inner lips, as labelled."""
    upper, lower = (photograph.inner[point - JAW_COUNT] for point in _INNER_MOUTH)
    return float(np.linalg.norm(upper - lower))


def eye_gap(photograph: Photograph, side: str) -> float:
    """Return m between the lids of an eye, 'R' or 'L', as labelled."""
    return float(np.mean([np.linalg.norm(photograph.inner[a - JAW_COUNT]
                                         - photograph.inner[b - JAW_COUNT])
                          for a, b in _LIDS[side]]))


def change_expression(
    photograph: Photograph, blink: tuple[float, float], jaw: float,
) -> Changed:
    """
    Close the eyes and open or close the mouth.

    :param blink: (right, left) 0 as they are .. 1 closed. :param jaw: added to jawOpen.
    """
    surface = photograph.surface
    names = surface.model.expression_names
    basis = surface.expressions
    inner = surface.model.landmark_indices.numpy()[JAW_COUNT:]
    expression, uv = photograph.expression.copy(), photograph.texture.uv
    field = photograph.field
    moved = np.zeros_like(photograph.inner)
    if jaw and 'jawOpen' in names:
        place = names.index('jawOpen')
        expression[place] = np.clip(expression[place] + jaw, 0, 1)
        if jaw > 0:
            uv = photograph.texture.opened
    for side, amount in zip('RL', blink, strict=True):
        shape = f'eyeBlink_{side}'
        if amount <= 0 or shape not in names:
            continue
        for name, target in ((shape, 1.0), (f'eyeWide_{side}', 0.0), (f'eyeSquint_{side}', 0.0)):
            if name in names:
                place = names.index(name)
                expression[place] += amount * (target - expression[place])
        closing = basis[names.index(shape)]
        change = np.tensordot(expression - photograph.expression, basis[:, inner], 1)
        # The labels' lids are not the model's: a little more or less until they meet.
        gap = speed = 0.0
        for upper, lower in np.array(_LIDS[side]) - JAW_COUNT:
            gap += (photograph.inner[upper] + change[upper]
                    - photograph.inner[lower] - change[lower])[2]
            speed += (closing[inner[lower]] - closing[inner[upper]])[2]
        open_now = sum(photograph.inner[a - JAW_COUNT, 2] - photograph.inner[b - JAW_COUNT, 2]
                       for a, b in _LIDS[side])
        wanted = (1 - amount) * open_now + amount * len(_LIDS[side]) * _LID_GAP_M
        extra = float(np.clip((gap - wanted) / max(speed, 1e-6), *_EXTRA_BLINK))
        field = field + extra * closing
        moved += extra * closing[inner]
        uv = uv + amount * _lid_shift(photograph, closing)
    moved += np.tensordot(expression - photograph.expression, basis[:, inner], 1)
    head = surface.shaped(photograph.shape, expression) + field
    return Changed(expression, head, photograph.inner + moved, uv)


def _lid_shift(photograph: Photograph, closing: Array) -> Array:
    """Return (T, 3, 2) px: where the moving lid takes its skin from, above its lashes."""
    surface = photograph.surface
    share = np.zeros(len(surface.above_neck))
    share[:len(closing)] = np.clip(-closing[:, 2] / max(-closing[:, 2].min(), 1e-9), 0, 1)
    up = photograph.scale * _LID_SKIN_M * photograph.rotation[:2, 2]
    return share[surface.triangles][..., None] * up
