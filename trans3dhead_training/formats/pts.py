"""
Reader of folders of `.pts` beside pictures, as 300-W has them.

    version: 1
    n_points: 68
    {
    x y
    …
    }

These files count pixels from 1: the centre of the first pixel is (1, 1). Here it is (0, 0), so 1 is
subtracted from every coordinate. The jaw is on the visible contour.
"""

import re
from pathlib import Path

import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.landmarks import COUNT
from trans3dhead_ros.types import Array
from trans3dhead_training.data.labels import check_face
from trans3dhead_training.data.sample import Sample, in_split

FIRST_PIXEL = 1.0
"""Coordinate of the centre of the first pixel in the files."""

SUFFIXES = ('.jpg', '.png', '.jpeg', '.JPG', '.PNG', '.JPEG', '.jfif', '.bmp', '.webp')
TRAINING_FOLDERS = ('train', 'trainset')

_FORM = re.compile(r'\s*version:\s*1\s+n_points:\s*(\d+)\s*\{(.*)\}\s*', re.DOTALL)


def read_pts(folder: Path, split: str = 'all') -> list[Sample]:
    """
    Read every `.pts` in a folder and below.

    A file below a folder named train or trainset is for training, every other is validation. The
    source is the first folder below the given one (helen, ibug …), or the given one.

    :param folder: searched with all folders below.
    :param split: one of `SPLITS`.
    :return: the samples.
    :raises UserError: no such folder, a label without its picture, or a file that is not 68 points
        in the form above.
    """
    if not folder.is_dir():
        raise UserError(f'data: no folder {folder}')
    samples = []
    for label in sorted(folder.rglob('*.pts')):
        if label.name.startswith('._'):  # what macOS keeps beside a file
            continue
        inside = label.relative_to(folder).parts[:-1]
        is_validation = not any(name in TRAINING_FOLDERS for name in (folder.name, *inside))
        if not in_split(split, is_validation):
            continue
        named = [name for name in inside if name not in (*TRAINING_FOLDERS, 'test', 'testset')]
        source = named[0] if named else folder.name
        samples.append(Sample(
            picture=_picture(label), source=source, group=f'{source}/{photograph(label.stem)}',
            is_validation=is_validation, points=read_points(label), points_are_3d=False))
    return samples


def photograph(stem: str) -> str:
    """Return the photograph of a face: `232194_1` → `232194`; `image_0001` stays as it is."""
    match = re.fullmatch(r'(.*\d)_\d{1,2}', stem.removesuffix('_mirror'))
    return match[1] if match else stem.removesuffix('_mirror')


def read_points(path: Path) -> Array:
    """
    Read one file.

    :param path: of the file.
    :return: (68, 2) px, pixel centres at integers from 0.
    :raises UserError: the file cannot be read or has other content.
    """
    try:
        match = _FORM.fullmatch(path.read_text(encoding='utf-8-sig'))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'data: {path} is not a readable .pts file ({error})') from error
    if match is None:
        raise UserError(f'data: {path} is not of the form "version: 1", "n_points: 68", '
                        '"{", points, "}"')
    try:
        points = np.array([row.split() for row in match[2].strip().splitlines()], float)
    except ValueError as error:
        raise UserError(f'data: {path} has a line that is not two numbers'
                        + (', which need points instead of commas' * (',' in match[2]))) from error
    if int(match[1]) != COUNT or points.shape != (COUNT, 2) or not np.isfinite(points).all():
        raise UserError(f'data: {path} announces {match[1]} points and holds {len(points)}; '
                        f'{COUNT} finite ones in iBUG order are needed')
    check_face(points, str(path))
    return points - FIRST_PIXEL


def _picture(label: Path) -> Path:
    for suffix in SUFFIXES:
        if (picture := label.with_suffix(suffix)).is_file():
            return picture
    raise UserError(f'data: {label} has no picture {label.stem}.jpg or .png beside it')
