"""The part `photographs`: labelled photographs with their fits."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_training.data.labels import NEVER_HELD_OUT, FaceRecord, read_labels
from trans3dhead_training.data.sample import Placement, Sample
from trans3dhead_training.preparation.picture_bytes import read_picture_bytes

AUTOMATIC_TRUST = 0.5
"""Weight of automatic labels."""

_NEEDED = ('files', 'accepted', 'offsets', 'rotation', 'translation', 'log_scale', 'shape',
           'expression', 'inner_error')


@dataclass(frozen=True)
class PhotographMaker:
    """
    Labelled faces of a folder with `labels.csv`.

    A face whose fit was rejected keeps its points, unless these are automatic: then it is left out.
    """

    folder: Path
    """With `labels.csv`."""
    fits: Path
    """File of `trans3dhead prepare fits`."""
    name: str = 'photographs'
    source: str = 'HELEN, LFPW, AFW and YouTube Faces photographs with 68 points'
    licence: str = 'research use'
    open: bool = False
    bytes_each: int = 20_000

    def count(self) -> int:
        """Return the number of labelled faces."""
        return len(labelled_faces(self.folder, self.fits)[0])

    def settings(self) -> dict[str, Any]:
        """Return the values on which the samples depend."""
        return {'faces': self.count(), 'fits': fingerprint(self.fits)}

    def samples_per_item(self) -> float:
        """Return 1; nearly all faces are kept."""
        return 1.0

    def make(self, start: int, stop: int) -> list[Sample]:
        """Make the samples of some faces; see `PartMaker`."""
        records, fits = labelled_faces(self.folder, self.fits)
        samples = (photograph_sample(records[i], fits, i) for i in range(start, stop))
        return [sample for sample in samples if sample is not None]


@lru_cache(maxsize=2)
def labelled_faces(folder: Path, fits_path: Path) -> tuple[list[FaceRecord], dict[str, np.ndarray]]:
    """
    Read labelled faces and their fits, in the same order.

    :param folder: with `labels.csv`.
    :param fits_path: file of `trans3dhead prepare fits`.
    :return: N records, and the arrays (N, ...) of their fits, without those of the mirror images.
    :raises UserError: a file is missing, or some faces have no fit.
    """
    fits = read_fits(fits_path)
    records = [record for record in read_labels(folder) if record.points is not None]
    row_of = {str(file): row for row, file in enumerate(fits.pop('files'))}
    missing = [record.file for record in records if record.file not in row_of]
    if missing:
        raise UserError(f'fits: {fits_path} lacks {len(missing)} faces, the first is {missing[0]}; '
                        'run `trans3dhead prepare fits` again')
    rows = [row_of[record.file] for record in records]
    fits.pop('offsets', None)
    # Index 1 is the fit of the mirror image.
    return records, {key: values[rows, 0] for key, values in fits.items()}


def read_fits(path: Path) -> dict[str, np.ndarray]:
    """
    Read the arrays of `trans3dhead prepare fits`.

    :param path: the file.
    :return: arrays by name.
    :raises UserError: the file is missing or damaged.
    """
    if not Path(path).is_file():
        raise UserError(f'fits: no file {path}; make it with `trans3dhead prepare fits`')
    try:
        with np.load(path, allow_pickle=False) as archive:
            fits = {key: archive[key] for key in archive.files}
        missing = [name for name in _NEEDED if name not in fits]
        if missing:
            raise ValueError(f'no {", ".join(missing)}')
    except (EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f'fits: {path} is damaged ({error}); make it again '
                        'with `trans3dhead prepare fits`') from None
    return fits


def photograph_sample(
    record: FaceRecord, fits: dict[str, np.ndarray], row: int,
) -> Sample | None:
    """
    Return a face with its fit in px of its picture.

    :param record: the face.
    :param fits: see `labelled_faces`.
    :param row: of the face in the fits.
    :return: None where the labels are automatic and the fit was rejected.
    """
    automatic = record.source in NEVER_HELD_OUT
    accepted = bool(fits['accepted'][row])
    if automatic and not accepted:
        return None
    fitted = {}
    if accepted:
        fitted = {
            'rotation': fits['rotation'][row],
            'placement': placement_px(record.points, fits['translation'][row],
                                      float(fits['log_scale'][row])),
            'shape': fits['shape'][row], 'expression': fits['expression'][row]}
    return Sample(
        picture=read_picture_bytes(record.path), source=record.source, group=record.photo,
        is_validation=record.is_validation, points=record.points,
        trust=AUTOMATIC_TRUST if automatic else 1.0, **fitted)


def placement_px(points: np.ndarray, translation: np.ndarray, log_scale: float) -> Placement:
    """
    Convert a fit's placement from box units to px of the picture.

    :param points: (68, 2) px, whose box defines the units.
    :param translation: (2,) box units.
    :param log_scale: log of box units per metre.
    :return: in px.
    """
    low, high = points.min(0), points.max(0)
    half = float((high - low).max()) / 2
    return Placement((low + high) / 2 + half * translation, log_scale + float(np.log(half)))


def fingerprint(path: Path) -> str:
    """Return a short hash of a file's content."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
