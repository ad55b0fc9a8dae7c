"""Pictures as shards store them."""

from __future__ import annotations

from pathlib import Path

import cv2

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.types import Image

JPEG_QUALITY = 92
"""Training adds stronger compression artefacts anyway."""


def encode_jpeg(image: Image) -> bytes:
    """Return a picture (H, W, 3) BGR as JPEG."""
    return cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def read_picture_bytes(path: Path) -> bytes:
    """
    Read a picture file without decoding it.

    :param path: the file.
    :return: its content.
    :raises UserError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f'data: the picture {path} cannot be read ({error.strerror})') from error
