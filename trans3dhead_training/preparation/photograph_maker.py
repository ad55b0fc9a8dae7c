"""The parts `photographs` and `profiles`: labelled photographs with their fits."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_training.data.labels import NEVER_HELD_OUT, FaceRecord, read_labels
from trans3dhead_training.data.profiles import read_profiles
from trans3dhead_training.data.sample import Placement, Sample
from trans3dhead_training.preparation.picture_bytes import read_picture_bytes
from trans3dhead_training.synthesis.turned_photos.photograph import FaceFit

AUTOMATIC_TRUST = 0.5
"""Weight of automatic labels."""

_NEEDED = ('files', 'accepted', 'offsets', 'rotation', 'translation', 'log_scale', 'shape',
           'expression', 'inner_error', 'displacement')
# Arrays without a second axis for the mirror image.
_OF_THE_FACE = ('common_points', 'labelled', 'teacher_turn_deg', 'teacher_distance')


@dataclass(frozen=True)
class PhotographMaker:
    """
    Labelled faces of a folder with `labels.csv`.

    Where a fit was rejected, the face keeps its points; it is left out if these are automatic, or
    if only one half of it is labelled.
    """

    folder: Path
    """With `labels.csv`."""
    fits: Path
    """File of `trans3dhead prepare fits` or `trans3dhead prepare profile-fits`."""
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
    :param fits_path: file of `trans3dhead prepare fits` or `trans3dhead prepare profile-fits`.
    :return: N records, and the arrays (N, ...) of their fits, without those of the mirror images.
    :raises UserError: a file is missing, or some faces have no fit.
    """
    fits = read_fits(fits_path)
    if 'common_points' not in fits:
        raise UserError(f'fits: {fits_path} are not fits of labelled faces')
    # Half-labelled faces are held out by person.
    every = read_profiles(folder) if 'labelled' in fits else read_labels(folder)
    records = [record for record in every if record.points is not None]
    row_of = {str(file): row for row, file in enumerate(fits.pop('files'))}
    missing = [record.file for record in records if record.file not in row_of]
    if missing:
        raise UserError(f'fits: {fits_path} lacks {len(missing)} faces, the first is {missing[0]}; '
                        'run `trans3dhead prepare fits` again')
    rows = [row_of[record.file] for record in records]
    # Index 1 is the fit of the mirror image.
    return records, {
        key: values[rows] if key in _OF_THE_FACE else values[rows, 0]
        for key, values in fits.items()
        if key != 'offsets' and not key.startswith('convention_')}


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
    :return: None where the fit was rejected, and the labels are automatic or incomplete.
    """
    automatic = record.source in NEVER_HELD_OUT
    accepted = bool(fits['accepted'][row])
    half = 'labelled' in fits
    if (automatic or half) and not accepted:
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
        is_validation=record.is_validation,
        points=np.asarray(fits['common_points'][row], dtype=float),
        visible=np.asarray(fits['labelled'][row], dtype=bool) if half else None,
        trust=AUTOMATIC_TRUST if automatic else 1.0, **fitted)


def placement_px(points: np.ndarray, translation: np.ndarray, log_scale: float) -> Placement:
    """
    Convert a fit's placement from box units to px of the picture.

    :param points: (68, 2) px, whose box defines the units; nan where a point is not labelled.
    :param translation: (2,) box units.
    :param log_scale: log of box units per metre.
    :return: in px.
    """
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    half = float((high - low).max()) / 2
    return Placement((low + high) / 2 + half * translation, log_scale + float(np.log(half)))


def common_points_fit(
    record: FaceRecord, fits: dict[str, np.ndarray], row: int,
) -> tuple[np.ndarray, FaceFit]:
    """
    Return the common points of a face and its fit in units of their box.

    :param record: the face, of whose labels the units of the stored fit are.
    :param fits: see `labelled_faces`.
    :param row: of the face in the fits.
    :return: points (68, 2) px, and the fit.
    """
    points = np.asarray(fits['common_points'][row], dtype=float)
    placement = placement_px(record.points, fits['translation'][row],
                             float(fits['log_scale'][row]))
    low, high = points.min(0), points.max(0)
    half = float((high - low).max()) / 2
    return points, replace(
        FaceFit.from_row(fits, row),
        translation=(placement.translation - (low + high) / 2) / half,
        log_scale=placement.log_scale - float(np.log(half)))


def fingerprint(path: Path) -> str:
    """Return a short hash of a file's content."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
