"""Sets to evaluate on, read from the layouts that people have on disk."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from trans3dhead_ros.landmarks import COUNT
from trans3dhead_ros.training.data.labels import read_labels

Array = NDArray[np.float64]

SPLITS = ('validation', 'train', 'all')


@dataclass(frozen=True, eq=False)
class Sample:
    """One labelled face."""

    path: Path
    #: Which part of the set it comes from, for a row of its own in the report.
    source: str
    #: (68, 2) px, iBUG order.
    points: Array
    #: True where the jaw points are fixed on the head; False where they mark the visible contour.
    points_are_3d: bool
    #: (3,) yaw, pitch, roll in degrees; None where the set has no pose.
    euler_deg: Array | None = None


def read_samples(data: str, split: str = 'validation') -> list[Sample]:
    """
    Read a set.

    :param data: `crops:PATH` (a folder with labels.csv) or `aflw:PATH` (a folder of .jpg + .mat as
        AFLW2000-3D and 300W-LP have them).
    :param split: one of `SPLITS`; a set that is not split, such as AFLW2000-3D, is all validation.
    :raises ValueError: unknown format or split, a file that is missing or cannot be read, or no
        face at all.
    """
    form, separator, path = data.partition(':')
    readers: dict[str, Callable[[Path], list[tuple[Sample, bool]]]] = {
        'crops': _read_crops, 'aflw': _read_aflw}
    if not separator or form not in readers:
        raise ValueError(f'data: {data!r} is not FORMAT:PATH with FORMAT one of '
                         + ', '.join(readers))
    if split not in SPLITS:
        raise ValueError(f'split: {split!r} is unknown; use one of {", ".join(SPLITS)}')
    samples = [sample for sample, is_validation in readers[form](Path(path))
               if split == 'all' or is_validation == (split == 'validation')]
    if not samples:
        raise ValueError(f'data: {data} has no labelled face in the split {split!r}; try --split '
                         'all')
    return samples


def _read_crops(path: Path) -> list[tuple[Sample, bool]]:
    return [(Sample(record.path, record.source, record.points, points_are_3d=False),
             record.is_validation)
            for record in read_labels(path) if record.points is not None]


def _read_aflw(path: Path) -> list[tuple[Sample, bool]]:
    if not path.is_dir():
        raise ValueError(f'data: no folder {path}')
    samples = []
    for label in sorted(path.glob('*.mat')):
        picture = label.with_suffix('.jpg')
        if not picture.is_file():
            raise ValueError(f'data: {label} has no picture {picture.name} beside it')
        points, euler_deg = _read_mat(label)
        samples.append((Sample(picture, path.name, points, True, euler_deg), True))
    return samples


def _read_mat(path: Path) -> tuple[Array, Array]:
    """Return points (68, 2) px and yaw, pitch, roll (3,) in degrees of one .mat file."""
    try:
        content = loadmat(path, variable_names=('pt3d_68', 'Pose_Para'))
        points = np.asarray(content['pt3d_68'], float)[:2].T
        # Radians, in the order pitch, yaw, roll; translation and scale follow.
        pitch, yaw, roll = np.rad2deg(np.asarray(content['Pose_Para'], float).ravel()[:3])
    except (LookupError, TypeError, ValueError, OSError, MatReadError,
            NotImplementedError) as error:
        raise ValueError(f'data: {path} has no readable pt3d_68 and Pose_Para ({error})') from error
    if points.shape != (COUNT, 2) or not np.isfinite([*points.ravel(), yaw, pitch, roll]).all():
        raise ValueError(f'data: {path} does not hold 68 finite points and a finite pose')
    return points, np.array([yaw, pitch, roll])
