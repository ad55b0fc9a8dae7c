"""Reader of a folder of crops with `labels.csv`; see `labels` for the table and its split."""

from pathlib import Path

from trans3dhead_training.data.labels import read_labels
from trans3dhead_training.data.sample import Sample, in_split


def read_crops(folder: Path, split: str = 'all') -> list[Sample]:
    """
    Read every row that has points: 68 in 2D, the jaw on the visible contour.

    :param folder: with `labels.csv` and the pictures.
    :param split: one of `SPLITS`.
    :return: the samples.
    :raises UserError: see `read_labels`.
    """
    return [Sample(picture=record.path, source=record.source, group=record.photo,
                   is_validation=record.is_validation, points=record.points, points_are_3d=False)
            for record in read_labels(folder)
            if record.points is not None and in_split(split, record.is_validation)]
