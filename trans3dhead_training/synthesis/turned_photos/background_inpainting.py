"""A photograph without its head."""

from __future__ import annotations

import cv2
import numpy as np

from trans3dhead_ros.types import Array, Image, Mask
from trans3dhead_training.synthesis.turned_photos.inpainting import inpaint

_EDGE_M = 0.008
_BESIDE_CHEEK_M = 0.03
"""Width beside the head where hair that no mask found would show once the face has turned."""


def remove_head(
    picture: Image, head: Mask, person: Mask, aside: Array, up: Array, middle: Array, chin: Array,
) -> Image:
    """
    Paint over the head, and over its hair on the side that the face turns to.

    What is behind stays: hair there hangs behind a turned head, and the body does not turn.

    :param picture: (H, W, 3) BGR.
    :param head: (H, W) 1 on the head above its neck.
    :param person: (H, W) 1 on head, hair and body.
    :param aside: (2,) px per metre, towards that side.
    :param up: (2,) px per metre, towards the crown.
    :param middle: (2,) px of the skull.
    :param chin: (2,) px, below which hair is left.
    """
    height, width = head.shape
    reach = max(round(_EDGE_M * np.linalg.norm(up)), 1)
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    head = cv2.dilate(head, element)
    covered = head.copy()
    for share in (0.33, 0.67, 1.0):
        x, y = share * _BESIDE_CHEEK_M * aside
        covered |= cv2.warpAffine(head, np.array([[1, 0, x], [0, 1, y]]), (width, height),
                                  flags=cv2.INTER_NEAREST)
    column, row = np.meshgrid(np.arange(width), np.arange(height))
    beside = (column - middle[0]) * aside[0] + (row - middle[1]) * aside[1] > 0
    above_chin = (column - chin[0]) * up[0] + (row - chin[1]) * up[1] > 0
    covered |= cv2.dilate(person, element) & beside & above_chin
    # Beyond the photograph's border crops are black, and stay so.
    nothing = cv2.morphologyEx((picture == 0).all(axis=2).astype(np.uint8), cv2.MORPH_OPEN,
                               np.ones((7, 7), np.uint8)) & (1 - (person | head))
    known = ((covered | nothing) == 0).astype(np.float32)
    filled = inpaint(picture.astype(np.float32), known)
    soft = np.minimum(cv2.GaussianBlur(known, (0, 0), 1.5), known)[..., None]
    result = np.clip(filled + soft * (picture - filled), 0, 255).astype(np.uint8)
    result[nothing > 0] = 0
    return result
