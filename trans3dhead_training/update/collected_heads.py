"""The heads of recordings as tables: every one that was tracked, and those whose crop is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.types import Array, IndexArray
from trans3dhead_training.update.whole_files import read_arrays, write_arrays

TableType = TypeVar('TableType', bound='Table')


class Table:
    """Columns of equal length; the dataclasses below say which."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def __getitem__(self: TableType, rows: Any) -> TableType:
        """Return the chosen rows (indices, a slice or a mask)."""
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))

    def save(self, path: Path) -> None:
        """Write the table, in one step."""
        write_arrays(path, {field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls: type[TableType], path: Path) -> TableType:
        """Read a table; `UserError` where it is missing or damaged."""
        arrays = read_arrays(path, [field.name for field in fields(cls)])
        return cls(*(arrays[field.name] for field in fields(cls)))

    @classmethod
    def join(cls: type[TableType], tables: Sequence[TableType]) -> TableType:
        """Concatenate tables, at least one."""
        return cls(*(np.concatenate([getattr(table, field.name) for table in tables])
                     for field in fields(cls)))


@dataclass(frozen=True, eq=False)
class TrackedHeads(Table):
    """Every head of every frame that was looked at, in order of time within a recording."""

    recording: IndexArray
    """(M,) index of the recording."""
    piece: IndexArray
    """(M,) piece of the recording; tracks end with their piece."""
    stamp: Array
    """(M,) s."""
    track: IndexArray
    """(M,) identity within the piece."""
    points: Array
    """(M, 68, 2) px of the frame, jaw on the visible contour."""

    @property
    def boxes(self) -> Array:
        """(M, 4) px, tight around the points."""
        return np.concatenate([self.points.min(1), self.points.max(1)], axis=1)

    @property
    def track_names(self) -> IndexArray:
        """(M,) a number for each track of all pieces and recordings."""
        return unique_names(self.recording, self.piece, self.track)


@dataclass(frozen=True, eq=False)
class CollectedHeads(Table):
    """The heads whose crops are kept."""

    name: NDArray[np.str_]
    """(N,) file name of the crop."""
    person: IndexArray
    """(N,) number of the person: of a track, or of several that continue one another."""
    recording: IndexArray
    """(N,) index of the recording."""
    piece: IndexArray
    """(N,) piece of the recording."""
    track: IndexArray
    """(N,) identity within the piece."""
    stamp: Array
    """(N,) s."""
    points: Array
    """(N, 68, 2) px of the frame, as they were tracked."""
    rotation: Array
    """(N, 3, 3) head → camera optical frame, as the crop shows it."""
    score: Array
    """(N,) 0…1."""
    spread: Array
    """(N,) how far the answers to a few views differ, over the size of the box."""
    centre: Array
    """(N, 2) px of the frame, centre of the crop."""
    side: Array
    """(N,) px of the frame, side of the crop."""
    size: IndexArray
    """(N,) px, side of the picture of the crop."""
    frame_size: IndexArray
    """(N, 2) px, width and height of the frame."""

    def to_crop(self, row: int, points: Array) -> Array:
        """Return points (..., 2) px of the frame in px of the crop of a row."""
        size = int(self.size[row])
        units = 2.0 * (points - self.centre[row]) / self.side[row]
        return (units + 1.0) * size / 2 - 0.5

    def to_frame(self, row: int, points: Array) -> Array:
        """Return points (..., 2) px of the crop of a row in px of the frame."""
        units = (2.0 * points + 1.0) / int(self.size[row]) - 1.0
        return self.centre[row] + units * self.side[row] / 2


def unique_names(*columns: IndexArray) -> IndexArray:
    """Return a number for each combination of values, in their order."""
    return np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)[1].reshape(-1)
