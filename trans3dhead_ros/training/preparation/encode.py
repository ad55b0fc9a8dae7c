"""Pictures as shards keep them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

QUALITY = 92
"""Of JPEG: what training adds on top is stronger."""


def encoded(image: NDArray[np.uint8]) -> bytes:
    """Return a picture (H, W, 3) BGR as JPEG."""
    return cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
