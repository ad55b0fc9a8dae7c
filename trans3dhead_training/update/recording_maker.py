"""The stage `prepare`: shards of the fitted heads, of those held out, and of the replay set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import FACING_CAMERA
from trans3dhead_ros.types import BoolArray
from trans3dhead_training.data.labels import held_out_groups
from trans3dhead_training.data.manifest import Manifest
from trans3dhead_training.data.sample import Placement, Sample
from trans3dhead_training.data.shards import Shard
from trans3dhead_training.preparation.part_writer import write_parts
from trans3dhead_training.preparation.photograph_maker import fingerprint
from trans3dhead_training.preparation.picture_bytes import encode_jpeg, read_picture_bytes
from trans3dhead_training.update.camera_look import (
    BLURS_PX,
    measure_look,
    scaled,
    stretched,
    with_look,
)
from trans3dhead_training.update.label_fitting import HeadFits
from trans3dhead_training.update.labelling import LabelledHeads
from trans3dhead_training.update.update_config import UpdateConfig
from trans3dhead_training.update.update_run import UpdateRun

RECORDINGS, ADAPTED = 'recordings', 'adapted'
"""Names of the parts: the recorded heads, and those of the replay set in their look."""
REPLAY = Path(__file__).with_name('replay')
"""The replay set that comes with the package: synthetic people, free for any use."""

MIN_HEADS = 20
"""Heads that a training needs."""

MAX_ADAPTED, ADAPTED_EACH = 2000, 10
"""Pictures of the replay set that get the look of recorded heads: in all, and of each head."""
_POSE_SIGMA_DEG = 12.0
_LOOKS_TO_COMPARE = 200


def replay_offsets(replay: Path = REPLAY) -> np.ndarray:
    """Return (51, 3) m, from the landmarks of the head model to where the bundled model's are."""
    return np.array(Manifest.load(replay).offsets)


def prepare(run: UpdateRun, config: UpdateConfig, replay: Path = REPLAY) -> tuple[int, int]:
    """
    Write the shards of a training, and those of the people who are held out of it.

    :param run: with labels and fits.
    :param config: the settings.
    :param replay: folder of the replay set.
    :return: number of heads to train on, and of held-out heads.
    :raises UserError: too few heads are left, or the replay set is missing.
    """
    offsets = replay_offsets(replay)
    parts = [ReplayMaker(replay, part.name, part.source, part.licence, part.open)
             for part in Manifest.load(replay).parts]
    own = [RecordingMaker(run.path, config.held_out, held_out) for held_out in (False, True)]
    counts = own[0].count(), own[1].count()
    if counts[0] < MIN_HEADS or not counts[1]:
        raise UserError(f'prepare: {counts[0]} heads to train on and {counts[1]} to hold out are '
                        f'too few, {MIN_HEADS} and 1 are needed; record more, or see why heads '
                        'were left out in the report')
    write_parts([own[1]], run.held_out, config.seed, offsets, 1)
    adapted = AdaptedMaker(run.path, config.held_out, tuple(parts), config.seed)
    write_parts([own[0], *parts, adapted], run.data, config.seed, offsets, 1)
    return counts


@dataclass(frozen=True)
class RecordingMaker:
    """The heads of a run that are trained on, or those that are held out."""

    run: Path
    """Folder of the run."""
    share: float
    """Of the people that is held out."""
    held_out: bool
    """Whether these are the held-out heads."""
    name: str = RECORDINGS
    source: str = "the user's own recordings, labelled with averaged predictions of the model"
    licence: str = "the user's own"
    open: bool = False
    bytes_each: int = 16_000

    def count(self) -> int:
        """Return the number of heads."""
        return len(self._rows())

    def settings(self) -> dict[str, Any]:
        """Return the values on which the samples depend."""
        return {'share': self.share, 'labels': fingerprint(UpdateRun(self.run).labels),
                'fits': fingerprint(UpdateRun(self.run).fits)}

    def samples_per_item(self) -> float:
        """Return 1."""
        return 1.0

    def make(self, start: int, stop: int) -> list[Sample]:
        """Make the samples of some heads; see `PartMaker`."""
        run = UpdateRun(self.run)
        labels, fits = _tables(self.run)
        return [_sample(run, labels, fits, int(row), self.held_out)
                for row in self._rows()[start:stop]]

    def rays(self) -> np.ndarray:
        """Return the viewing ray (N, 2) of each head, x / z and y / z; nan without a camera."""
        labels, _ = _tables(self.run)
        return labels.rays[self._rows()].mean(axis=1)

    def _rows(self) -> np.ndarray:
        labels, fits = _tables(self.run)
        kept = np.flatnonzero(usable(labels, fits))
        return kept[held_out_heads(labels[kept], self.share) == self.held_out]


