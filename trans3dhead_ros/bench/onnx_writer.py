"""
Write an ONNX file without the package `onnx`: nodes, weights, one input and one output.

Counterpart of `model_files.onnx_graph`, which reads one. The numbers of the fields are those of
onnx/onnx.proto of the ONNX project.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trans3dhead_ros.types import Float32Array

_IR_VERSION, _OPSET, _FLOAT = 8, 13, 1
_INT, _INTS = 2, 7  # AttributeProto.AttributeType


def write_model(
    nodes: Sequence[bytes], weights: Mapping[str, Float32Array],
    inputs: Mapping[str, Sequence[int]], outputs: Mapping[str, Sequence[int]],
) -> bytes:
    """
    Return an ONNX file in single precision.

    :param nodes: from `write_node`, in the order in which they run.
    :param weights: constants by name.
    :param inputs: shapes by name.
    :param outputs: shapes by name.
    :return: the file.
    """
    graph = [*(_field(1, node) for node in nodes), _field(2, b'graph'),
             *(_field(5, _tensor(name, array)) for name, array in weights.items()),
             *(_field(11, _value(name, shape)) for name, shape in inputs.items()),
             *(_field(12, _value(name, shape)) for name, shape in outputs.items())]
    return b''.join([_field(1, _IR_VERSION), _field(7, b''.join(graph)),
                     _field(8, _field(1, b'') + _field(2, _OPSET))])


def write_node(
    operator: str, inputs: Sequence[str], output: str, **attributes: int | Sequence[int],
) -> bytes:
    """
    Return a node of a graph.

    :param operator: its name in ONNX.
    :param inputs: names.
    :param output: name.
    :param **attributes: whole numbers, or lists of them.
    :return: a NodeProto.
    """
    return b''.join([*(_field(1, name.encode()) for name in inputs), _field(2, output.encode()),
                     _field(3, output.encode()), _field(4, operator.encode()),
                     *(_field(5, _attribute(name, value)) for name, value in attributes.items())])


def _attribute(name: str, value: int | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return _field(1, name.encode()) + _field(3, value) + _field(20, _INT)
    return b''.join([_field(1, name.encode()), *(_field(8, item) for item in value),
                     _field(20, _INTS)])


def _tensor(name: str, array: Float32Array) -> bytes:
    data = np.ascontiguousarray(array, '<f4').tobytes()
    return b''.join([*(_field(1, size) for size in array.shape), _field(2, _FLOAT),
                     _field(8, name.encode()), _field(9, data)])


def _value(name: str, shape: Sequence[int]) -> bytes:
    sizes = b''.join(_field(1, _field(1, size)) for size in shape)
    return _field(1, name.encode()) + _field(2, _field(1, _field(1, _FLOAT) + _field(2, sizes)))


def _field(number: int, content: int | bytes) -> bytes:
    """Return a field of a message: a number of variable length, or bytes."""
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])
