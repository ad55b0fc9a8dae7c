"""Training and validation batches of labelled heads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import mirrored
from trans3dhead_ros.landmarks import MIRROR_68
from trans3dhead_ros.media.sources import decode_picture
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_training.core.augmentation import (
    BORDERS,
    Augmentation,
    CropTransform,
    centred_transform,
    cut_by_border,
    photometric,
    random_transform,
)
from trans3dhead_training.core.background_crops import negative_crop
from trans3dhead_training.data.batch import Batch
from trans3dhead_training.data.head_table import HeadTable, read_table
from trans3dhead_training.data.mined_negatives import MinedNegatives
from trans3dhead_training.data.mirror import HeadMirror

PHOTOGRAPH_PARTS = ('photographs', 'profiles')
"""Parts of labelled photographs as they were taken."""


@dataclass(frozen=True)
class PartShares:
    """
    Relative shares of the parts of the prepared data among the heads of a batch.

    0 leaves a part out; a part that was not prepared has no share.
    """

    photographs: float = 0.45
    """Labelled photographs."""
    profiles: float = 0.1
    """Photographs of which only the visible half of the face is labelled."""
    turned: float = 0.25
    """The labelled photographs turned in depth."""
    turned_profiles: float = 0.05
    """The half-labelled photographs turned in depth."""
    portraits: float = 0.05
    """Portraits with points from a teacher network."""
    lfw: float = 0.05
    """Labeled Faces in the Wild, with points from a teacher network."""
    synthetic: float = 0.25
    """Rendered people."""
    recordings: float = 0.25
    """Heads of a robot's own recordings (`trans3dhead update`)."""
    adapted: float = 0.25
    """Rendered people in the light and poses of these recordings."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts with a share."""
        return tuple(name for name, share in asdict(self).items() if share > 0)


@dataclass(frozen=True)
class SamplingConfig:
    """Which heads make a batch."""

    negative_share: float = 0.2
    """Share of a batch without a head."""
    mined_share: float = 0.25
    """Share of the crops without a head that come from the part `negatives`, if it was prepared."""
    label_offset: float = 0.005
    """Systematic offset of labels to the right and below, as a fraction of the longer side of the
    landmark box."""
    use_fits: bool = True
    """Learn from the fits of photographs; false: only from their landmarks."""
    open_only: bool = False
    """Use only parts that are free for any use."""
    shares: PartShares = field(default_factory=PartShares)
    """Shares of the parts among the heads of a batch."""
    source_shares: Mapping[str, float] = field(default_factory=dict)
    """Relative shares of the sources among the labelled photographs, such as {helen: 3, ytf: 1}; a
    source that is not listed is not used. Empty: the augmentation's automatic_share decides."""

    def __post_init__(self) -> None:
        for name, share in self.source_shares.items():
            if not isinstance(share, (int, float)) or not share >= 0:
                raise UserError(f'sampling.source_shares.{name}: expected a share of at least 0, '
                                f'got {share!r}')