@dataclass(frozen=True)
class ReplayMaker:
    """A part of the replay set, as it is."""

    folder: Path
    """Of the replay set."""
    name: str
    source: str
    licence: str
    open: bool
    bytes_each: int = 10_000

    def count(self) -> int:
        """Return the number of samples."""
        return sum(len(shard) for shard in self._shards())

    def settings(self) -> dict[str, Any]:
        """Return the values on which the samples depend."""
        return {'replay': [fingerprint(shard.path) for shard in self._shards()]}

    def samples_per_item(self) -> float:
        """Return 1."""
        return 1.0

    def make(self, start: int, stop: int) -> list[Sample]:
        """Return some of the samples; see `PartMaker`."""
        rows = [(shard, row) for shard in self._shards() for row in range(len(shard))]
        return [shard.sample(row) for shard, row in rows[start:stop]]

    def _shards(self) -> list[Shard]:
        part = next(part for part in Manifest.load(self.folder).parts if part.name == self.name)
        return [Shard(self.folder / name) for name in part.shards]


@dataclass(frozen=True)
class AdaptedMaker:
    """Heads of the replay set, in the poses and in the look of recorded heads."""

    run: Path
    """Folder of the run."""
    share: float
    """Of the people that is held out; neither their poses nor their looks are taken."""
    replay: tuple[ReplayMaker, ...]
    """The parts of the replay set, which are drawn equally often."""
    seed: int
    """Of the choice."""
    name: str = ADAPTED
    bytes_each: int = 8_000

    @property
    def source(self) -> str:
        """What they were made from."""
        sources = '; '.join(part.source for part in self.replay)
        return f"{sources}; in the light and with the noise of the user's recordings"

    @property
    def licence(self) -> str:
        """That of the replay set: only brightness, noise and sharpness are taken of recordings."""
        return '; '.join(dict.fromkeys(part.licence for part in self.replay))

    @property
    def open(self) -> bool:
        """As of the replay set."""
        return all(part.open for part in self.replay)

    def count(self) -> int:
        """Return the number of samples."""
        heads = RecordingMaker(self.run, self.share, False).count()
        return min(MAX_ADAPTED, ADAPTED_EACH * heads)

    def settings(self) -> dict[str, Any]:
        """Return the values on which the samples depend."""
        own = RecordingMaker(self.run, self.share, False)
        return {**own.settings(), 'seed': self.seed,
                'replay': {part.name: part.settings()['replay'] for part in self.replay}}

    def samples_per_item(self) -> float:
        """Return 1."""
        return 1.0

    def make(self, start: int, stop: int) -> list[Sample]:
        """Make some of the samples; see `PartMaker`."""
        run = UpdateRun(self.run)
        matches = _matches(self, fingerprint(run.labels), fingerprint(run.fits))
        return [matches.sample(number) for number in range(start, stop)]


