"""Photographs of which only the visible half of the face is labelled, held out by person."""

from dataclasses import replace
from pathlib import Path

from trans3dhead_ros.errors import UserError
from trans3dhead_training.data.labels import FaceRecord, read_labels

FIRST_HELD_OUT = 401
"""People from this number on are held out."""


def read_profiles(folder: Path) -> list[FaceRecord]:
    """
    Read half-labelled photographs, whose files are named `<kind>_<person>_<number>`.

    :param folder: with `labels.csv`.
    :return: the labelled records, grouped and held out by person.
    :raises UserError: a file has another name, or the labels are damaged.
    """
    records = []
    for record in read_labels(folder, partial=True):
        try:
            person = int(record.path.stem.split('_')[1])
        except (IndexError, ValueError):
            raise UserError(f'profiles: {record.file} is not named <kind>_<person>_<number>'
                            ) from None
        records.append(replace(record, photo=f'{record.source}/{person:03d}',
                               is_validation=person >= FIRST_HELD_OUT))
    return [record for record in records if record.points is not None]
