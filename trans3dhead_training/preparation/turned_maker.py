"""The parts `turned` and `turned_profiles`: photographs turned in depth, for large poses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from trans3dhead_ros.geometry import euler_from_rotation
from trans3dhead_ros.media.sources import read_picture
from trans3dhead_training.data.labels import NEVER_HELD_OUT
from trans3dhead_training.data.sample import Placement, Sample
from trans3dhead_training.fitting.head_basis import load_head_model_npz
from trans3dhead_training.preparation.photograph_maker import (
    AUTOMATIC_TRUST,
    common_points_fit,
    fingerprint,
    labelled_faces,
)
from trans3dhead_training.preparation.picture_bytes import encode_jpeg
from trans3dhead_training.synthesis.turned_photos.head_surface import HeadSurface
from trans3dhead_training.synthesis.turned_photos.photograph import FaceFit, RejectedError
from trans3dhead_training.synthesis.turned_photos.pose_sampler import (
    PoseSamplerConfig,
    assign_yaws,
    render_random_poses,
)
from trans3dhead_training.synthesis.turned_photos.target_pose import TurnedFace


@dataclass(frozen=True)
class TurnedMaker:
    """Turned photographs; an item is one photograph in several poses."""

    folder: Path
    """With `labels.csv`."""
    fits: Path
    """File of `trans3dhead prepare fits`."""
    head_model: Path
    """File of the head model of the fits."""
    per_photo: float
    """Average number of pictures of one photograph."""
    seed: int
    config: PoseSamplerConfig = field(default_factory=PoseSamplerConfig)
    """Distribution of the poses."""
    name: str = 'turned'
    source: str = 'HELEN, LFPW, AFW and YouTube Faces photographs, turned in depth'
    licence: str = 'research use'
    open: bool = False
    bytes_each: int = 16_000

    def count(self) -> int:
        """Return the number of photographs that are turned."""
        return len(self._plan())

    def settings(self) -> dict[str, Any]:
        """Return the values on which the samples depend."""
        return {'per_photo': self.per_photo, 'fits': fingerprint(self.fits),
                'config': asdict(self.config), 'head_model': fingerprint(self.head_model)}

    def samples_per_item(self) -> float:
        """Return the average number of pictures of a photograph."""
        return self.per_photo

    def make(self, start: int, stop: int) -> list[Sample]:
        """Make the turned pictures of some photographs; see `PartMaker`."""
        return [sample for row, yaws in self._plan()[start:stop] for sample in
                self._turned(row, yaws)]

    def _plan(self) -> tuple[tuple[int, tuple[float, ...]], ...]:
        return plan_turned(self.folder, self.fits, self.per_photo, self.seed)

    def _turned(self, row: int, yaws: tuple[float, ...]) -> Iterator[Sample]:
        records, fits = labelled_faces(self.folder, self.fits)
        record = records[row]
        points, fit = common_points_fit(record, fits, row)
        trust = AUTOMATIC_TRUST if record.source in NEVER_HELD_OUT else 1.0
        for image, truth in render_turns(record.path, points, fit, self.head_model,
                                         np.random.default_rng((self.seed, row)), yaws,
                                         self.config):
            yield turned_sample(image, truth, record.source, record.photo, record.is_validation,
                                trust)


@lru_cache(maxsize=2)
def plan_turned(
    folder: Path, fits_path: Path, per_photo: float, seed: int,
) -> tuple[tuple[int, tuple[float, ...]], ...]:
    """
    Plan the pictures of every photograph that is turned.

    :param folder: with `labels.csv`.
    :param fits_path: file of `trans3dhead prepare fits`.
    :param per_photo: average number of pictures.
    :param seed: of the plan.
    :return: (row of `labelled_faces`, yaws in degrees) of each photograph.
    """
    _, fits = labelled_faces(folder, fits_path)
    plan = plan_accepted(fits, per_photo, np.random.default_rng(seed))
    return tuple((row, yaws) for row, yaws in plan if yaws)


def plan_accepted(
    fits: dict[str, np.ndarray], per_photo: float, generator: np.random.Generator,
) -> tuple[tuple[int, tuple[float, ...]], ...]:
    """
    Plan the pictures of every face whose fit was accepted.

    :param fits: arrays (N, ...) with `accepted` and `rotation`.
    :param per_photo: average number of pictures.
    :param generator: draws the yaws.
    :return: (row of the fits, yaws in degrees, possibly none) of each face.
    """
    rows = np.flatnonzero(fits['accepted'])
    yaw = euler_from_rotation(fits['rotation'][rows].astype(float))[:, 0]
    plan = assign_yaws(yaw, per_photo, generator, existing_yaws=yaw)
    return tuple((int(row), tuple(map(float, yaws))) for row, yaws in zip(rows, plan, strict=True))


def render_turns(
    path: Path, points: np.ndarray, fit: FaceFit, head_model: Path,
    generator: np.random.Generator, yaws: tuple[float, ...],
    config: PoseSamplerConfig | None = None,
) -> Iterator[tuple[np.ndarray, TurnedFace]]:
    """
    Render a photograph in several poses; yields nothing where the face is unsuitable.

    :param path: of the photograph.
    :param points: (68, 2) px of it.
    :param fit: of the face.
    :param head_model: file.
    :param generator: draws everything but the yaws.
    :param yaws: degrees.
    :param config: distribution of the poses; None: the defaults.
    :yield: a picture (256, 256, 3) BGR and its labels for each yaw.
    :raises UserError: the photograph is missing or damaged.
    """
    picture = read_picture(path)
    try:
        yield from render_random_poses(
            picture, points, fit, head_surface(head_model), generator, yaws,
            config=config or PoseSamplerConfig())
    except RejectedError:
        return


@lru_cache(maxsize=1)
def head_surface(head_model: Path) -> HeadSurface:
    """Return the surface that photographs are projected onto, made once per process."""
    return HeadSurface.from_model(load_head_model_npz(head_model))


def turned_sample(
    image: np.ndarray, truth: TurnedFace, source: str, group: str, is_validation: bool,
    trust: float,
) -> Sample:
    """
    Return one turned picture and its labels as a sample.

    :param image: (H, W, 3) BGR.
    :param truth: its labels.
    :param source: of the photograph.
    :param group: name of the photograph.
    :param is_validation: held out.
    :param trust: weight of the points.
    :return: the sample.
    """
    return Sample(
        picture=encode_jpeg(image), source=source, group=group, is_validation=is_validation,
        points=truth.landmarks[:, :2], points_are_3d=True, trust=trust,
        depth=truth.landmarks[:, 2], contour=truth.contour, visible=truth.visible,
        rotation=truth.rotation, placement=Placement(truth.translation, truth.log_scale),
        shape=truth.shape, expression=truth.expression)