class _Matches:
    """Recorded heads with their looks, and for each the replayed heads in about its pose."""

    def __init__(self, maker: AdaptedMaker) -> None:
        self.seed = maker.seed
        parts = [[sample for sample in part.make(0, part.count()) if not sample.is_validation]
                 for part in maker.replay]
        self.replayed = [sample for part in parts for sample in part]
        recorded = RecordingMaker(maker.run, maker.share, False)
        heads = recorded.make(0, recorded.count())
        # Where a camera stands, seen from a head; the roll of a crop changes with every draw.
        views = np.stack([sample.rotation[2] for sample in self.replayed])
        angles = [np.rad2deg(np.arccos(np.clip(views @ _viewed_from(head), -1.0, 1.0)))
                  for head in heads]
        weights = np.exp(-0.5 * (np.stack(angles) / _POSE_SIGMA_DEG) ** 2) + 1e-6
        ends = np.cumsum([len(part) for part in parts])[:-1]
        self.probabilities = np.concatenate([
            own / own.sum(axis=1, keepdims=True) / len(parts)
            for own in np.split(weights, ends, axis=1)], axis=1)
        self.rays = recorded.rays()
        self.looks = [measure_look(head.image(), head.box) for head in heads]
        self.blur_px = self._blur()

    def sample(self, number: int, blur_px: float | None = None) -> Sample:
        """Return a replayed head in the look of a recorded one; a number gives the same again."""
        generator = np.random.default_rng((self.seed, number))
        row = int(generator.integers(len(self.looks)))
        chosen = self.replayed[generator.choice(len(self.replayed), p=self.probabilities[row])]
        look = self.looks[row]
        sample = scaled(chosen, min(look.side_px / float((chosen.box[2:] - chosen.box[:2]).max()),
                                    1.0))
        sample = stretched(sample, self.rays[row])
        image = with_look(sample.image(), sample.box, look,
                          self.blur_px if blur_px is None else blur_px, generator)
        return replace(sample, picture=encode_jpeg(image))

    def _blur(self) -> float:
        """Return the blur that makes replayed heads as sharp as recorded ones."""
        count = min(_LOOKS_TO_COMPARE, 2 * len(self.looks))
        target = np.median([look.sharpness for look in self.looks])

        def off(blur_px: float) -> float:
            found = [self.sample(number, blur_px) for number in range(count)]
            return abs(np.median([measure_look(sample.image(), sample.box).sharpness
                                  for sample in found]) - target)
        return min(BLURS_PX, key=off)


@lru_cache(maxsize=1)
def _matches(maker: AdaptedMaker, *_: str) -> _Matches:
    return _Matches(maker)


def _viewed_from(head: Sample) -> np.ndarray:
    """Return the axis of the camera (3,) in the frame of a head; frontal where it is unknown."""
    return (FACING_CAMERA if head.rotation is None else head.rotation)[2]


def usable(labels: LabelledHeads, fits: HeadFits) -> BoolArray:
    """
    Return which heads are learnt from: those with a fit, and all points that the user gave.

    :param labels: N heads.
    :param fits: of them.
    :return: (N,).
    """
    whole = np.isfinite(labels.points).all((1, 2))
    return fits.accepted | (labels.by_hand & whole)


def held_out_heads(labels: LabelledHeads, share: float) -> BoolArray:
    """
    Choose the heads to hold out: all of some people, chosen by a hash; of one person, the last.

    :param labels: N heads.
    :param share: of the people, or of the heads of one person.
    :return: (N,) whether a head is held out.
    """
    people = [f'person {number}' for number in labels.person.tolist()]
    if len(set(people)) > 1:
        chosen = held_out_groups({person: person for person in people}, share)
        return np.array([person in chosen for person in people])
    if not people:
        return np.zeros(0, bool)
    return labels.stamp > np.quantile(labels.stamp, 1.0 - share)


def _tables(run: Path) -> tuple[LabelledHeads, HeadFits]:
    folder = UpdateRun(run)
    return LabelledHeads.load(folder.labels), HeadFits.load(folder.fits)


def _sample(
    run: UpdateRun, labels: LabelledHeads, fits: HeadFits, row: int, held_out: bool,
) -> Sample:
    by_hand = bool(labels.by_hand[row])
    given = np.isfinite(labels.points[row]).all(-1)
    fitted = {}
    if fits.accepted[row]:
        fitted = {'rotation': fits.rotation[row], 'shape': fits.shape[row],
                  'expression': fits.expression[row],
                  'placement': Placement(fits.translation[row], float(fits.log_scale[row]))}
    return Sample(
        picture=read_picture_bytes(run.crops / str(labels.name[row])),
        source='labelled by the user' if by_hand else 'labelled by the model',
        group=f'person {labels.person[row]}', is_validation=held_out, points=fits.points[row],
        visible=None if given.all() else given, trust=float(labels.trust[row]), **fitted)
