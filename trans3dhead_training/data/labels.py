"""Photographs with 68 points: the table `labels.csv` beside them, and its fixed split."""

import codecs
import csv
import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.landmarks import COUNT
from trans3dhead_ros.types import Array, Float32Array

HELD_OUT_SOURCES = frozenset({'helen', 'lfpw', 'afw'})
"""Sources labelled by hand, of which a tenth of the photographs is held out."""

NEVER_HELD_OUT = frozenset({'ytf'})
"""Automatic, noisy labels, with the same people in both parts: for training only."""

VALIDATION_SHARE = 0.10

# 0.98 finds the known pairs; a little lower also catches those that another resampling shifts.
NEAR_DUPLICATE_CORRELATION = 0.97
_ROWS_AT_ONCE = 1000

_FARTHEST_PX = 1e5
_LEAST_SIZE_PX = 1.0

COLUMNS = ['file', 'source', 'split', *(f'{axis}{i}' for i in range(COUNT) for axis in 'xy')]


@dataclass(frozen=True, eq=False)
class FaceRecord:
    """One row of `labels.csv`."""

    path: Path
    """The picture."""
    file: str
    """Name of the picture in the table: `<source>/<file>`."""
    source: str
    split: str
    """Split as stated by the table; `is_validation` is the one that counts."""
    photo: str
    """Equal for pictures from one photograph (for ytf: of one person)."""
    points: Array | None
    """(68, 2) px of this picture, iBUG order, nan where a point is not labelled; None for a picture
    without labels."""
    is_validation: bool
    """Whether it is held out; never train on it."""


def labels_file(path: str | Path) -> Path:
    """
    Find `labels.csv`.

    :param path: the file, its folder, or the folder above `faces`.
    :return: the file.
    :raises UserError: there is none.
    """
    path = Path(path)
    for candidate in (path, path / 'labels.csv', path / 'faces' / 'labels.csv'):
        if candidate.is_file():
            return candidate
    raise UserError(f'data: no labels.csv in {path}; give the folder that holds it')


def read_labels(path: str | Path, partial: bool = False) -> list[FaceRecord]:
    """
    Read every row of a folder of crops, labelled or not, with the fixed validation split.

    A tenth of the hand-labelled photographs is held out, chosen by a hash of the photograph's name,
    so that it does not depend on the order or on the number of rows. Faces of one photograph and
    near-duplicates are on the same side. Rows of other sources are held out where their split is
    'test' or 'validation'.

    :param path: the folder with `labels.csv` and the pictures, or that file.
    :param partial: faces may have labels for some of their points only; the others are nan.
    :return: a record for each row.
    :raises UserError: no such file, another header, a bad number, or a picture that cannot be read.
    """
    table = labels_file(path)
    text = table_text(table)
    try:
        reader = csv.reader(io.StringIO(text, newline=''), strict=True)
        header = next(reader, None)
        rows = [(number, row) for number, row in enumerate(reader, start=2) if row]
    except csv.Error as error:
        raise UserError(f'data: {table} is not a table of comma-separated values ({error})'
                        ) from None
    if header != COLUMNS:
        _refuse_header(table, header)
    for number, row in rows:
        if len(row) != len(COLUMNS):
            raise UserError(
                f'data: {table} line {number} has {len(row)} columns, not {len(COLUMNS)}')
    photos = [photo_name(row[0], row[1]) for _, row in rows]
    group = _groups(table.parent, [row for _, row in rows], photos)
    return [
        FaceRecord(
            path=table.parent / row[0], file=row[0], source=row[1], split=row[2], photo=photo,
            points=_points(row, f'{table} line {number}', partial),
            is_validation=_is_validation(row[1], row[2], group[photo]),
        )
        for (number, row), photo in zip(rows, photos, strict=True)
    ]


def table_text(table: Path) -> str:
    """
    Return the text of a table in UTF-8 or UTF-16, as spreadsheets save it.

    :param table: the file.
    :return: its text, without the mark of its encoding.
    :raises UserError: it cannot be read, or has another encoding.
    """
    try:
        data = table.read_bytes()
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return data.decode('utf-16')
        return data.decode('utf-8-sig')
    except OSError as error:
        raise UserError(f'data: {table} cannot be read ({error.strerror})') from None
    except UnicodeError:
        raise UserError(f'data: {table} is neither UTF-8 nor UTF-16 with its mark; save it as '
                        '"CSV UTF-8"') from None


def _refuse_header(table: Path, header: Sequence[str] | None) -> None:
    for name, separator in (('semicolons', ';'), ('tabs', '\t')):
        if header and separator.join(header).split(separator) == COLUMNS:
            raise UserError(f'data: {table} has {name} between its columns; save it with commas '
                            'there, and with points, not commas, in its numbers')
    if header and '\0' in ''.join(header):
        raise UserError(f'data: {table} is in UTF-16 without its mark, or not text; save it as '
                        '"CSV UTF-8"')
    raise UserError(f'data: {table} does not start with the columns file, source, split, '
                    'x0, y0 … x67, y67')


def check_face(points: Array, where: str) -> None:
    """
    Refuse points that cannot be those of a face.

    :param points: (N, 2 or more) px; those that are nan are left out.
    :param where: the file, and the line of it, for the message.
    :raises UserError: for points in one place, on one line, or far away from any picture.
    """
    points = points[np.isfinite(points).all(axis=1), :2]
    if len(points) < 2:
        return
    if np.abs(points).max() > _FARTHEST_PX:
        raise UserError(f'data: {where} has a point at {np.abs(points).max():.3g} px, far outside '
                        'any picture')
    low, high = points.min(axis=0), points.max(axis=0)
    # Also on a line that leans; two points are always on one.
    axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2]
    across = points @ axes.T if len(points) > 2 else points
    if np.ptp(across, axis=0).min() < _LEAST_SIZE_PX:
        raise UserError(f'data: {where} has all its points in one place or on one line, between '
                        f'{low[0]:g} {low[1]:g} and {high[0]:g} {high[1]:g}')


