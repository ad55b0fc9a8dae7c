"""ONNX files are read without their package, whatever they hold."""

import contextlib

import numpy as np
import pytest

from trans3dhead_ros.model_files.onnx_graph import parse_onnx, read_onnx

onnx = pytest.importorskip('onnx')
helper = onnx.helper


def model(batch='batch', width=3):
    weight = onnx.numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(3, 4), 'weight')
    graph = helper.make_graph(
        [helper.make_node('MatMul', ['x', 'weight'], ['y'])], 'small',
        [helper.make_tensor_value_info('x', onnx.TensorProto.FLOAT, [batch, width])],
        [helper.make_tensor_value_info('y', onnx.TensorProto.FLOAT, [batch, 4])], [weight])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)])
    helper.set_model_props(made, {'licence': 'Apache-2.0', 'note': 'größer'})
    return made


def test_names_and_metadata_are_read(tmp_path):
    path = tmp_path / 'small.onnx'
    path.write_bytes(model().SerializeToString())
    graph = read_onnx(path)
    assert (graph.inputs, graph.outputs) == (('x',), ('y',))
    assert graph.metadata == {'licence': 'Apache-2.0', 'note': 'größer'}


def test_the_hash_is_of_the_weights_and_not_of_the_metadata():
    first, second = model(), model()
    helper.set_model_props(second, {'licence': 'another'})
    assert parse_onnx(first.SerializeToString()).sha256 == \
        parse_onnx(second.SerializeToString()).sha256
    second.graph.initializer[0].raw_data = bytes(48)
    assert parse_onnx(first.SerializeToString()).sha256 != \
        parse_onnx(second.SerializeToString()).sha256


@pytest.mark.parametrize('width', [3, 'w', 'columns', 'a * very + long ** name'])
@pytest.mark.parametrize('size', [1, 3, 200, 70000])
def test_free_sizes_can_be_fixed(size, width):
    graph = parse_onnx(model(width=width).SerializeToString())
    assert graph.input_shape == (None, 3 if width == 3 else None) and not graph.fixed_batch
    fixed = onnx.load_from_string(graph.with_input_shape((size, 3)))
    for value, second in ((fixed.graph.input[0], 3), (fixed.graph.output[0], 4)):
        assert [place.dim_value for place in value.type.tensor_type.shape.dim] == [size, second]
    onnx.checker.check_model(fixed)
    onnx.shape_inference.infer_shapes(fixed, strict_mode=True)


def test_a_fixed_batch_stays():
    data = model(batch=2).SerializeToString()
    assert parse_onnx(data).free_places == () and parse_onnx(data).fixed_batch
    assert parse_onnx(data).with_input_shape((5, 3)) == data
    assert parse_onnx(model(batch=2, width='w').SerializeToString()).fixed_batch


def test_a_name_too_short_for_the_number_is_refused():
    with pytest.raises(ValueError, match='shape'):
        parse_onnx(model(batch='b').SerializeToString()).with_input_shape((10 ** 8, 3))


def test_every_truncation_is_an_error_or_harmless(tmp_path):
    data = model().SerializeToString()
    whole = parse_onnx(data)
    for length in range(len(data)):
        try:
            cut = parse_onnx(data[:length])
        except ValueError:
            continue
        # Between two fields: what is left is a file of its own.
        assert cut.sha256 == whole.sha256


def test_random_damage_raises_only_user_errors(tmp_path):
    generator = np.random.default_rng(0)
    data = model().SerializeToString()
    for _ in range(2000):
        damaged = bytearray(data)
        for place in generator.integers(0, len(data), 3):
            damaged[place] = generator.integers(0, 256)
        with contextlib.suppress(ValueError):
            parse_onnx(bytes(damaged))


@pytest.mark.parametrize('content', [b'', b'hello, this is text', bytes(100)])
def test_another_file_is_named(tmp_path, content):
    path = tmp_path / 'other.onnx'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'other\.onnx: truncated or not an ONNX file'):
        read_onnx(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match='no such model file'):
        read_onnx(tmp_path / 'none.onnx')
