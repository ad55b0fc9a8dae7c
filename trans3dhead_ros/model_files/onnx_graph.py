"""
The outside of an ONNX file, read without the package `onnx`: inputs, outputs and metadata.

A robot needs no more of it, and the package is not to be had everywhere. The file is a protocol
buffer (onnx/onnx.proto of the ONNX project gives the numbers of the fields); weights are skipped.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trans3dhead_ros.errors import UserError

MAX_FILE_BYTES = 512 * 2 ** 20
"""A network for the processor of a robot is two orders of magnitude smaller."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_GRAPH, _OPSET, _METADATA = 7, 8, 14
_INITIALIZER, _INPUT, _OUTPUT = 5, 11, 12
_MAX_VARINT_BYTES = 10


@dataclass(frozen=True, eq=False)
class OnnxGraph:
    """An ONNX file in memory."""

    data: bytes
    """The whole file."""
    inputs: tuple[str, ...]
    """Names of the inputs."""
    outputs: tuple[str, ...]
    """Names of the outputs."""
    input_shape: tuple[int | None, ...]
    """Sizes of the first input; None where any size is taken."""
    metadata: dict[str, str]
    """Texts by name, as `metadata_props` has them."""
    free_places: tuple[tuple[int, int, int], ...]
    """
    Index of each dimension that has a name for its size, and start and end of its bytes: all of the
    first input, and the batch of the outputs.
    """
    sha256: str
    """Of the graph, weights included and metadata not."""
    opset: int
    """Version of the operators; 0 if the file does not say it."""
    constants: int
    """Number of weights and other constants."""

    @property
    def fixed_batch(self) -> bool:
        """Whether the file takes only one size of batch."""
        return all(index for index, *_ in self.free_places)

    def with_input_shape(self, shape: Sequence[int]) -> bytes:
        """
        Return the file with fixed sizes in place of free ones.

        :param shape: of the first input, each at least 1; where the file has a size, it stays.
        :return: a file of the same length.
        :raises ValueError: when the name of a dimension leaves no room for the number.
        """
        data = bytearray(self.data)
        for index, start, end in self.free_places:
            data[start:end] = _dimension(shape[index], end - start)
        return bytes(data)


def read_onnx(path: Path) -> OnnxGraph:
    """
    Read an ONNX file.

    :param path: of the file.
    :return: the file and what it declares.
    :raises UserError: when it is missing, too large or not an ONNX file.
    """
    try:
        # Checked first: opening a named pipe would wait for its writer.
        if not path.is_file():
            raise UserError(f'{path}: no such model file')
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise UserError(f'{path}: {size / 2 ** 20:.0f} MiB exceed the limit for a model '
                            f'({MAX_FILE_BYTES // 2 ** 20} MiB)')
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror})') from None
    try:
        return parse_onnx(data)
    except (UnicodeDecodeError, ValueError) as error:
        raise UserError(f'{path}: truncated or not an ONNX file ({error})') from None


def parse_onnx(data: bytes) -> OnnxGraph:
    """
    Read the outside of an ONNX file from its bytes.

    :param data: the whole file.
    :return: the file and what it declares.
    :raises ValueError: when it is not an ONNX file.
    """
    metadata: dict[str, str] = {}
    names: dict[int, list[str]] = {_INPUT: [], _OUTPUT: []}
    places: list[tuple[int, int, int]] = []
    shapes: list[tuple[int | None, ...]] = []
    digest, opset, constants = None, 0, 0
    for number, start, end in _fields(data, 0, len(data)):
        if number == _METADATA:
            entry = {part: data[a:b].decode() for part, a, b in _fields(data, start, end)}
            metadata[entry.get(1, '')] = entry.get(2, '')
        elif number == _GRAPH:
            digest = hashlib.sha256(memoryview(data)[start:end]).hexdigest()
            for part, a, b in _fields(data, start, end):
                if part in names:
                    names[part].append(_name(data, a, b))
                    spans = _dimensions(data, a, b)
                    sizes = tuple(_size(data, *span) for span in spans)
                    first = part == _INPUT and not shapes
                    places += [(index, *span) for index, (size, span) in enumerate(
                        zip(sizes, spans, strict=True)) if size is None and (first or index == 0)]
                    if part == _INPUT:
                        shapes.append(sizes)
                elif part == _INITIALIZER:
                    constants += _element_count(data, a, b)
        elif number == _OPSET:
            entry = {part: (a, b) for part, a, b in _fields(data, start, end)}
            if data[slice(*entry.get(1, (0, 0)))] in (b'', b'ai.onnx') and 2 in entry:
                opset = _varint(data, *entry[2])[0]
    if digest is None or not names[_INPUT] or not names[_OUTPUT]:
        raise ValueError('it holds no graph with inputs and outputs')
    return OnnxGraph(data, tuple(names[_INPUT]), tuple(names[_OUTPUT]), shapes[0], metadata,
                     tuple(places), digest, opset, constants)


def _fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the number of each field of a message, and where its content begins and ends."""
    while start < end:
        key, start = _varint(data, start, end)
        number, kind = key >> 3, key & 7
        if kind == _BYTES:
            length, start = _varint(data, start, end)
        elif kind == _VARINT:
            length = _varint(data, start, end)[1] - start
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f'a field of unknown type {kind}')
        if number == 0 or start + length > end:
            raise ValueError('a field reaches beyond its message')
        yield number, start, start + length
        start += length


def _varint(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Return a number of variable length, and where it ends."""
    value = 0
    for i in range(min(_MAX_VARINT_BYTES, end - start)):
        byte = data[start + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, start + i + 1
    raise ValueError('a number has no end')


def _name(data: bytes, start: int, end: int) -> str:
    return next((data[a:b].decode() for number, a, b in _fields(data, start, end) if number == 1),
                '')


def _element_count(data: bytes, start: int, end: int) -> int:
    """Return the number of elements of a TensorProto."""
    return math.prod(_varint(data, a, b)[0] for number, a, b in _fields(data, start, end)
                     if number == 1)


def _dimensions(data: bytes, start: int, end: int) -> list[tuple[int, int]]:
    """Return where the dimensions of a ValueInfoProto are."""
    # ValueInfoProto.type, TypeProto.tensor_type, Tensor.shape
    span = (start, end)
    for wanted in (2, 1, 2):
        found = next(((a, b) for number, a, b in _fields(data, *span) if number == wanted), None)
        if found is None:
            return []
        span = found
    return [(a, b) for number, a, b in _fields(data, *span) if number == 1]


def _size(data: bytes, start: int, end: int) -> int | None:
    """Return the size of a dimension; None where it is free and has a name."""
    return next((_varint(data, a, b)[0] for number, a, b in _fields(data, start, end)
                 if number == 1), None)


def _dimension(size: int, length: int) -> bytes:
    """Return `dim_value: size` in exactly so many bytes, which a padded varint can have."""
    # Of a field that is given several times, the last value counts.
    before = b'\x08\x01' * max(-(-(length - 1 - _MAX_VARINT_BYTES) // 2), 0)
    room = length - len(before) - 1
    if room < 1 or not 0 < size < 1 << (7 * room):
        raise ValueError(f'shape: {size} does not fit into the file')
    digits = [(size >> (7 * i)) & 0x7F for i in range(room)]
    return before + bytes([0x08, *(digit | 0x80 for digit in digits[:-1]), digits[-1]])