def portrait_group(file: str) -> str:
    """Return the group of an unlabelled picture: its name without the suffix."""
    return PurePosixPath(str(file)).with_suffix('').as_posix()


def photo_name(file: str, source: str) -> str:
    """
    Return `<source>/<photo>`: `helen/train_100040721_2.jpg` → `helen/train_100040721`.

    The numbers of lfpw are photographs, not faces; those of ytf are frames of one person.

    :param file: name of the picture.
    :param source: of the picture.
    :return: name of the photograph.
    """
    stem = Path(file).stem
    if source == 'ytf':
        stem = stem.split('_', 1)[-1]
    return f'{source}/{stem if source == "lfpw" else stem.rsplit("_", 1)[0]}'


def _points(row: list[str], where: str, partial: bool) -> Array | None:
    try:
        points = np.array(row[3:], dtype=float).reshape(COUNT, 2)
    except ValueError as error:
        if any(re.fullmatch(r'\s*-?\d+,\d+\s*', text) for text in row[3:]):
            raise UserError(f'data: {where} has decimal commas; save its numbers with points'
                            ) from None
        raise UserError(f'data: {where} contains something that is not a number') from error
    if np.isnan(points).all():
        return None
    if np.isinf(points).any() or (not partial and not np.isfinite(points).all()):
        raise UserError(f'data: {where} has only some of its points; label all of them or none')
    check_face(points, where)
    return points


def _is_validation(source: str, split: str, group: str) -> bool:
    if source in NEVER_HELD_OUT:
        return False
    if source not in HELD_OUT_SOURCES:
        return split in ('test', 'validation')
    return split in ('test', 'validation') or is_held_out(group)


def is_held_out(group: str) -> bool:
    """
    Return whether the photographs of a name are in the held-out tenth.

    It depends on the name alone, so that other datasets of the same photographs agree.

    :param group: such as `helen/train_100040721`.
    :return: True for a tenth of all names.
    """
    return _fraction(group) < VALIDATION_SHARE


def held_out_groups(group_of: Mapping[str, str], share: float) -> frozenset[str]:
    """
    Choose the photographs to hold out: about a share of their groups, at least one group.

    :param group_of: group of each photograph, as returned by `group_photos`.
    :param share: 0..1.
    :return: the photographs.
    :raises UserError: there is only one group, and one side would be empty.
    """
    groups = sorted(set(group_of.values()), key=_fraction)
    if len(groups) < 2:
        raise UserError(f'data: all pictures belong to one group ({", ".join(groups)}), so that '
                        'none of them can be held out; more photographs are needed')
    count = min(max(1, sum(_fraction(group) < share for group in groups)), len(groups) - 1)
    chosen = set(groups[:count])
    return frozenset(photo for photo, group in group_of.items() if group in chosen)


def _fraction(group: str) -> float:
    """Hash a name to a number in 0..1; the numbers of many names are evenly distributed."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], 'big') / 2 ** 64


def _groups(folder: Path, rows: list[list[str]], photos: list[str]) -> dict[str, str]:
    """Map each photograph to the first name among its near-duplicates."""
    held_out = [i for i, row in enumerate(rows) if row[1] in HELD_OUT_SOURCES]
    pairs = near_duplicates([folder / rows[i][0] for i in held_out])
    return group_photos(photos, ((photos[held_out[a]], photos[held_out[b]]) for a, b in pairs))


def group_photos(photos: Iterable[str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """
    Join photographs to groups.

    :param photos: all names.
    :param pairs: names that belong together.
    :return: each photograph and the first name of its group.
    """
    parent = {photo: photo for photo in photos}

    def root(photo: str) -> str:
        while parent[photo] != photo:
            photo = parent[photo]
        return photo

    for a, b in pairs:
        first, second = sorted((root(a), root(b)))
        parent[second] = first
    return {photo: root(photo) for photo in parent}


def near_duplicates(paths: Sequence[Path]) -> list[tuple[int, int]]:
    """
    Find pictures whose 24² grey thumbnails are nearly the same.

    :param paths: pictures.
    :return: pairs of indices.
    :raises UserError: a picture cannot be read.
    """
    if not paths:
        return []
    thumbnails = np.stack([_thumbnail(path) for path in paths])
    pairs = []
    # All against all at once would not fit in memory.
    for start in range(0, len(thumbnails), _ROWS_AT_ONCE):
        alike = thumbnails[start:start + _ROWS_AT_ONCE] @ thumbnails.T > NEAR_DUPLICATE_CORRELATION
        pairs += [(int(a) + start, int(b)) for a, b in np.argwhere(np.triu(alike, k=start + 1))]
    return pairs


def _thumbnail(path: Path) -> Float32Array:
    """Return (576,) grey levels with mean 0 and norm 1."""
    # A JPEG decodes four times as fast at a quarter of the size, and a thumbnail needs no more.
    grey = cv2.imread(str(path), cv2.IMREAD_REDUCED_GRAYSCALE_4)
    if grey is None:
        raise UserError(f'data: the picture {path} is missing or cannot be read')
    small = cv2.resize(grey, (24, 24), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return small / max(float(np.linalg.norm(small)), 1e-6)
