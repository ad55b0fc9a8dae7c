"""Pictures as shards keep them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.errors import UserError

QUALITY = 92
"""Of JPEG: what training adds on top is stronger."""


def encoded(image: NDArray[np.uint8]) -> bytes:
    """Return a picture (H, W, 3) BGR as JPEG."""
    return cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def file_bytes(path: Path) -> bytes:
    """
    Return a picture file as it is.

    :raises ValueError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f'data: the picture {path} cannot be read ({error.strerror})') from error
