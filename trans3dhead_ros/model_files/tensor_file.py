"""
Safetensors files from untrusted sources: nothing is allocated before it has been checked.

A file is eight bytes (the length of the header), a JSON header with the place of each tensor, and
the tensors. The header is checked completely, for consistency and against the size of the file. The
bytes are read, not mapped: truncating a mapped file would end the process with SIGBUS.
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

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.errors import UserError

MAX_FILE_BYTES = 512 * 2 ** 20
"""A network for the processor of a robot is two orders of magnitude smaller."""

_MAX_HEADER_BYTES = 2 ** 20  # that of a network with its head model has some 30 kB
_MAX_TENSORS = 4096
_MAX_DIMENSIONS = 8
# The types that NumPy has; those of a checkpoint are among them.
_NUMPY = {'BOOL': '?', 'U8': 'u1', 'I8': 'i1', 'I16': '<i2', 'U16': '<u2', 'F16': '<f2',
          'I32': '<i4', 'U32': '<u4', 'F32': '<f4', 'I64': '<i8', 'U64': '<u8', 'F64': '<f8'}
_BYTES = {'BOOL': 1, 'U8': 1, 'I8': 1, 'F8_E5M2': 1, 'F8_E4M3': 1, 'I16': 2, 'U16': 2, 'F16': 2,
          'BF16': 2, 'I32': 4, 'U32': 4, 'F32': 4, 'I64': 8, 'U64': 8, 'F64': 8}


@dataclass(frozen=True)
class TensorInfo:
    """The entry of one tensor in the header."""

    dtype: str
    """As safetensors names it, such as 'F16'."""
    shape: tuple[int, ...]
    """Possibly empty, for a number."""
    start: int
    """Offset of its first byte from the end of the header."""


class TensorFile:
    """
    An open file whose header has been checked; see `open_tensors`.

    :param path: for messages.
    :param file: opened for reading, at its beginning.
    :raises ValueError: when the file is too large, truncated or inconsistent.
    """

    tensors: dict[str, TensorInfo]
    """The tensors that the header declares, by name."""
    metadata: dict[str, str]
    """Texts by name."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        if self._size > MAX_FILE_BYTES:
            raise UserError(
                f'{path}: {self._size / 2 ** 20:.0f} MiB exceed the limit for a checkpoint '
                f'({MAX_FILE_BYTES // 2 ** 20} MiB)')
        try:
            self._header = self._read_header()
            self.tensors, self.metadata = _parse(self._header[8:], self._size - len(self._header))
        except (RecursionError, ValueError) as error:
            raise self._error(str(error)) from None

    def read(self) -> dict[str, NDArray[Any]]:
        """
        Read all tensors, once.

        :return: arrays by name.
        :raises ValueError: when the file was changed after it was opened, or holds a type that
            NumPy does not have.
        """
        data = self._file.read(self._size - len(self._header))
        if len(data) != self._size - len(self._header):
            raise self._error('it was shortened while it was open')
        arrays = {}
        for name, info in self.tensors.items():
            if info.dtype not in _NUMPY:
                raise self._error(f'{name[:60]!r} has type {info.dtype}')
            # A copy, because the bytes are neither writable nor aligned.
            arrays[name] = np.frombuffer(
                data, _NUMPY[info.dtype], math.prod(info.shape), info.start,
            ).reshape(info.shape).copy()
        return arrays

    def _read_header(self) -> bytes:
        prefix = self._file.read(8)
        length = int.from_bytes(prefix, 'little')
        if len(prefix) < 8 or length > self._size - 8:
            raise ValueError('it ends within its header')
        if length > _MAX_HEADER_BYTES:
            raise ValueError(f'its header of {length} bytes is too long')
        return prefix + self._file.read(length)

    def _error(self, reason: str) -> ValueError:
        return UserError(f'{self._path}: truncated or not a safetensors file ({reason[:200]})')


@contextmanager
def open_tensors(path: Path) -> Iterator[TensorFile]:
    """
    Open a safetensors file and check its header.

    :param path: of the file.
    :yield: the open file.
    :raises UserError: when it is missing, too large, truncated or inconsistent.
    """
    try:
        # Checked first: opening a named pipe would wait for its writer.
        if not path.is_file():
            raise UserError(f'{path}: no such checkpoint file')
        file = path.open('rb')
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror})') from None
    with file:
        yield TensorFile(path, file)


def _parse(text: bytes, data_bytes: int) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    header = json.loads(text)
    if not isinstance(header, dict) or len(header) > _MAX_TENSORS:
        raise ValueError(f'its header is not an object, or names more than {_MAX_TENSORS} tensors')
    metadata = header.pop('__metadata__', {})
    if not isinstance(metadata, dict) \
            or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError('its metadata are not texts')
    spans: list[tuple[int, int]] = []
    tensors: dict[str, TensorInfo] = {}
    for name, entry in header.items():
        tensors[name], span = _parse_entry(name, entry)
        spans.append(span)
    end = 0
    for start, stop in sorted(spans):
        if start != end:
            raise ValueError('its tensors overlap or have gaps between them')
        end = stop
    if end != data_bytes:
        raise ValueError(f'its tensors take {end} bytes and the file has {data_bytes}')
    return tensors, metadata


def _parse_entry(name: str, entry: Any) -> tuple[TensorInfo, tuple[int, int]]:
    """Return an entry of the header and the span of its bytes."""
    if not isinstance(entry, dict) or entry.keys() != {'dtype', 'shape', 'data_offsets'}:
        raise ValueError(f'{name[:60]!r} is not described as a tensor')
    dtype, shape, span = entry['dtype'], entry['shape'], entry['data_offsets']
    if not isinstance(dtype, str) or dtype not in _BYTES:
        raise ValueError(f'{name[:60]!r} is of an unknown type')
    if not _are_counts(shape) or len(shape) > _MAX_DIMENSIONS \
            or not _are_counts(span) or len(span) != 2 \
            or math.prod(shape) * _BYTES[dtype] != span[1] - span[0]:
        raise ValueError(f'the shape of {name[:60]!r} does not match its bytes')
    return TensorInfo(dtype, tuple(shape), span[0]), (span[0], span[1])


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value <= MAX_FILE_BYTES for value in values)
