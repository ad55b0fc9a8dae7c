"""Batches of crops with all that is known of them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import torch

from trans3dhead_ros.geometry import euler_from_rotation
from trans3dhead_ros.landmarks import MIRROR_68
from trans3dhead_ros.perception.source import read_picture
from trans3dhead_ros.training.augment import (
    Augmentation,
    CropTransform,
    centred_transform,
    photometric,
    random_transform,
)
from trans3dhead_ros.training.data.labels import NEVER_HELD_OUT, FaceRecord, read_labels
from trans3dhead_ros.training.negatives import negative_crop

BORDERS = (cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT_101)


@dataclass(frozen=True)
class Batch:
    """
    B crops and their truth; rows of `points` ... `expression` are meaningless where not `is_head`.

    :ivar crops: (B, 3, S, S) RGB in 0..1. :ivar is_head: (B,) 1 or 0.
    :ivar points: (B, 68, 2) labels in crop units, jaw on the visible contour.
    :ivar point_weight: (B,) trust in the labels. :ivar rotation: (B, 3, 3), translation (B, 2),
        log_scale (B,), shape (B, I), expression (B, E): the fit, in crop units as the network's.
    """

    crops: torch.Tensor
    is_head: torch.Tensor
    points: torch.Tensor
    point_weight: torch.Tensor
    rotation: torch.Tensor
    translation: torch.Tensor
    log_scale: torch.Tensor
    shape: torch.Tensor
    expression: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass(frozen=True)
class FacesConfig:
    """
    Which faces make a batch.

    :ivar maximum_residual: faces whose fit is worse (of the box) are left out.
    :ivar negative_share: of every batch.
    :ivar label_offset_px: where the labels lie, right of and below what they mark. Labels count
        pixels from 1, and so must those of a mirrored picture: else the two contradict each other.
    """

    maximum_residual: float = 0.035
    negative_share: float = 0.2
    label_offset_px: float = 0.8


class Faces:
    """Labelled photographs in memory with their fits; draws training and validation batches."""

    def __init__(
        self, folder: Path, fits_path: Path, size: int, crop_scale: float, validation: bool,
        config: FacesConfig = FacesConfig(), backgrounds: Sequence[np.ndarray] = (),
    ) -> None:
        if not Path(fits_path).is_file():
            raise ValueError(f'fits: no file {fits_path}; make it with `trans3dhead prepare fits`')
        self.size, self.crop_scale, self.config = size, crop_scale, config
        self.backgrounds = backgrounds
        with np.load(fits_path, allow_pickle=False) as archive:
            fits = {key: archive[key] for key in archive.files}
        self.offsets = fits.pop('offsets')
        row_of = {str(file): row for row, file in enumerate(fits.pop('files'))}
        records = [record for record in read_labels(folder)
                   if record.points is not None and record.is_validation == validation]
        missing = [record.file for record in records if record.file not in row_of]
        if missing:
            raise ValueError(f'fits: {fits_path} lacks {len(missing)} faces, {missing[0]} the '
                             'first; run `trans3dhead prepare fits` again')
        rows = np.array([row_of[record.file] for record in records])
        if not validation:
            good = fits['inner_error'][rows, 0] <= config.maximum_residual
            records = [record for record, keep in zip(records, good, strict=True) if keep]
            rows = rows[good]
        self.records: list[FaceRecord] = records
        self.fits = {key: value[rows] for key, value in fits.items()}
        self.images = [read_picture(record.path) for record in records]
        self.points = np.stack([record.points for record in records])
        low, high = self.points.min(1), self.points.max(1)
        self.centres, self.sides = (low + high) / 2, (high - low).max(1)
        self.by_hand = np.array([record.source not in NEVER_HELD_OUT for record in records])
        self._mirror_shift = 4 * config.label_offset_px / self.sides  # there and back, face units
        self._chances: dict[Augmentation, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.records)

    def _chance(self, config: Augmentation) -> np.ndarray:
        if config not in self._chances:
            yaw = euler_from_rotation(self.fits['rotation'][:, 0])[:, 0]
            weight = np.where(self.by_hand, 1.0, config.automatic_share)
            weight = weight * (1.0 + (yaw / config.yaw_boost_deg) ** 2)
            self._chances[config] = weight / weight.sum()
        return self._chances[config]

    def training_batch(
        self, count: int, generator: np.random.Generator, config: Augmentation | None = None,
    ) -> Batch:
        """Draw `count` augmented crops, negatives among them."""
        config = config or Augmentation()
        negatives = int(np.ceil(count * self.config.negative_share))
        rows = generator.choice(len(self), count, p=self._chance(config))
        crops, samples = [], []
        for position, row in enumerate(rows):
            mirror = bool(generator.random() < 0.5)
            face = self._face_units(row, mirror)
            transform = random_transform(face, mirror, self.crop_scale, generator, config)
            samples.append((row, transform))
            if position < count - negatives:
                # Always black corners would tell the picture's turn, which no camera does.
                border = BORDERS[generator.integers(len(BORDERS))]
                crop = self._crop(row, transform, border)
            else:
                crop = negative_crop(self.images[row], self.points[row], self.size,
                                     self.crop_scale, self.backgrounds, generator)
            crops.append(photometric(crop, generator, config.photometric))
        is_head = np.arange(count) < count - negatives
        return self._batch(crops, is_head, samples)

    def validation_batches(self, count: int, seed: int = 0) -> Iterator[Batch]:
        """Yield every face plainly cropped, each followed somewhere by one negative."""
        generator = np.random.default_rng(seed)
        for start in range(0, len(self), count):
            rows = range(start, min(start + count, len(self)))
            samples = self._plain_samples(rows)
            crops = [self._crop(row, transform) for row, transform in samples]
            crops += [negative_crop(self.images[row], self.points[row], self.size, self.crop_scale,
                                    self.backgrounds, generator) for row in rows]
            is_head = np.arange(2 * len(rows)) < len(rows)
            yield self._batch(crops, is_head, samples * 2)

    def plain_batch(self, rows: Sequence[int]) -> Batch:
        """Return these faces as inference would crop them."""
        samples = self._plain_samples(rows)
        crops = [self._crop(row, transform) for row, transform in samples]
        return self._batch(crops, np.ones(len(samples)), samples)

    def _plain_samples(self, rows: Sequence[int]) -> list[tuple[int, CropTransform]]:
        return [(row, centred_transform(self._face_units(row, False), self.crop_scale))
                for row in rows]

    def _face_units(self, row: int, mirror: bool) -> np.ndarray:
        face = 2 * (self.points[row] - self.centres[row]) / self.sides[row]
        if not mirror:
            return face
        return face[MIRROR_68] * [-1.0, 1.0] + [self._mirror_shift[row], 0.0]

    def _crop(self, row: int, transform: CropTransform,
              border: int = cv2.BORDER_CONSTANT) -> np.ndarray:
        matrix = transform.image_to_crop(self.centres[row], self.sides[row], self.size)
        return cv2.warpAffine(self.images[row], matrix, (self.size, self.size),
                              flags=cv2.INTER_LINEAR, borderMode=border)

    def _batch(self, crops: list[np.ndarray], is_head: np.ndarray,
               samples: list[tuple[int, CropTransform]]) -> Batch:
        rows = np.array([row for row, _ in samples])
        side = np.array([int(transform.mirror) for _, transform in samples])
        fit = {key: value[rows, side] for key, value in self.fits.items()}
        turn = np.stack([transform.turn for _, transform in samples])
        scale = np.array([transform.scale for _, transform in samples])
        shift = np.stack([transform.shift for _, transform in samples])
        points = np.stack([transform.points(self._face_units(row, transform.mirror))
                           for row, transform in samples])
        placed = fit['translation'].copy()
        placed[:, 0] += side * self._mirror_shift[rows]
        spin = np.tile(np.eye(3), (len(rows), 1, 1))
        spin[:, :2, :2] = turn
        arrays = (
            points, np.where(self.by_hand[rows], 1.0, 0.5), spin @ fit['rotation'],
            scale[:, None] * np.einsum('bij,bj->bi', turn, placed) + shift,
            fit['log_scale'] + np.log(scale), fit['shape'], fit['expression'])
        stacked = torch.from_numpy(np.stack(crops)[..., ::-1].copy()).permute(0, 3, 1, 2)
        return Batch(stacked.float() / 255.0, torch.from_numpy(is_head).float(),
                     *(torch.from_numpy(array).float() for array in arrays))


def prefetched(
    faces: Faces, count: int, seed: int, first: int, augmentation: Callable[[int], Augmentation],
    depth: int = 4,
) -> Iterator[Batch]:
    """
    Yield training batches made ahead by a thread; batch i depends on (seed, i) alone.

    :param augmentation: what applies to batch i.

    OpenCV and NumPy release the interpreter lock in their loops, so one thread is enough.
    """
    ready: queue.Queue[Batch | BaseException] = queue.Queue(depth)
    stop = threading.Event()

    def produce() -> None:
        index = first
        while not stop.is_set():
            try:
                item: Batch | BaseException = faces.training_batch(
                    count, np.random.default_rng((seed, index)), augmentation(index))
            except Exception as error:  # carried to the consumer, which raises it
                item = error
            while not stop.is_set():
                try:
                    ready.put(item, timeout=0.2)
                    break
                except queue.Full:
                    continue
            if isinstance(item, BaseException):
                return
            index += 1

    thread = threading.Thread(target=produce, name='batches', daemon=True)
    thread.start()
    try:
        while True:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
