"""Readers of folders of crops with `labels.csv`; see `labels` for the table and its split."""

from pathlib import Path

import numpy as np

from trans3dhead_training.data.labels import read_labels
from trans3dhead_training.data.profiles import read_profiles
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


def read_half_labelled(folder: Path, split: str = 'all') -> list[Sample]:
    """
    Read faces of which only the visible points are labelled, such as profiles.

    :param folder: with `labels.csv` and pictures named `<kind>_<person>_<number>`.
    :param split: one of `SPLITS`; people are held out, see `read_profiles`.
    :return: the samples; `visible` tells which of their points are labelled, the others are nan.
    :raises UserError: see `read_profiles`.
    """
    return [Sample(picture=record.path, source=record.path.stem.split('_')[0], group=record.photo,
                   is_validation=record.is_validation, points=record.points, points_are_3d=False,
                   visible=np.isfinite(record.points).all(-1))
            for record in read_profiles(folder) if in_split(split, record.is_validation)]
