"""
Hard negatives: windows without a head at which the head detector fires.

Random windows are too easy: a network that rejects all of them still takes a book shelf for a head,
because in use it sees what the detector proposed. So the bundled detector is run, at a very low
score, on images without a head: views of panoramas, and labelled photographs outside the face.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from trans3dhead_ros.boxes import iou
from trans3dhead_ros.inference.head_search import HeadSearch
from trans3dhead_ros.media.sources import read_picture
from trans3dhead_ros.perception.crop import crop_square, crop_window, landmark_box, to_crop_units
from trans3dhead_ros.types import Array, Image
from trans3dhead_training.core.background_crops import MAXIMUM_OVERLAP, read_backgrounds
from trans3dhead_training.data.labels import FaceRecord, is_held_out, read_labels
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.preparation.picture_bytes import encode_jpeg

VIEW_SIZE = (480, 320)
"""Width and height px of a view of a panorama."""
WINDOW_SCALE, MAX_WINDOW_PX = 2.0, 320
"""Side of a stored window, in longer sides of the proposed box and at most in px."""

_MAX_PROPOSALS = 8
_MIN_SCORE = 0.01


@dataclass(frozen=True)
class NegativeMaker:
    """
    Windows without a head; an item is a view of a panorama or a photograph.

    A sample has a box and no points. Windows of one panorama, or of one photograph, are one group.
    """

    faces: Path
    """Folder with `labels.csv`."""
    panoramas: Path
    """Folder with .hdr files; may be absent."""
    views: int
    """Number of views of each panorama."""
    photographs: int
    """Number of labelled photographs, at most."""
    seed: int
    name: str = 'negatives'
    source: str = 'photographs with 68 points and HDR environments, where a detector fires falsely'
    licence: str = 'research use'
    open: bool = False
    bytes_each: int = 12_000

    def count(self) -> int:
        """Return the number of views and photographs."""
        return self.views * len(_panoramas(self.panoramas)) + len(self._records())

    def settings(self) -> dict[str, Any]:
        """Return the values on which the samples depend."""
        return {'items': self.count(), 'views': self.views, 'photographs': self.photographs}

    def samples_per_item(self) -> float:
        """Return roughly how many windows an item gives."""
        return 0.5

    def make(self, start: int, stop: int) -> list[Sample]:
        """Return the windows of some items; see `PartMaker`."""
        return [sample for item in range(start, stop) for sample in self._windows(item)]

    def _records(self) -> tuple[FaceRecord, ...]:
        return _labelled_photographs(self.faces, self.photographs, self.seed)

    def _windows(self, item: int) -> list[Sample]:
        generator = np.random.default_rng((self.seed, item))
        panoramas = _panoramas(self.panoramas)
        if item < self.views * len(panoramas):
            name, panorama = panoramas[item // self.views]
            image, face, group = random_view(panorama, generator), None, f'panorama/{name}'
            held_out = is_held_out(group)
        else:
            record = self._records()[item - self.views * len(panoramas)]
            image, face = read_picture(record.path), landmark_box(record.points)
            group, held_out = record.photo, record.is_validation
        boxes = propose_boxes(image, generator)
        if face is not None:
            boxes = boxes[iou(boxes, face[None]).max(axis=1, initial=0.0) < MAXIMUM_OVERLAP]
        return [_window_sample(image, box, group, held_out) for box in boxes]


@lru_cache(maxsize=1)
def _panoramas(folder: Path) -> list[tuple[str, Image]]:
    names = [path.stem for path in sorted(folder.glob('*.hdr'))]
    return list(zip(names, read_backgrounds(folder), strict=True))


@lru_cache(maxsize=1)
def _labelled_photographs(folder: Path, count: int, seed: int) -> tuple[FaceRecord, ...]:
    records = [record for record in read_labels(folder) if record.points is not None]
    chosen = np.random.default_rng(seed).permutation(len(records))[:count]
    return tuple(records[i] for i in sorted(chosen))


@lru_cache(maxsize=1)
def _detector() -> HeadSearch:
    return HeadSearch.load(device='cpu', threads=1, min_score=_MIN_SCORE)


def propose_boxes(image: Image, generator: np.random.Generator) -> Array:
    """
    Return what the detector proposes at a very low score.

    :param image: (H, W, 3) BGR.
    :param generator: draws which proposals are kept.
    :return: (0…8, 4) px, landmark boxes.
    """
    boxes = _detector().detect(image).landmark_box
    return boxes[generator.permutation(len(boxes))[:_MAX_PROPOSALS]]


def _window_sample(image: Image, box: Array, group: str, held_out: bool) -> Sample:
    centre, side = crop_window(box, WINDOW_SCALE)
    size = int(np.clip(round(side), 16, MAX_WINDOW_PX))
    corners = (to_crop_units(box.reshape(2, 2), centre, side) + 1) * size / 2 - 0.5
    return Sample(
        picture=encode_jpeg(crop_square(image, centre, side, size)), source='negatives',
        group=group, is_validation=held_out, trust=0.0, given_box=corners.ravel())


def random_view(panorama: Image, generator: np.random.Generator) -> Image:
    """
    Return a view in a random direction, mostly level, with random exposure.

    :param panorama: (H, W, 3), equirectangular.
    :param generator: draws the camera and the exposure.
    :return: (320, 480, 3).
    """
    rotation = Rotation.from_euler('yxz', [
        generator.uniform(-np.pi, np.pi), *generator.normal(0, 0.35, 2)]).as_matrix()
    view = rectilinear_view(panorama, rotation, generator.uniform(30, 95), VIEW_SIZE)
    levels = np.arange(256) * generator.uniform(0.5, 1.4) + generator.normal(0, 25)
    return cv2.LUT(view, np.clip(levels, 0, 255).astype(np.uint8))


def rectilinear_view(
    panorama: Image, rotation: Array, field_of_view_deg: float, size: tuple[int, int],
) -> Image:
    """
    Return what a pinhole camera sees in an equirectangular panorama.

    :param panorama: (H, W, 3).
    :param rotation: (3, 3) camera optical frame -> panorama.
    :param field_of_view_deg: horizontal.
    :param size: (width, height) px.
    :return: (height, width, 3).
    """
    width, height = size
    focal = 0.5 * width / np.tan(0.5 * np.deg2rad(field_of_view_deg))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    rays = np.stack([x - 0.5 * (width - 1), y - 0.5 * (height - 1), np.full_like(x, focal)], -1)
    rays = (rays / np.linalg.norm(rays, axis=-1, keepdims=True)) @ rotation.T.astype(np.float32)
    rows, columns = panorama.shape[:2]
    across = (np.arctan2(rays[..., 0], rays[..., 2]) / (2 * np.pi) + 0.5) * columns - 0.5
    down = (np.arcsin(np.clip(rays[..., 1], -1, 1)) / np.pi + 0.5) * rows - 0.5
    return cv2.remap(panorama, across.astype(np.float32), down.astype(np.float32),
                     cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
