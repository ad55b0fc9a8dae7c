"""A head model as a text, which the metadata of an ONNX file can hold."""

from __future__ import annotations

import base64
import binascii
import json
import math
import zlib
from collections.abc import Sequence

import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.head_model import ARRAYS, HeadModel
from trans3dhead_ros.types import Float32Array

_MAX_BYTES = 64 * 2 ** 20
_MAX_SIDE = 2 ** 20
_TYPES = ('<f2', '<f4', '<i4')
_FLOATS = ARRAYS[:3]


def write_head_model(model: HeadModel) -> str:
    """
    Return a head model as a text; half precision where that loses nothing.

    :param model: the head model.
    :return: JSON with the type and the shape of each array, and their compressed bytes.
    """
    arrays = {name: _smallest(getattr(model, name)) if name in _FLOATS
              else getattr(model, name).astype('<i4') for name in ARRAYS}
    raw = b''.join(np.ascontiguousarray(array).tobytes() for array in arrays.values())
    return json.dumps({
        'arrays': {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()},
        'zlib': base64.b64encode(zlib.compress(raw, 9)).decode()})


def read_head_model(text: str, expression_names: Sequence[str]) -> HeadModel:
    """
    Read a text of `write_head_model`; memory is bounded by what the text declares.

    :param text: from an untrusted file.
    :param expression_names: of the E expressions.
    :return: the head model.
    :raises ValueError: when the text is damaged, or the arrays are not those of a head model.
    """
    try:
        values = json.loads(text)
        shapes = {name: (dtype, tuple(shape)) for name, (dtype, shape)
                  in values['arrays'].items()}
        if list(shapes) != list(ARRAYS):
            raise ValueError(f'its arrays are {", ".join(shapes)[:100]}')
        sizes = [_count(*entry) * np.dtype(entry[0]).itemsize for entry in shapes.values()]
        if sum(sizes) > _MAX_BYTES:
            raise ValueError(f'{sum(sizes) / 2 ** 20:.0f} MiB exceed the limit')
        packed = base64.b64decode(values['zlib'], validate=True)
        raw = zlib.decompressobj().decompress(packed, sum(sizes) + 1)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError, binascii.Error,
            zlib.error) as error:
        raise UserError(f'head model: damaged ({str(error)[:200]})') from None
    if len(raw) != sum(sizes):
        raise UserError(f'head model: damaged ({len(raw)} bytes, expected {sum(sizes)})')
    starts = np.cumsum([0, *sizes]).tolist()
    arrays = {name: np.frombuffer(raw, dtype, math.prod(shape), start).reshape(shape)
              for (name, (dtype, shape)), start in zip(shapes.items(), starts, strict=False)}
    return checked_head_model(HeadModel.from_arrays(arrays, expression_names))


def checked_head_model(model: HeadModel) -> HeadModel:
    """
    Check the values of a head model from a file.

    :param model: the head model.
    :return: the same.
    :raises ValueError: for a number that is not finite, or an index without a vertex.
    """
    for name in ARRAYS:
        array = getattr(model, name)
        if array.size == 0:
            raise UserError(f'head model: {name} is empty')
        if name in _FLOATS and not np.isfinite(array).all():
            raise UserError(f'head model: {name} holds a number that is not finite')
        if name not in _FLOATS and not (array.min() >= 0 and array.max() < len(model.mean)):
            raise UserError(f'head model: {name} refers to vertices that do not exist')
    return model


def _smallest(array: Float32Array) -> np.ndarray:
    with np.errstate(over='ignore'):
        half = array.astype('<f2')
    return half if np.array_equal(half.astype(np.float32), array) else array.astype('<f4')


def _count(dtype: str, shape: tuple[int, ...]) -> int:
    if dtype not in _TYPES or not 1 <= len(shape) <= 3 \
            or not all(type(side) is int and 0 <= side <= _MAX_SIDE for side in shape):
        raise ValueError(f'an array of type {str(dtype)[:20]} and shape {str(shape)[:60]}')
    return math.prod(shape)
