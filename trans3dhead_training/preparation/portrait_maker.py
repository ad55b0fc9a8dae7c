"""The parts `portraits` and `lfw`: faces with a teacher's points, plain and turned in depth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.landmarks import JAW, JAW_COUNT
from trans3dhead_training.data.labels import is_held_out, portrait_group
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.preparation.photograph_maker import (
    fingerprint,
    placement_px,
    read_fits,
)
from trans3dhead_training.preparation.picture_bytes import read_picture_bytes
from trans3dhead_training.preparation.turned_maker import (
    head_surface,
    plan_accepted,
    render_turns,
    turned_sample,
)
from trans3dhead_training.synthesis.turned_photos.photograph import FaceFit

TEACHER_TRUST = 0.6
"""Weight of a teacher's points."""


@dataclass(frozen=True)
class PortraitMaker:
    """Portraits; an item is one of them, plain and in several poses."""

    folder: Path
    """Folder that the file names of the fits are relative to."""
    fits: Path
    """File of `trans3dhead prepare fits --portraits` or `trans3dhead prepare unlabelled-fits`."""
    head_model: Path
    """File of the head model of the fits."""
    per_photo: float
    """Average number of turned pictures of one portrait."""
    seed: int
    name: str = 'portraits'
    source: str = 'portraits of members of the United States Congress, plain and turned in depth'
    licence: str = 'public domain'
    open: bool = True
    bytes_each: int = 16_000

    def count(self) -> int:
        """Return the number of portraits whose fit was accepted."""
        return len(self._plan())

    def settings(self) -> dict[str, Any]:
        """Return the values on which the samples depend."""
        return {'per_photo': self.per_photo, 'fits': fingerprint(self.fits),
                'head_model': fingerprint(self.head_model)}

    def samples_per_item(self) -> float:
        """Return the average number of pictures of a portrait."""
        return 1.0 + self.per_photo

    def make(self, start: int, stop: int) -> list[Sample]:
        """Make the pictures of some portraits; see `PartMaker`."""
        return [sample for row, yaws in self._plan()[start:stop] for sample in
                self._pictures(row, yaws)]

    def _plan(self) -> tuple[tuple[int, tuple[float, ...]], ...]:
        return plan_portraits(self.fits, self.per_photo, self.seed)

    def _pictures(self, row: int, yaws: tuple[float, ...]) -> Iterator[Sample]:
        fits = read_portrait_fits(self.fits)
        file = str(fits['files'][row])
        group = portrait_group(file)
        fit = FaceFit.from_row(fits, row)
        points = np.asarray(fits['points'][row], dtype=float)
        path, held_out = self.folder / file, is_held_out(group)
        yield self._plain(path, points, fit, group, held_out)
        for image, truth in render_turns(path, points, fit, self.head_model,
                                         np.random.default_rng((self.seed, row)), yaws):
            yield remove_offsets(turned_sample(image, truth, portrait_source(file), group, held_out,
                                               TEACHER_TRUST), fit.offsets)

    def _plain(self, path: Path, points: np.ndarray, fit: FaceFit, group: str,
               held_out: bool) -> Sample:
        placement = placement_px(points, fit.translation, fit.log_scale)
        model = head_surface(self.head_model).model
        shape, expression = (torch.from_numpy(values)[None].float()
                             for values in (fit.shape, fit.expression))
        jaw = model.points_of(model.landmark_indices[JAW], shape, expression)[0].numpy()
        whole = points.copy()
        whole[JAW] = (np.exp(placement.log_scale) * jaw @ fit.rotation[:2].T
                      + placement.translation)
        sample = Sample(
            picture=read_picture_bytes(path), source=portrait_source(group), group=group,
            is_validation=held_out, points=whole, points_are_3d=True, trust=TEACHER_TRUST,
            contour=points[JAW],
            rotation=fit.rotation, placement=placement,
            shape=fit.shape, expression=fit.expression)
        return remove_offsets(sample, fit.offsets)


def portrait_source(file: str) -> str:
    """Return the source of a portrait: the first folder of its name."""
    return PurePosixPath(file).parts[0]


def remove_offsets(sample: Sample, offsets: np.ndarray) -> Sample:
    """
    Move the inner points from the teacher's definition to the head model's landmarks.

    :param sample: with points, rotation and placement.
    :param offsets: (51, 3) m, head frame, from the model's landmarks to the teacher's.
    :return: the sample with moved points.
    """
    points = sample.points.copy()
    points[JAW_COUNT:] -= (np.exp(sample.placement.log_scale)
                           * offsets @ sample.rotation[:2].T)
    return replace(sample, points=points)


@lru_cache(maxsize=2)
def read_portrait_fits(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of the fits of portraits, once per process."""
    if not Path(path).is_file():
        raise UserError(f'portraits, lfw: no file {path}; make it with `trans3dhead prepare fits '
                        '--portraits` or `trans3dhead prepare unlabelled-fits`, or leave the part '
                        'out')
    return read_fits(path)


@lru_cache(maxsize=2)
def plan_portraits(
    path: Path, per_photo: float, seed: int,
) -> tuple[tuple[int, tuple[float, ...]], ...]:
    """
    Plan the pictures of every accepted portrait.

    :param path: file of the fits.
    :param per_photo: average number of turned pictures.
    :param seed: of the plan.
    :return: (row of the fits, yaws in degrees) of each portrait.
    """
    return plan_accepted(read_portrait_fits(path), per_photo, np.random.default_rng((seed, 1)))
