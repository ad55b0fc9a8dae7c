"""Reader of a folder of crops with `labels.csv`; `labels` says what it holds out."""

from pathlib import Path

from trans3dhead_training.data.labels import read_labels
from trans3dhead_training.data.sample import Sample, in_split


def read_crops(folder: Path, split: str = 'all') -> list[Sample]:
    """
    Read every row that has points: 68 in 2D, the jaw on the visible contour.

    :raises ValueError: see `read_labels`.
    """
    return [Sample(picture=record.path, source=record.source, group=record.photo,
                   is_validation=record.is_validation, points=record.points, points_are_3d=False)
            for record in read_labels(folder)
            if record.points is not None and in_split(split, record.is_validation)]
