"""
The 68 landmarks in iBUG order, and their mirror images.

"Left" and "right" in names of landmarks are the person's own.
"""

import numpy as np

COUNT = 68

JAW = slice(0, 17)
"""From the right ear over the chin (8) to the left ear."""

JAW_COUNT = 17
"""Number of jaw points, the first of the 68; 2D data sets label them on the visible contour."""

INNER = slice(17, 68)
"""Brows, nose, eyes and mouth: the 51 points that 2D and 3D definitions have in common."""

SELLION = 27
"""The deepest point of the nose bridge, origin of the head frame."""

RIGHT_EYE_OUTER, LEFT_EYE_OUTER = 36, 45
"""The outer eye corners; their distance is the inter-ocular distance of 300-W."""

CURVES: tuple[tuple[tuple[int, ...], bool], ...] = (
    (tuple(range(0, 17)), False),
    (tuple(range(17, 22)), False),
    (tuple(range(22, 27)), False),
    (tuple(range(27, 31)), False),
    (tuple(range(31, 36)), False),
    (tuple(range(36, 42)), True),
    (tuple(range(42, 48)), True),
    (tuple(range(48, 60)), True),
    (tuple(range(60, 68)), True),
)
"""Indices of points to connect, and whether the curve is closed: jaw, brows, nose, eyes, mouth."""


def _mirror_68() -> np.ndarray:
    order = np.arange(COUNT)
    order[0:17] = np.arange(16, -1, -1)
    order[17:27] = np.arange(26, 16, -1)
    order[31:36] = np.arange(35, 30, -1)
    order[36:48] = [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    order[48:60] = [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55]
    order[60:68] = [64, 63, 62, 61, 60, 67, 66, 65]
    order.setflags(write=False)
    return order


MIRROR_68 = _mirror_68()
"""(68,) int: landmark i of a mirrored image is landmark `MIRROR_68[i]` of the image."""


def mirror_points(points: np.ndarray, width: float) -> np.ndarray:
    """
    Return the landmarks of an image that is mirrored left-right.

    :param points: (..., 68, 2 or 3) px in iBUG order.
    :param width: of the image, px.
    :return: landmarks of the mirrored image, of the same shape.
    :raises ValueError: for another number of points.
    """
    if points.ndim < 2 or points.shape[-2] != COUNT:
        raise ValueError(f'points: expected shape (..., 68, 2 or 3), got {points.shape}')
    result = points[..., MIRROR_68, :].copy()
    result[..., 0] = (width - 1) - result[..., 0]
    return result
