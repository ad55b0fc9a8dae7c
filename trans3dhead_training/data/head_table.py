"""The labels of parts of a prepared folder, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import euler_from_rotation
from trans3dhead_ros.landmarks import JAW, JAW_COUNT
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_ros.types import Array, BoolArray, IndexArray
from trans3dhead_training.data.labels import NEVER_HELD_OUT
from trans3dhead_training.data.manifest import Manifest
from trans3dhead_training.data.shards import Shard

EXACT_PARTS = frozenset({'synthetic', 'portraits', 'lfw', 'adapted'})
"""Parts whose points are the landmarks of the head model, not those of a labeller."""


@dataclass(frozen=True, eq=False)
class HeadTable:
    """
    N labelled heads in px of their pictures, in one convention.

    Labellers mark slightly other points than those of the head model (the manifest's `offsets`),
    and count pixels from 1, so that their points lie to the right of and below what they mark. A
    network learns this from most of its data. The points of exact parts are moved likewise, so that
    the network is not taught two conventions.
    """

    shards: tuple[Shard, ...]
    """The files."""
    part_names: tuple[str, ...]
    """Names of the parts."""
    shard: IndexArray
    """(N,) index into `shards`."""
    row: IndexArray
    """(N,) row in the shard."""
    part: IndexArray
    """(N,) index into `part_names`."""
    source: NDArray[np.str_]
    """(N,) which set a picture comes from."""
    group: NDArray[np.str_]
    """(N,) photograph or person; equal names are never on both sides of a split."""
    points: Array
    """(N, 68, 2) px, the jaw on the visible contour; nan where a point is unknown."""
    labelled: BoolArray
    """(N, 68) whether a point follows a label; false for fitted or unknown points."""
    jaw: Array
    """(N, 17, 2) px of the 3D definition, nan where unknown."""
    trust: Array
    """(N,) weight of the points, 0..1."""
    offset: Array
    """(N,) px, how far the points lie to the right of and below what they mark."""
    has_fit: BoolArray
    """(N,) whether pose, placement and coefficients are known; those below are nan elsewhere."""
    rotation: Array
    """(N, 3, 3) head frame to camera optical frame, apparent rotation in the crop."""
    translation: Array
    """(N, 2) px, where the sellion appears."""
    log_scale: Array
    """(N,) natural logarithm of px per metre."""
    shape: Array
    """(N, I) identity coefficients."""
    expression: Array
    """(N, E) expression coefficients."""

    def __len__(self) -> int:
        return len(self.row)

    @property
    def automatic(self) -> BoolArray:
        """(N,) whether the points are automatic, not from an annotator."""
        return np.isin(self.source, sorted(NEVER_HELD_OUT))

    def yaw_deg(self) -> Array:
        """Return the yaw (N,); 0 where it is unknown."""
        yaw = euler_from_rotation(np.where(self.has_fit[:, None, None], self.rotation, np.eye(3)))
        return np.where(self.has_fit, yaw[:, 0], 0.0)

    def picture(self, number: int) -> bytes:
        """Return the encoded picture of a head."""
        return self.shards[self.shard[number]].picture(int(self.row[number]))


def read_table(
    folder: Path, model: HeadModule, parts: Sequence[str], validation: bool,
    open_only: bool = False, label_offset: float = 0.005,
) -> HeadTable:
    """
    Read the labels of some parts of a prepared folder.

    :param folder: with a manifest and shards.
    :param model: head model of the data, on the CPU; gives the jaw of fitted photographs.
    :param parts: names of the parts; those that the folder does not have are ignored.
    :param validation: take the held-out heads, else the others.
    :param open_only: take only parts that are free for any use.
    :param label_offset: how far labels lie to the right of and below what they mark, as a fraction
        of the longer side of the landmark box.
    :return: the table.
    :raises UserError: nothing is left, or a shard is missing or damaged.
    """
    folder = Path(folder)
    manifest = Manifest.load(folder)
    chosen = [part for part in manifest.usable(open_only) if part.name in parts]
    files = [(part, Shard(folder / name)) for part in chosen for name in part.shards]
    for (part, shard) in files:
        if len(shard) != part.shards[str(shard.path.relative_to(folder).as_posix())]:
            raise UserError(f'shard: {shard.path} does not match the manifest; run '
                            '`trans3dhead prepare data` again')
    kept = [np.flatnonzero((shard.labels['is_validation'] > 0) == validation)
            for _, shard in files]
    if not sum(map(len, kept)):
        raise UserError(f'data: {folder} has no {"validation" if validation else "training"} '
                        f'heads of the parts {", ".join(parts)}')

    def gathered(name: str) -> NDArray:
        return np.concatenate([shard.labels[name][rows]
                               for (_, shard), rows in zip(files, kept, strict=True)])

    for _, shard in files:
        # A shard without any coefficients has no columns for them.
        for name, size in (('shape', model.shape_count), ('expression', model.expression_count)):
            if not shard.labels[name].size:
                shard.labels[name] = np.full((len(shard), size), np.nan, np.float32)
            if shard.labels[name].shape[1] != size:
                raise UserError(f'shard: {shard.path} is for a head model of '
                                f'{shard.labels[name].shape[1]}, not {size} {name} coefficients; '
                                'prepare the data with the same head model')
    counts = [len(rows) for rows in kept]
    part = np.repeat([chosen.index(part) for part, _ in files], counts)
    label = {name: gathered(name).astype(float) for name in (
        'points', 'contour', 'trust', 'rotation', 'translation', 'log_scale', 'shape',
        'expression')}
    points, known = label['points'], gathered('points_are_3d') > 0
    has_fit = np.logical_and.reduce([
        np.isfinite(label[name]).reshape(len(points), -1).all(1)
        for name in ('rotation', 'translation', 'log_scale', 'shape', 'expression')])
    jaw = np.where(known[:, None, None], points[:, JAW], _fitted_jaw(model, label))
    points[known, JAW] = label['contour'][known]
    labelled = np.isfinite(points).all(-1) & (known[:, None] | (gathered('visible') > 0))
    side = (np.nanmax(points, axis=1) - np.nanmin(points, axis=1)).max(-1)
    exact = np.isin([chosen[number].name for number in part], sorted(EXACT_PARTS))
    moved = np.where(exact, label_offset * side, 0.0)
    displaced = np.einsum('nij,pj->npi', label['rotation'][:, :2], np.array(manifest.offsets))
    points[exact, JAW_COUNT:] += (np.exp(label['log_scale'])[:, None, None] * displaced)[exact]
    return HeadTable(
        shards=tuple(shard for _, shard in files), part_names=tuple(p.name for p in chosen),
        shard=np.repeat(np.arange(len(files)), counts), row=np.concatenate(kept), part=part,
        source=np.concatenate([s.sources[rows] for (_, s), rows in zip(files, kept, strict=True)]),
        group=np.concatenate([s.groups[rows] for (_, s), rows in zip(files, kept, strict=True)]),
        points=points + moved[:, None, None], labelled=labelled, jaw=jaw + moved[:, None, None],
        trust=label['trust'], offset=label_offset * side, has_fit=has_fit,
        rotation=label['rotation'], translation=label['translation'] + moved[:, None],
        log_scale=label['log_scale'], shape=label['shape'], expression=label['expression'])


def _fitted_jaw(model: HeadModule, label: dict[str, Array]) -> Array:
    """Return the jaw (N, 17, 2) px of the 3D definition of the fits; nan where there is none."""
    with torch.no_grad():
        head = model.points_of(
            model.landmark_indices[:JAW_COUNT],
            torch.from_numpy(np.nan_to_num(label['shape'])).float(),
            torch.from_numpy(np.nan_to_num(label['expression'])).float()).numpy().astype(float)
    flat = np.einsum('nij,npj->npi', label['rotation'][:, :2], head)
    return (np.exp(label['log_scale'])[:, None, None] * flat + label['translation'][:, None])
