"""
Numeric arrays of MAT-files of level 5 (MATLAB 5 to 7.2), as public data sets have their labels.

scipy's reader crashes the process on some damaged files; this one reads numeric arrays alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator

import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.types import Array

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_TYPES = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 9: 'f8', 12: 'i8',
          13: 'u8'}
_NUMERIC_CLASSES = range(6, 16)
_COMPLEX = 0x0800
# Labels of a face take some kilobytes.
_MAX_BYTES = 2 ** 26


def read_mat(data: bytes, names: Collection[str]) -> dict[str, Array]:
    """
    Read real numeric arrays.

    :param data: the whole file.
    :param names: of the arrays that are wanted.
    :return: those that the file has, as float64.
    :raises UserError: for a damaged file, or one of another level.
    """
    order = {b'IM': '<', b'MI': '>'}.get(data[126:128])
    if order is None or len(data) < _HEADER_BYTES:
        raise UserError('it is not a MAT-file of level 5')
    found: dict[str, Array] = {}
    try:
        for kind, content in _elements(data[_HEADER_BYTES:], order):
            if kind == _COMPRESSED:
                inside = zlib.decompressobj().decompress(content, _MAX_BYTES)
                kind, content = next(_elements(inside, order), (0, b''))
            if kind == _MATRIX:
                array = _array(content, order, names)
                if array is not None:
                    found[array[0]] = array[1]
    except (StopIteration, ValueError, struct.error, zlib.error) as error:
        raise UserError(f'it is damaged ({error})') from None
    return found


def _array(content: bytes, order: str, names: Collection[str]) -> tuple[str, Array] | None:
    """Return name and values of an array; None for one that is not wanted."""
    parts = _elements(content, order)
    flags = struct.unpack(f'{order}I', next(parts, (0, b''))[1][:4])[0]
    dimensions = np.frombuffer(next(parts, (0, b''))[1], f'{order}i4')
    name = next(parts, (0, b''))[1].decode('latin-1')
    if name not in names:
        return None
    if flags & 0xff not in _NUMERIC_CLASSES or flags & _COMPLEX:
        raise ValueError(f'{name} does not hold real numbers')
    kind, values = next(parts, (0, b''))
    if kind not in _TYPES or len(dimensions) < 2 or (dimensions < 0).any():
        raise ValueError(f'{name} has no readable values')
    array = np.frombuffer(values, order + _TYPES[kind]).astype(np.float64)
    return name, array.reshape(dimensions.tolist(), order='F')


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Yield type and content of each data element."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f'{order}II', data, at)
        start = at + 8
        if kind >> 16:  # an element of up to four bytes, packed into its tag
            kind, size, start = kind & 0xffff, kind >> 16, at + 4
            if size > 4:
                raise ValueError('an element has a wrong size')
        if start + size > len(data):
            raise ValueError('it ends within an element')
        yield kind, data[start:start + size]
        end = max(start + size, at + 8)
        at = end if kind == _COMPRESSED else at + (end - at + 7) // 8 * 8
