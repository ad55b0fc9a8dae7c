"""A head model survives as text, bit for bit, and untrusted text is bounded."""

import base64
import json
import zlib

import numpy as np
import pytest
from synthetic import EXPRESSIONS, small_head_model

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.head_model import ARRAYS
from trans3dhead_ros.model_files.head_model_text import read_head_model, write_head_model

MODEL = small_head_model().numpy()
TEXT = write_head_model(MODEL)


def test_a_head_model_comes_back():
    found = read_head_model(TEXT, EXPRESSIONS)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(MODEL, name))
        assert getattr(found, name).dtype == getattr(MODEL, name).dtype


def packed(arrays: dict) -> str:
    return json.dumps({
        'arrays': {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()},
        'zlib': base64.b64encode(zlib.compress(
            b''.join(array.tobytes() for array in arrays.values()))).decode()})


@pytest.mark.parametrize(('name', 'value', 'message'), [
    ('mean', np.full((200, 3), np.nan, np.float32), 'not finite'),
    ('mean', np.zeros((0, 3), np.float32), 'expected shape|empty'),
    ('triangles', np.full((4, 3), 200, np.int32), 'do not exist'),
    ('triangles', np.full((4, 3), -1, np.int32), 'do not exist'),
    ('landmark_indices', np.zeros(67, np.int32), 'expected shape'),
    ('identity', np.zeros((4, 200, 3), np.float64), 'damaged'),
])
def test_arrays_that_are_not_a_head_model_are_refused(name, value, message):
    arrays = {key: getattr(MODEL, key).astype('<i4') if key.endswith('s') and key != 'landmarks'
              else getattr(MODEL, key) for key in ARRAYS}
    assert read_head_model(packed(arrays), EXPRESSIONS).shape_count == 4
    with pytest.raises(UserError, match=message):
        read_head_model(packed({**arrays, name: value}), EXPRESSIONS)


def changed(**parts) -> str:
    return json.dumps({**json.loads(TEXT), **parts})


@pytest.mark.parametrize('text', [
    'no JSON', changed(zlib='***'), changed(zlib=''), changed(arrays={}),
    changed(zlib=base64.b64encode(zlib.compress(bytes(10 ** 7))).decode()),
    changed(arrays={**json.loads(TEXT)['arrays'], 'mean': ['<f4', [2 ** 40, 3]]}),
    changed(arrays={**json.loads(TEXT)['arrays'], 'mean': ['<f4', [2 ** 20, 2 ** 20]]}),
    changed(arrays={**json.loads(TEXT)['arrays'], 'mean': ['O', [200, 3]]}),
    changed(arrays={**json.loads(TEXT)['arrays'], 'mean': ['<f4', [-1, 3]]}),
    changed(arrays={**json.loads(TEXT)['arrays'], 'mean': ['<f4', 3]}),
    '[' * 100_000,
])
def test_damaged_texts_are_refused(text):
    with pytest.raises(UserError, match='head model: damaged'):
        read_head_model(text, EXPRESSIONS)
