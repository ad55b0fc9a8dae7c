"""Datasets by `FORMAT:PATH`: one reader for each layout that people have on disk."""

from collections.abc import Callable
from pathlib import Path

from trans3dhead_ros.errors import UserError
from trans3dhead_training.data.sample import SPLITS, Sample, in_split
from trans3dhead_training.data.shards import read_shards
from trans3dhead_training.formats.aflw import read_300w_lp, read_aflw
from trans3dhead_training.formats.biwi import read_biwi
from trans3dhead_training.formats.crops import read_crops, read_half_labelled
from trans3dhead_training.formats.dad_3dheads import read_dad_3dheads
from trans3dhead_training.formats.pts import read_pts

Reader = Callable[[Path, str], list[Sample]]
"""Takes a folder and a split; may return samples of other splits where that costs nothing."""

READERS: dict[str, Reader] = {
    'crops': read_crops,
    'profiles': read_half_labelled,
    'aflw': read_aflw,
    '300wlp': read_300w_lp,
    'biwi': read_biwi,
    'pts': read_pts,
    'dad': read_dad_3dheads,
    'shards': read_shards,
}


def read_samples(data: str, split: str = 'validation') -> list[Sample]:
    """
    Read a dataset.

    :param data: `FORMAT:PATH` with a format of `READERS`.
    :param split: one of `SPLITS`; each reader documents what it holds out.
    :return: at least one sample.
    :raises UserError: unknown format or split, a missing or unreadable file, or no labelled head.
    """
    form, separator, path = data.partition(':')
    if not separator or form not in READERS:
        raise UserError(f'data: {data!r} is not FORMAT:PATH with FORMAT one of '
                        + ', '.join(READERS))
    if split not in SPLITS:
        raise UserError(f'split: {split!r} is unknown; use one of {", ".join(SPLITS)}')
    samples = [sample for sample in READERS[form](Path(path), split)
               if in_split(split, sample.is_validation)]
    if not samples:
        raise UserError(f'data: {data} has no labelled face' + (
            '' if split == 'all' else f' in the split {split!r}; try --split all'))
    return samples
