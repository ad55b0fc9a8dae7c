"""
Shards: safetensors files with some hundred labelled heads each, pictures included.

Opening a shard maps it into memory; the bytes of a picture are read when it is drawn. Equal samples
give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.landmarks import COUNT, JAW_COUNT
from trans3dhead_training.data.sample import Placement, Sample, in_split

VERSION = 1
SUFFIX = '.safetensors'

_OPTIONAL = {'points': (COUNT, 2), 'depth': (COUNT,), 'contour': (JAW_COUNT, 2),
             'rotation': (3, 3), 'box': (4,)}
_LABELS = (*_OPTIONAL, 'visible', 'translation', 'log_scale', 'shape', 'expression', 'trust',
           'points_are_3d', 'is_validation', 'picture_end', 'text_row')


def write_shard(path: Path, samples: Sequence[Sample]) -> None:
    """
    Write samples in one step: a shard is complete or absent.

    What a sample does not state is nan in its row. Dense vertices are not written: they follow from
    the coefficients.

    :param path: of the shard; folders are made.
    :param samples: at least one; their pictures are encoded bytes.
    :raises ValueError: no samples, or a picture that is a path.
    """
    if not samples:
        raise ValueError(f'shard: nothing to write into {path}')
    if not all(isinstance(sample.picture, bytes) for sample in samples):
        raise ValueError(f'shard: {path} takes encoded pictures, not paths')
    count = len(samples)
    arrays: dict[str, NDArray] = {
        name: _stacked([sample.given_box if name == 'box' else getattr(sample, name)
                        for sample in samples], shape) for name, shape in _OPTIONAL.items()}
    placements = [sample.placement for sample in samples]
    arrays['translation'] = _stacked([p and p.translation for p in placements], (2,))
    arrays['log_scale'] = _stacked([p and p.log_scale for p in placements], ())
    for name in ('shape', 'expression'):
        values = [getattr(sample, name) for sample in samples]
        size = max((len(value) for value in values if value is not None), default=0)
        arrays[name] = _stacked(values, (size,))
    # 255: visibility unknown.
    arrays['visible'] = np.stack([
        np.full(COUNT, 255, np.uint8) if sample.visible is None
        else sample.visible.astype(np.uint8) for sample in samples])
    arrays['trust'] = np.array([sample.trust for sample in samples], np.float32)
    for name in ('points_are_3d', 'is_validation'):
        arrays[name] = np.array([getattr(sample, name) for sample in samples], np.uint8)
    sources = sorted({sample.source for sample in samples})
    groups = sorted({sample.group for sample in samples})
    arrays['text_row'] = np.array([[sources.index(sample.source), groups.index(sample.group)]
                                   for sample in samples], np.int32)
    arrays['picture_end'] = np.cumsum([len(sample.picture) for sample in samples]).astype(np.int64)
    arrays['pictures'] = np.frombuffer(b''.join(s.picture for s in samples), np.uint8)
    header = {'version': VERSION, 'count': count, 'sources': sources, 'groups': groups}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'.{path.name}.partial')
    # A single entry: the library does not keep the order of several.
    save_file(arrays, partial, {'shard': json.dumps(header, sort_keys=True)})
    partial.replace(path)


def _stacked(values: Sequence, shape: tuple[int, ...]) -> NDArray[np.float32]:
    result = np.full((len(values), *shape), np.nan, np.float32)
    for row, value in enumerate(values):
        if value is not None:
            result[row] = value
    return result


class Shard:
    """
    A shard on disk.

    :param path: the file.
    :raises UserError: the file is missing, damaged or of another version.
    """

    labels: dict[str, NDArray]
    """Arrays (N, ...) as `write_shard` names them; unknown is nan (visible: 255)."""
    sources: NDArray[np.str_]
    """(N,) which set a picture comes from."""
    groups: NDArray[np.str_]
    """(N,) photograph or person."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise UserError(f'shard: no file {path}')
        try:
            self._file = safe_open(self.path, framework='np')
            header = json.loads(self._file.metadata()['shard'])
            version = header['version']
            if version == VERSION:
                self.labels = {name: self._file.get_tensor(name) for name in _LABELS}
                row = self.labels.pop('text_row')
                self.sources = np.array(header['sources'])[row[:, 0]]
                self.groups = np.array(header['groups'])[row[:, 1]]
                self._ends = self.labels.pop('picture_end')
                self._bytes = self._file.get_slice('pictures')
        except (SafetensorError, KeyError, TypeError, IndexError, ValueError) as error:
            raise UserError(f'shard: {path} is damaged or not a shard ({error}); delete it and '
                            'run `trans3dhead prepare data` again') from None
        if version != VERSION:
            raise UserError(f'shard: {path} has version {version}, not {VERSION}; delete it and '
                            'run `trans3dhead prepare data` again')

    def __len__(self) -> int:
        return len(self._ends)

    def picture(self, row: int) -> bytes:
        """Return the encoded picture of a row."""
        start = int(self._ends[row - 1]) if row else 0
        return self._bytes[start:int(self._ends[row])].tobytes()

    def sample(self, row: int) -> Sample:
        """Return the sample of a row, in single precision."""
        label = {name: values[row] for name, values in self.labels.items()}
        known = {name: value if np.isfinite(value).all() and value.size else None
                 for name, value in label.items() if value.dtype == np.float32}
        placement = None
        if known['translation'] is not None:
            placement = Placement(known['translation'].astype(float), float(known['log_scale']))
        visible = label['visible']
        return Sample(
            picture=self.picture(row), source=str(self.sources[row]), group=str(self.groups[row]),
            is_validation=bool(label['is_validation']), points=known['points'],
            points_are_3d=bool(label['points_are_3d']), trust=float(label['trust']),
            depth=known['depth'], contour=known['contour'],
            visible=None if visible[0] == 255 else visible.astype(bool),
            rotation=known['rotation'], placement=placement, shape=known['shape'],
            expression=known['expression'], given_box=known['box'])


def read_shards(folder: Path, split: str = 'all') -> list[Sample]:
    """
    Read the samples of a folder of shards (or of one shard), pictures included.

    :param folder: searched with all folders below, or one shard.
    :param split: one of `SPLITS`.
    :return: the samples.
    :raises UserError: there is no shard, or one is damaged.
    """
    folder = Path(folder)
    paths = [folder] if folder.is_file() else sorted(folder.rglob(f'*{SUFFIX}'))
    if not paths:
        raise UserError(f'data: no shards in {folder}; make them with `trans3dhead prepare data`')
    shards = [Shard(path) for path in paths if path.stat().st_size]
    return [shard.sample(row) for shard in shards for row in range(len(shard))
            if in_split(split, bool(shard.labels['is_validation'][row]))]
