"""
Labelled faces cut out of pictures, as a folder that the other commands read.

Every labelled face is cut out (twice its landmark box, at most 320 px) and written beside a
`labels.csv`; a share of the photographs is held out for validation.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.landmarks import COUNT, JAW
from trans3dhead_ros.media.sources import choose_pictures, read_picture
from trans3dhead_ros.perception.crop import crop_square, crop_window, to_crop_units
from trans3dhead_training.data.attribution import About
from trans3dhead_training.data.labels import (
    COLUMNS,
    VALIDATION_SHARE,
    group_photos,
    held_out_groups,
    near_duplicates,
)
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.formats.readers import read_samples

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

LABELLED = ('pts', 'crops', '300wlp')
"""Formats of `formats.readers` with 68 points and the jaw on the visible contour."""
UNLABELLED = 'pictures'

CROP_SCALE = 2.0
MAX_CROP_PX = 320
"""Largest side of a crop: 1.7 times the resolution at which the network sees a face."""
MAX_PICTURE_PX = 720
"""Largest longer side of a picture without labels."""
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class Face:
    """A face to be written."""

    picture: Path
    source: str
    """Of the dataset, `source` of `labels.csv`."""
    photo: str
    """Faces of the same photo stay on one side of the split."""
    points: Array | None
    """(68, 2) px, jaw on the visible contour; None where unlabelled."""
    is_validation: bool | None = None
    """As the dataset states; None where it does not separate training and validation."""


def read_faces(data: str, by_folder: bool = False) -> list[Face]:
    """
    Read a dataset of labelled faces, or a folder of pictures.

    :param data: `FORMAT:PATH`, FORMAT one of `LABELLED` or `UNLABELLED`.
    :param by_folder: group faces by folder, as for frames of a video; else by photograph.
    :return: the faces.
    :raises UserError: the format is unknown, or the reader refuses the data.
    """
    form, separator, path = data.partition(':')
    if not separator or form not in (*LABELLED, UNLABELLED):
        raise UserError(f'data: {data!r} is not FORMAT:PATH with FORMAT one of '
                        + ', '.join((*LABELLED, UNLABELLED)))
    if form == UNLABELLED:
        return _pictures(Path(path))
    samples = read_samples(data, 'all')
    has_split = len({sample.is_validation for sample in samples}) == 2
    return [Face(sample.picture, _file_name(sample.source),
                 sample.picture.parent.name if by_folder else sample.group.rpartition('/')[2],
                 _contour_points(sample), sample.is_validation if has_split else None)
            for sample in samples]


def _pictures(folder: Path) -> list[Face]:
    if not folder.is_dir():
        raise UserError(f'data: no folder {folder}')
    pictures, losses = choose_pictures(map(str, sorted(folder.rglob('*'))))
    for line in losses:
        print(f'skipped: {line}', file=sys.stderr)
    paths = [Path(picture) for picture in pictures]
    if not paths:
        raise UserError(f'data: no picture in {folder}')
    return [Face(path, _file_name(folder.resolve().name), path.stem, None) for path in paths]


def _contour_points(sample: Sample) -> Array:
    points = np.array(sample.points, dtype=float)
    if sample.points_are_3d:
        points[JAW] = sample.contour
    return points


def _file_name(name: str) -> str:
    """Return a name that every file system allows."""
    return re.sub(r'[^\w.-]+', '_', name).strip('._') or 'own'


def cut_out(image: Image, points: Array) -> tuple[Image, Array]:
    """
    Cut out the square around a face, black beyond the picture.

    :param image: (H, W, 3) BGR.
    :param points: (68, 2) px.
    :return: crop (S, S, 3), not enlarged and S at most `MAX_CROP_PX`, and the points in it (68, 2).
    """
    box = np.concatenate([points.min(0), points.max(0)])
    centre, side = crop_window(box, CROP_SCALE)
    size = int(np.clip(round(side), 16, MAX_CROP_PX))
    return (crop_square(image, centre, side, size),
            (to_crop_units(points, centre, side) + 1.0) * size / 2 - 0.5)


def write_faces(
    faces: Sequence[Face], folder: Path, about: About, share: float = VALIDATION_SHARE,
) -> dict[str, tuple[int, int]]:
    """
    Write pictures, `labels.csv` and `about.json`.

    The split of a dataset that has one is kept; of the others a share of the photographs is held
    out, near-duplicates on one side.

    :param faces: to write.
    :param folder: to create.
    :param about: source and licence of the pictures.
    :param share: of the photographs that is held out.
    :return: number of labelled faces, and of those that are held out, by source.
    :raises UserError: a picture is missing or damaged, or all faces would be on one side.
    """
    files = list(_named(faces))
    rows = []
    for face, file in zip(tqdm(faces, desc='faces', unit='face', disable=None), files,
                          strict=True):
        image, points = read_picture(face.picture), face.points
        if points is None:
            image, points = _downscale(image), np.full((COUNT, 2), np.nan)
        else:
            image, points = cut_out(image, points)
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]):
            raise UserError(f'--output: {path} cannot be written')
        rows.append([f'{number:.3f}' for number in points.ravel()])
    held_out = _held_out(faces, [folder / file for file in files], share)
    with (folder / 'labels.csv').open('w', newline='') as table:
        writer = csv.writer(table)
        writer.writerow(COLUMNS)
        for face, file, kept, row in zip(faces, files, held_out, rows, strict=True):
            writer.writerow([file, face.source, 'validation' if kept else 'train', *row])
    about.save(folder)
    counts: dict[str, tuple[int, int]] = {}
    for face, kept in zip(faces, held_out, strict=True):
        labelled, out = counts.get(face.source, (0, 0))
        known = face.points is not None
        counts[face.source] = (labelled + known, out + (known and kept))
    return counts


def _named(faces: Sequence[Face]) -> Iterator[str]:
    """Yield `<source>/<photo>_<number>.jpg`, from which readers of the table derive the photo."""
    numbers: dict[str, int] = {}
    for face in faces:
        photo = f'{face.source}/{_file_name(face.photo)}'
        numbers[photo] = numbers.get(photo, -1) + 1
        yield f'{photo}_{numbers[photo]}.jpg'


def _held_out(faces: Sequence[Face], paths: Sequence[Path], share: float) -> list[bool]:
    """Return which faces are held out; those without labels never are."""
    photos = [f'{face.source}/{face.photo}' for face in faces]
    open_rows = [row for row, face in enumerate(faces)
                 if face.points is not None and face.is_validation is None]
    undecided, chosen = set(open_rows), frozenset()
    if open_rows:
        pairs = near_duplicates([paths[row] for row in open_rows])
        chosen = held_out_groups(group_photos(
            (photos[row] for row in open_rows),
            ((photos[open_rows[a]], photos[open_rows[b]]) for a, b in pairs)), share)
    return [photos[row] in chosen if row in undecided else bool(face.is_validation)
            for row, face in enumerate(faces)]


def _downscale(image: Image) -> Image:
    factor = MAX_PICTURE_PX / max(image.shape[:2])
    if factor >= 1:
        return image
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
