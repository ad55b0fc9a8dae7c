"""
safetensors files, read with suspicion: no memory is taken for what has not been checked.

A file is eight bytes (the length of the header), a JSON header that says where which tensor lies,
and the tensors. The header is checked here in full, against itself and against the size of the
file. The bytes are read, not mapped: whoever truncates a mapped file ends the process.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from trans3dhead_ros.errors import UserError

#: A network for a robot's processor is two orders of magnitude smaller.
MAX_FILE_BYTES = 512 * 2 ** 20
#: The header of a network with its head model has some 30 kB.
MAX_HEADER_BYTES = 2 ** 20
MAX_TENSORS = 4096
_MAX_DIMENSIONS = 8
_BYTES = {'BOOL': 1, 'U8': 1, 'I8': 1, 'F8_E5M2': 1, 'F8_E4M3': 1, 'I16': 2, 'U16': 2, 'F16': 2,
          'BF16': 2, 'I32': 4, 'U32': 4, 'F32': 4, 'I64': 8, 'U64': 8, 'F64': 8}


@dataclass(frozen=True)
class Declared:
    """What the header says about one tensor."""

    #: As safetensors names it, such as 'F16'.
    dtype: str
    shape: tuple[int, ...]


class TensorFile:
    """
    An open file whose header has been checked.

    :ivar tensors: what it declares, by name.
    :ivar metadata: texts by name.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        if self._size > MAX_FILE_BYTES:
            raise UserError(
                f'{path}: {self._size / 2 ** 20:.0f} MiB is more than a checkpoint can have '
                f'({MAX_FILE_BYTES // 2 ** 20} MiB)')
        try:
            self._head = self._read_head()
            self.tensors, self.metadata = _parsed(self._head[8:], self._size - len(self._head))
        except (RecursionError, ValueError) as error:
            raise self._no_good(str(error)) from None

    def read(self) -> dict[str, torch.Tensor]:
        """
        Return all tensors.

        :raises ValueError: when the file has become another one since it was opened.
        """
        data = self._head + self._file.read(self._size - len(self._head))
        if len(data) != self._size:
            raise self._no_good('it became shorter')
        try:
            return load(data)
        except (SafetensorError, RuntimeError, ValueError) as error:
            raise self._no_good(str(error)) from None

    def _read_head(self) -> bytes:
        prefix = self._file.read(8)
        length = int.from_bytes(prefix, 'little')
        if len(prefix) < 8 or length > self._size - 8:
            raise UserError('it ends within its header')
        if length > MAX_HEADER_BYTES:
            raise UserError(f'its header of {length} bytes is too long')
        return prefix + self._file.read(length)

    def _no_good(self, reason: str) -> ValueError:
        return UserError(f'{self._path}: truncated or not a safetensors file ({reason[:200]})')


@contextmanager
def open_tensors(path: Path) -> Iterator[TensorFile]:
    """
    Open a safetensors file and check its header.

    :raises ValueError: when it is missing, too large, truncated or contradicts itself.
    """
    try:
        # Asked first: opening a pipe would wait for its writer.
        if not path.is_file():
            raise UserError(f'{path}: no such checkpoint file')
        file = path.open('rb')
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror})') from None
    with file:
        yield TensorFile(path, file)


def _parsed(text: bytes, data_bytes: int) -> tuple[dict[str, Declared], dict[str, str]]:
    header = json.loads(text)
    if not isinstance(header, dict) or len(header) > MAX_TENSORS:
        raise UserError(f'its header names no tensors, or more than {MAX_TENSORS}')
    metadata = header.pop('__metadata__', {})
    if not isinstance(metadata, dict) \
            or not all(isinstance(value, str) for value in metadata.values()):
        raise UserError('its metadata are no texts')
    spans: list[tuple[int, int]] = []
    tensors: dict[str, Declared] = {}
    for name, entry in header.items():
        tensors[name], span = _declared(name, entry)
        spans.append(span)
    end = 0
    for start, stop in sorted(spans):
        if start != end:
            raise UserError('its tensors overlap or have gaps between them')
        end = stop
    if end != data_bytes:
        raise UserError(f'its tensors take {end} bytes and the file has {data_bytes}')
    return tensors, metadata


def _declared(name: str, entry: Any) -> tuple[Declared, tuple[int, int]]:
    """Return what an entry of the header says, and where its bytes lie."""
    if not isinstance(entry, dict) or entry.keys() != {'dtype', 'shape', 'data_offsets'}:
        raise UserError(f'{name[:60]!r} is not described as a tensor')
    dtype, shape, span = entry['dtype'], entry['shape'], entry['data_offsets']
    if not isinstance(dtype, str) or dtype not in _BYTES:
        raise UserError(f'{name[:60]!r} is of an unknown type')
    if not _are_counts(shape) or len(shape) > _MAX_DIMENSIONS \
            or not _are_counts(span) or len(span) != 2 \
            or math.prod(shape) * _BYTES[dtype] != span[1] - span[0]:
        raise UserError(f'{name[:60]!r} has a shape that does not fit its place')
    return Declared(dtype, tuple(shape)), (span[0], span[1])


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value <= MAX_FILE_BYTES for value in values)
