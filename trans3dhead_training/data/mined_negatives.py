"""Crops of the part `negatives`: windows without a head at which a detector fired."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from trans3dhead_ros.media.sources import decode_picture
from trans3dhead_ros.types import Image
from trans3dhead_training.core.augmentation import random_transform
from trans3dhead_training.data.manifest import Manifest
from trans3dhead_training.data.shards import Shard

NEGATIVES = 'negatives'
"""Name of the part."""


class MinedNegatives:
    """
    Draws crops of the part `negatives`.

    :param shards: of the part.
    :param validation: take the held-out windows, else the others.
    """

    def __init__(self, shards: Sequence[Shard], validation: bool) -> None:
        self._rows = [(shard, int(row)) for shard in shards for row in np.flatnonzero(
            (shard.labels['is_validation'] > 0) == validation)]

    @classmethod
    def read(cls, folder: Path, validation: bool, open_only: bool) -> MinedNegatives | None:
        """
        Read the part of a prepared folder.

        :param folder: with a manifest and shards.
        :param validation: take the held-out windows, else the others.
        :param open_only: take the part only if it is free for any use.
        :return: None where the part was not prepared, may not be used or is empty.
        :raises UserError: a shard is missing or damaged.
        """
        shards = [Shard(Path(folder) / name) for part in Manifest.load(folder).usable(open_only)
                  if part.name == NEGATIVES for name in part.shards]
        negatives = cls(shards, validation)
        return negatives if len(negatives) else None

    def __len__(self) -> int:
        return len(self._rows)

    def crop(self, size: int, crop_scale: float, generator: np.random.Generator) -> Image:
        """
        Draw a window and crop it as training crops a head.

        :param size: side of the crop, px.
        :param crop_scale: side of the crop / longer side of the box.
        :param generator: draws the window, its mirror image and its transform.
        :return: (size, size, 3) BGR.
        """
        shard, row = self._rows[generator.integers(len(self._rows))]
        image = decode_picture(shard.picture(row), f'{NEGATIVES} {row}')
        low, high = shard.labels['box'][row].astype(float).reshape(2, 2)
        centre, side = (low + high) / 2, float((high - low).max())
        corners = 2 * (np.stack([low, high]) - centre) / side
        transform = random_transform(corners, bool(generator.random() < 0.5), crop_scale, generator)
        return cv2.warpAffine(image, transform.image_to_crop(centre, side, size), (size, size),
                              flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