class HeadDataset:
    """
    Labelled heads; a picture is decoded when sampled.

    :param table: the labels.
    :param mirror: how mirroring changes coefficients; None: pictures are not mirrored.
    :param size: side of the crops, px.
    :param crop_scale: side of a crop / longer side of the landmark box.
    :param config: of the sampling.
    :param backgrounds: panoramas (H, W, 3) uint8 BGR, for crops without a head.
    :param mined: the part `negatives`, for crops without a head.

    Example::

        heads = HeadDataset.read(Path('runs/data'), head_model, ('photographs',), False, 128, 1.5)
        batch = heads.training_batch(64, np.random.default_rng(0))
    """

    def __init__(
        self, table: HeadTable, mirror: HeadMirror | None, size: int, crop_scale: float,
        config: SamplingConfig = SamplingConfig(), backgrounds: Sequence[np.ndarray] = (),
        mined: MinedNegatives | None = None,
    ) -> None:
        self.table, self.mirror = table, mirror
        self.size, self.crop_scale, self.config = size, crop_scale, config
        self.backgrounds, self.mined = backgrounds, mined
        low, high = np.nanmin(table.points, axis=1), np.nanmax(table.points, axis=1)
        self.centres, self.sides = (low + high) / 2, (high - low).max(1)
        photographs = [name in PHOTOGRAPH_PARTS for name in table.part_names]
        self.has_fit = table.has_fit & (config.use_fits | ~np.array(photographs)[table.part])
        self._probabilities: dict[Augmentation, np.ndarray] = {}

    @classmethod
    def read(
        cls, folder: Path, model: HeadModule, parts: Sequence[str], validation: bool, size: int,
        crop_scale: float, config: SamplingConfig = SamplingConfig(),
        backgrounds: Sequence[np.ndarray] = (), mirror: HeadMirror | None = None,
    ) -> HeadDataset:
        """
        Read some parts of a prepared folder.

        :param folder: with a manifest and shards.
        :param model: head model of the data, on the CPU.
        :param parts: names of the parts.
        :param validation: take the held-out heads, else the others.
        :param size: side of the crops, px.
        :param crop_scale: side of a crop / longer side of the landmark box.
        :param config: of the sampling.
        :param backgrounds: panoramas (H, W, 3) uint8 BGR, for crops without a head.
        :param mirror: of the model, where it was measured before.
        :return: the dataset.
        :raises UserError: nothing is left, or a shard is missing or damaged.
        """
        table = read_table(folder, model, parts, validation, config.open_only,
                           config.label_offset)
        return cls(table, mirror or HeadMirror.of(model), size, crop_scale, config, backgrounds,
                   MinedNegatives.read(folder, validation, config.open_only))

    def __len__(self) -> int:
        return len(self.table)

    def probabilities(self, config: Augmentation) -> np.ndarray:
        """
        Return the probability (N,) of each head to be drawn.

        :param config: has the weights of automatic labels and of large yaws.
        :return: the probabilities; their sum is 1.
        :raises UserError: `source_shares` names a source that the photographs do not have.
        """
        if config not in self._probabilities:
            table = self.table
            weight = np.where(table.automatic, config.automatic_share, 1.0)
            # Photographs are mostly frontal; the yaw of the other parts is evenly distributed.
            boost = 1.0 + (table.yaw_deg() / config.yaw_boost_deg) ** 2
            for number, name in enumerate(table.part_names):
                rows = table.part == number
                if name in PHOTOGRAPH_PARTS:
                    weight[rows] *= boost[rows]
                if name == 'photographs' and self.config.source_shares:
                    weight[rows] *= self._source_factors(table.source[rows], weight[rows])
                share = getattr(self.config.shares, name, 1.0)
                weight[rows] *= share / max(weight[rows].sum(), 1e-12)
            self._probabilities[config] = weight / weight.sum()
        return self._probabilities[config]

    def _source_factors(self, source: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Return factors (N,) that give the weights (N,) of each source its share."""
        factor = np.zeros(len(source))
        for name, share in self.config.source_shares.items():
            rows = source == name
            if not rows.any():
                raise UserError(f'sampling.source_shares.{name}: no such source among the '
                                f'photographs, which have {", ".join(np.unique(source))}')
            factor[rows] = share / max(weight[rows].sum(), 1e-12)
        return factor

    def training_batch(
        self, count: int, generator: np.random.Generator, config: Augmentation | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> Batch:
        """
        Draw augmented crops, those without a head last.

        :param count: size of the whole batch.
        :param generator: decides the batch.
        :param config: how to augment; None: the defaults.
        :param share: (k, n) makes only the crops k, k + n, k + 2 n, ... of the batch.
        :return: the batch, or the share of it.
        """
        config = config or Augmentation()
        heads = count - int(np.ceil(count * self.config.negative_share))
        rows = generator.choice(len(self), count, p=self.probabilities(config))
        # Every crop has its own generator, so that a share does not depend on the other crops.
        seeds = generator.integers(2 ** 63, size=count)
        chosen = np.arange(count)[share[0]::share[1]]
        crops, samples = [], []
        for position in chosen:
            row, crop_generator = int(rows[position]), np.random.default_rng(seeds[position])
            mirror = bool(crop_generator.random() < 0.5) and self.mirror is not None
            transform = random_transform(self._face_units(row, mirror), mirror, self.crop_scale,
                                         crop_generator, config)
            samples.append((row, transform))
            image = self.image(row)
            if position < heads:
                # Corners that are always black would leak the in-plane rotation.
                border = BORDERS[crop_generator.integers(len(BORDERS))]
                colour = crop_generator.integers(0, 256, 3) * crop_generator.integers(2)
                crop = self._crop(image, row, transform, border, colour)
                if crop_generator.random() < config.cut_share:
                    crop = cut_by_border(crop, transform.points(self._face_units(row, mirror)),
                                         crop_generator, config.cut_most)
            elif self.mined is not None and crop_generator.random() < self.config.mined_share:
                crop = self.mined.crop(self.size, self.crop_scale, crop_generator)
            else:
                crop = negative_crop(image, self.table.points[row], self.size, self.crop_scale,
                                     self.backgrounds, crop_generator)
            crops.append(photometric(crop, crop_generator, config.photometric))
        return self._batch(crops, chosen < heads, samples)

    def validation_batches(self, count: int, seed: int = 0) -> Iterator[Batch]:
        """
        Yield every head without augmentation, and as many crops without a head.

        :param count: heads per batch; as many crops without a head are added.
        :param seed: of the crops without a head.
        :yield: batches in the order of the table.
        """
        generator = np.random.default_rng(seed)
        for start in range(0, len(self), count):
            rows = range(start, min(start + count, len(self)))
            images = [self.image(row) for row in rows]
            samples = self._plain_samples(rows)
            crops = [self._crop(image, *sample)
                     for image, sample in zip(images, samples, strict=True)]
            crops += [negative_crop(image, self.table.points[row], self.size, self.crop_scale,
                                    self.backgrounds, generator)
                      for image, row in zip(images, rows, strict=True)]
            is_head = np.arange(2 * len(rows)) < len(rows)
            yield self._batch(crops, is_head, samples * 2)

    def plain_batch(self, rows: Sequence[int]) -> Batch:
        """Return the heads of these rows in centred crops; always bilinear, never area-averaged."""
        samples = self._plain_samples(rows)
        crops = [self._crop(self.image(row), row, transform) for row, transform in samples]
        return self._batch(crops, np.ones(len(samples)), samples)

    def image(self, row: int) -> np.ndarray:
        """Return the picture (H, W, 3) uint8 BGR of the head of a row."""
        return decode_picture(self.table.picture(row), f'{self.table.source[row]} {row}')

    def _plain_samples(self, rows: Sequence[int]) -> list[tuple[int, CropTransform]]:
        return [(row, centred_transform(self._face_units(row, False), self.crop_scale))
                for row in rows]

    def _face_units(self, row: int, mirror: bool) -> np.ndarray:
        face = self._to_face_units(self.table.points[row], row, mirror)
        return face[MIRROR_68] if mirror else face

    def _to_face_units(self, points: np.ndarray, row: int, mirror: bool) -> np.ndarray:
        face = 2 * (points - self.centres[row]) / self.sides[row]
        if not mirror:
            return face
        # Labels lie to the right of what they mark in a mirrored picture too: add the offset twice.
        return face * [-1.0, 1.0] + [4 * self.table.offset[row] / self.sides[row], 0.0]

    def _crop(self, image: np.ndarray, row: int, transform: CropTransform,
              border: int = cv2.BORDER_CONSTANT, colour: Sequence[int] = (0, 0, 0)) -> np.ndarray:
        matrix = transform.image_to_crop(self.centres[row], self.sides[row], self.size)
        return cv2.warpAffine(image, matrix, (self.size, self.size), flags=cv2.INTER_LINEAR,
                              borderMode=border, borderValue=tuple(map(int, colour)))

    def _batch(self, crops: list[np.ndarray], is_head: np.ndarray,
               samples: list[tuple[int, CropTransform]]) -> Batch:
        table = self.table
        rows = np.array([row for row, _ in samples])
        transforms = [transform for _, transform in samples]
        flipped = np.array([transform.mirror for transform in transforms])
        turn = np.stack([transform.turn for transform in transforms])
        scale = np.array([transform.scale for transform in transforms])
        points, jaw, translation = [], [], []
        for row, transform in samples:
            points.append(transform.points(self._face_units(row, transform.mirror)))
            own = self._to_face_units(table.jaw[row], row, transform.mirror)
            jaw.append(transform.points(own[::-1] if transform.mirror else own))
            translation.append(transform.points(
                self._to_face_units(table.translation[row], row, transform.mirror)))
        rotation, shape = table.rotation[rows].copy(), table.shape[rows].copy()
        expression, labelled = table.expression[rows].copy(), table.labelled[rows].copy()
        if flipped.any():
            labelled[flipped] = labelled[flipped][:, MIRROR_68]
            rotation[flipped] = mirrored(rotation[flipped])
            shape[flipped] = shape[flipped] @ self.mirror.shape
            expression[flipped] = expression[flipped][:, self.mirror.expression]
        spin = np.tile(np.eye(3), (len(rows), 1, 1))
        spin[:, :2, :2] = turn
        has_fit = self.has_fit[rows]
        arrays = (np.stack(points), table.trust[rows], has_fit, np.stack(jaw), spin @ rotation,
                  np.stack(translation),
                  table.log_scale[rows] + np.log(2 * scale / self.sides[rows]), shape, expression,
                  labelled)
        # Replace nan, which a mask could not remove from gradients; that of points is the mask.
        arrays = (arrays[0], *(np.nan_to_num(array) for array in arrays[1:]))
        pixels = np.empty((len(crops), self.size, self.size, 3), np.float32)
        for crop, own in zip(crops, pixels, strict=True):
            np.divide(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB), np.float32(255), out=own)
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        return Batch(images, torch.from_numpy(is_head).float(),
                     *(torch.from_numpy(array).float() for array in arrays))
