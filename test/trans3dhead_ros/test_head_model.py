"""The head model in NumPy is that of torch."""

import numpy as np
import pytest
import torch
from synthetic import small_head_model

from trans3dhead_ros.head_model import ARRAYS, HeadModel

MODULE = small_head_model()
MODEL = MODULE.numpy()


def test_vertices_are_those_of_torch():
    generator = np.random.default_rng(0)
    shape, expression = generator.normal(size=(3, 4)), generator.uniform(size=(3, 3))
    found = MODEL.vertices(shape, expression)
    assert found.dtype == np.float32
    expected = MODULE(torch.from_numpy(shape).float(), torch.from_numpy(expression).float())
    assert np.abs(found - expected.numpy()).max() < 1e-7


def test_vertices_of_many_heads_are_those_of_each():
    rng = np.random.default_rng(2)
    shape, expression = rng.normal(size=(40, 4)), rng.uniform(size=(40, 3))
    together = MODEL.vertices(shape, expression)
    alone = [MODEL.vertices(shape[i:i + 1], expression[i:i + 1])[0] for i in range(40)]
    np.testing.assert_allclose(together, alone, atol=1e-8)
    assert MODEL.vertices(shape[:0], expression[:0]).shape == (0, 200, 3)


def test_landmark_rows_give_the_landmarks():
    generator = np.random.default_rng(1)
    shape, expression = generator.normal(size=(2, 4)), generator.uniform(size=(2, 3))
    mean, basis = MODEL.landmark_rows()
    found = mean + np.concatenate([shape, expression], axis=1) @ basis
    expected = MODEL.vertices(shape, expression)[:, MODEL.landmark_indices]
    assert np.abs(found.reshape(2, 68, 3) - expected).max() < 1e-7


@pytest.mark.parametrize(('shape', 'expression', 'named'), [
    ((1, 3), (1, 3), 'shape'), ((1, 4), (1, 5), 'expression'), ((4,), (1, 3), 'shape')])
def test_wrong_coefficients_are_named(shape, expression, named):
    with pytest.raises(ValueError, match=named):
        MODEL.vertices(np.zeros(shape), np.zeros(expression))


@pytest.mark.parametrize('name', ARRAYS)
def test_arrays_that_are_missing_or_do_not_match_are_named(name):
    arrays = {array: getattr(MODEL, array) for array in ARRAYS}
    with pytest.raises(ValueError, match=f'missing arrays {name}'):
        HeadModel.from_arrays({key: value for key, value in arrays.items() if key != name},
                              MODEL.expression_names)
    wrong = np.zeros((3, 5) if name.endswith('indices') or name == 'triangles' else (2, 7, 9))
    with pytest.raises(ValueError, match='head model: .*expected shape'):
        HeadModel.from_arrays({**arrays, name: wrong}, MODEL.expression_names)
