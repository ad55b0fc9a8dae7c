"""Whether pictures are frames of a video: their names are ordered, and each continues another."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.types import Array, Float32Array, Image

_THUMBNAIL_PX, _MARGIN_PX = 48, 10
# Of pictures 0.1 to 0.5 s apart in clips at least 0.86 and 0.89; of photographs of other people,
# cut out alike, 0.74 and 0.76 are exceeded by few.
_CERTAIN_CORRELATION, _LEAST_CORRELATION, _LEAST_OVERLAP = 0.9, 0.8, 0.8
# Grey levels; at most this far apart are pictures of noise or of a wall.
_ALIKE = 8.0


def check_order(name: str, paths: Sequence[str]) -> None:
    """
    Refuse pictures whose names give no order: equal names but for their numbers do.

    :param name: the folder.
    :param paths: its pictures, one or more.
    :raises UserError: for pictures without an order.
    """
    stems = [Path(path).stem for path in paths]
    if len({re.sub(r'\d+', '#', stem) for stem in stems}) == 1 and (
            len(stems) == 1 or re.search(r'\d', stems[0])):
        return
    raise UserError(f'source: the names of the pictures in {name} are not numbered, so their order '
                    f'is unknown; use `trans3dhead detect {name}` for unrelated pictures, or '
                    '--frames if they are frames of one video, in the order of their names')


class CutDetector:
    """
    Finds the pictures that do not continue the one before: another size, or other content.

    Content is compared as grey thumbnails, one moved over the other, and as colour histograms.
    """

    def __init__(self) -> None:
        self._before: tuple[tuple[int, ...], Float32Array, Array] | None = None

    def is_cut(self, image: Image) -> bool:
        """
        Compare a picture with the one before.

        :param image: (H, W, 3) BGR.
        :return: whether it begins something new; False for the first picture.
        """
        small = cv2.resize(image, (_THUMBNAIL_PX, _THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.float32)
        colours = cv2.calcHist([small], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3) / grey.size
        before, self._before = self._before, (image.shape, grey, colours)
        if before is None:
            return False
        shape, old_grey, old_colours = before
        if shape != image.shape:
            return True
        if np.abs(grey - old_grey).mean() < _ALIKE:
            return False
        middle = slice(_MARGIN_PX, _THUMBNAIL_PX - _MARGIN_PX)
        correlation = cv2.matchTemplate(
            old_grey, grey[middle, middle], cv2.TM_CCOEFF_NORMED).max()
        if correlation >= _CERTAIN_CORRELATION:
            return False
        overlap = np.minimum(colours, old_colours).sum()
        return bool(correlation < _LEAST_CORRELATION or overlap < _LEAST_OVERLAP)
