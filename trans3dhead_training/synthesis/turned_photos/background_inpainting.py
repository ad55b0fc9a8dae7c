"""Removal of the head from a photograph."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.types import Array, Image
from trans3dhead_training.synthesis.turned_photos.inpainting import inpaint

_EDGE_M = 0.008
_CHEEK_MARGIN_M = 0.03
"""m beside the head that are painted over too, for hair that the segmentation missed."""


def remove_head(
    picture: Image, head: NDArray[np.uint8], person: NDArray[np.uint8], side_axis: Array,
    up: Array, middle: Array, chin: Array, outside: tuple[int, int, int] | None = (0, 0, 0),
) -> Image:
    """
    Paint over the head, and over the hair on the side that the face turns to.

    Hair on the other side stays, where it hangs behind the turned head; so does the body.

    :param picture: (H, W, 3) BGR.
    :param head: (H, W) 1 on the head above its neck.
    :param person: (H, W) 1 on head, hair and body.
    :param side_axis: (2,) px per metre, towards the side to paint over.
    :param up: (2,) px per metre, towards the crown.
    :param middle: (2,) px, centre of the skull.
    :param chin: (2,) px, below which hair stays.
    :param outside: BGR of what lies outside the photograph, where crops are black; None continues
        its colours.
    :return: (H, W, 3) BGR.
    """
    height, width = head.shape
    reach = max(round(_EDGE_M * np.linalg.norm(up)), 1)
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    head = cv2.dilate(head, element)
    covered = head.copy()
    for share in (0.33, 0.67, 1.0):
        x, y = share * _CHEEK_MARGIN_M * side_axis
        covered |= cv2.warpAffine(head, np.array([[1, 0, x], [0, 1, y]]), (width, height),
                                  flags=cv2.INTER_NEAREST)
    column, row = np.meshgrid(np.arange(width), np.arange(height))
    existing_yaws = (column - middle[0]) * side_axis[0] + (row - middle[1]) * side_axis[1] > 0
    above_chin = (column - chin[0]) * up[0] + (row - chin[1]) * up[1] > 0
    covered |= cv2.dilate(person, element) & existing_yaws & above_chin
    # Crops are black outside the photograph.
    nothing = cv2.morphologyEx((picture == 0).all(axis=2).astype(np.uint8), cv2.MORPH_OPEN,
                               np.ones((7, 7), np.uint8)) & (1 - (person | head))
    known = ((covered | nothing) == 0).astype(np.float32)
    filled = inpaint(picture.astype(np.float32), known)
    soft = np.minimum(cv2.GaussianBlur(known, (0, 0), 1.5), known)[..., None]
    result = np.clip(filled + soft * (picture - filled), 0, 255).astype(np.uint8)
    if outside is not None:
        result[nothing > 0] = outside
    return result
