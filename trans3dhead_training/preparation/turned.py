"""Labelled photographs turned in depth, so that large poses are as frequent as small ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from trans3dhead_ros.geometry import euler_from_rotation
from trans3dhead_ros.media.sources import read_picture
from trans3dhead_training.data.labels import NEVER_HELD_OUT
from trans3dhead_training.data.sample import Placement, Sample
from trans3dhead_training.fitting.head_basis import load_head_model
from trans3dhead_training.preparation.encode import encoded
from trans3dhead_training.preparation.photographs import (
    AUTOMATIC_TRUST,
    fingerprint,
    labelled_faces,
    read_fits,
)
from trans3dhead_training.synthesis.turned_photos.head_surface import HeadSurface
from trans3dhead_training.synthesis.turned_photos.photograph import FaceFit, RejectedError
from trans3dhead_training.synthesis.turned_photos.pose_sampler import (
    assign_yaws,
    render_random_poses,
)
from trans3dhead_training.synthesis.turned_photos.target_pose import TurnedFace


@dataclass(frozen=True)
class TurnedMaker:
    """
    Turned photographs; an item is one photograph in several poses.

    :ivar folder: with `labels.csv`. :ivar fits: the file of `trans3dhead prepare fits`.
    :ivar head_model: that of the fits. :ivar per_photo: pictures of one photograph, on average.
    """

    folder: Path
    fits: Path
    head_model: Path
    per_photo: float
    seed: int
    name: str = 'turned'
    source: str = 'HELEN, LFPW, AFW and YouTube Faces photographs, turned in depth'
    licence: str = 'research use'
    open: bool = False
    bytes_each: int = 16_000

    def count(self) -> int:
        """Return the number of photographs that may be turned."""
        return len(self._plan())

    def settings(self) -> dict[str, Any]:
        """Return what the samples depend on."""
        return {'per_photo': self.per_photo, 'fits': fingerprint(self.fits),
                'head_model': fingerprint(self.head_model)}

    def samples_per_item(self) -> float:
        """Return the mean number of pictures of a photograph."""
        return self.per_photo

    def make(self, start: int, stop: int) -> list[Sample]:
        """
        Return the turned pictures of some photographs.

        :raises ValueError: a picture is missing or damaged.
        """
        return [sample for row, yaws in self._plan()[start:stop] for sample in
                self._turned(row, yaws)]

    def _plan(self) -> tuple[tuple[int, tuple[float, ...]], ...]:
        return planned(self.folder, self.fits, self.per_photo, self.seed)

    def _turned(self, row: int, yaws: tuple[float, ...]) -> Iterator[Sample]:
        records, fits = labelled_faces(self.folder, self.fits)
        record = records[row]
        fit = FaceFit.from_row(fits, row, offsets(self.fits))
        trust = AUTOMATIC_TRUST if record.source in NEVER_HELD_OUT else 1.0
        for image, truth in turns_of(record.path, record.points, fit, self.head_model,
                                     np.random.default_rng((self.seed, row)), yaws):
            yield turned_sample(image, truth, record.source, record.photo, record.is_validation,
                                trust)


@lru_cache(maxsize=1)
def planned(
    folder: Path, fits_path: Path, per_photo: float, seed: int,
) -> tuple[tuple[int, tuple[float, ...]], ...]:
    """Return (row of `labelled_faces`, yaws in degrees) of every photograph that is turned."""
    _, fits = labelled_faces(folder, fits_path)
    plan = plan_accepted(fits, per_photo, np.random.default_rng(seed))
    return tuple((row, yaws) for row, yaws in plan if yaws)


def plan_accepted(
    fits: dict[str, np.ndarray], per_photo: float, generator: np.random.Generator,
) -> tuple[tuple[int, tuple[float, ...]], ...]:
    """Return (row of the fits, yaws in degrees, maybe none) of every face whose fit is kept."""
    rows = np.flatnonzero(fits['accepted'])
    yaw = euler_from_rotation(fits['rotation'][rows].astype(float))[:, 0]
    plan = assign_yaws(yaw, per_photo, generator, existing_yaws=yaw)
    return tuple((int(row), tuple(map(float, yaws))) for row, yaws in zip(rows, plan, strict=True))


def turns_of(
    path: Path, points: np.ndarray, fit: FaceFit, head_model: Path,
    generator: np.random.Generator, yaws: tuple[float, ...],
) -> Iterator[tuple[np.ndarray, TurnedFace]]:
    """
    Yield a picture (256, 256, 3) BGR and its truth for every yaw; none of a face not fit for it.

    :param points: (68, 2) px of the picture at `path`.
    :raises ValueError: the picture is missing or damaged.
    """
    picture = read_picture(path)
    try:
        yield from render_random_poses(picture, points, fit, surface(head_model), generator, yaws)
    except RejectedError:
        return


@lru_cache(maxsize=1)
def surface(head_model: Path) -> HeadSurface:
    """Return the surface on which photographs are laid, made once a process."""
    return HeadSurface.from_model(load_head_model(head_model))


@lru_cache(maxsize=1)
def offsets(fits_path: Path) -> np.ndarray:
    """Return (51, 3) m: where labellers put the inner points, seen from the model's."""
    return np.asarray(read_fits(fits_path)['offsets'], dtype=float)


def turned_sample(
    image: np.ndarray, truth: TurnedFace, source: str, group: str, is_validation: bool,
    trust: float,
) -> Sample:
    """Return one turned picture (H, W, 3) BGR and its truth."""
    return Sample(
        picture=encoded(image), source=source, group=group, is_validation=is_validation,
        points=truth.landmarks[:, :2], points_are_3d=True, trust=trust,
        depth=truth.landmarks[:, 2], contour=truth.contour, visible=truth.visible,
        rotation=truth.rotation, placement=Placement(truth.translation, truth.log_scale),
        shape=truth.shape, expression=truth.expression)
