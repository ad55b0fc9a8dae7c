"""Checkpoints: what is saved comes back, and a file that is wrong is refused with the reason."""

import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from synthetic import EXPRESSIONS, small_network

from trans3dhead_ros.model_files.model_metadata import FORMAT_VERSION, bundled_model
from trans3dhead_ros.model_files.model_pair import read_metadata
from trans3dhead_ros.model_files.tensor_file import MAX_FILE_BYTES, open_tensors
from trans3dhead_ros.network import checkpoint
from trans3dhead_ros.network.checkpoint import load_checkpoint, save_checkpoint
from trans3dhead_ros.network.device import resolve_device
from trans3dhead_ros.perception.aligner import HeadAligner

STATED = {'training_data': 'none', 'licence': 'Apache-2.0', 'metrics': {'nme': 0.5}}
CPU = resolve_device('cpu')


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / 'deep' / 'head.safetensors'
    save_checkpoint(path, small_network(), STATED)
    return path


def parts(path):
    """Return the tensors and the metadata text of a file."""
    with safe_open(path, framework='pt') as file:
        return load_file(path), file.metadata()


def rewrite(path, metadata=None, tensors=None):
    """Save a file again with some metadata or tensors exchanged, and a hash that fits."""
    old_tensors, old_metadata = parts(path)
    tensors = old_tensors if tensors is None else tensors
    changed = {**old_metadata, 'sha256': json.dumps(checkpoint.tensors_sha256(tensors)),
               **{name: json.dumps(value) for name, value in (metadata or {}).items()}}
    save_file(tensors, path, metadata=changed)


def test_a_loaded_network_predicts_like_the_saved_one(saved):
    network, metadata = load_checkpoint(saved, CPU)
    crops = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, answer = small_network()(crops), network(crops)
    assert not network.training
    torch.testing.assert_close(answer.landmarks, expected.landmarks, atol=2e-3, rtol=0)
    torch.testing.assert_close(answer.rotation, expected.rotation, atol=2e-3, rtol=0)
    assert network.head_model.expression_names == EXPRESSIONS
    assert network.head_model.triangles.dtype == torch.int64
    assert {name: metadata[name] for name in STATED} == STATED


def test_saving_again_what_was_loaded_changes_nothing(saved, tmp_path):
    network, metadata = load_checkpoint(saved, CPU)
    save_checkpoint(tmp_path / 'again.safetensors', network, metadata)
    assert read_metadata(tmp_path / 'again.safetensors') == metadata
    again, before = (parts(path)[0] for path in (tmp_path / 'again.safetensors', saved))
    assert all(torch.equal(again[name], tensor) for name, tensor in before.items())


def test_floats_are_stored_in_half_precision_except_the_mean_head(saved):
    tensors, _ = parts(saved)
    wide = [name for name, tensor in tensors.items() if tensor.dtype == torch.float32]
    assert wide == ['head_model.mean']
    assert tensors['input_projection.weight'].dtype == torch.float16


def test_a_number_beyond_half_precision_is_kept(tmp_path):
    network = small_network()
    with torch.no_grad():
        network.input_projection.bias[0] = 1e6
    save_checkpoint(tmp_path / 'wide.safetensors', network, STATED)
    loaded, _ = load_checkpoint(tmp_path / 'wide.safetensors', CPU)
    assert loaded.input_projection.bias[0] == 1e6


def test_the_metadata_describe_the_file(saved):
    metadata = read_metadata(saved)
    assert metadata['format_version'] == FORMAT_VERSION
    assert metadata['input_size'] == 32 and metadata['colour_order'] == 'RGB'
    assert metadata['head_model'] == {
        'vertices': 200, 'triangles': metadata['head_model']['triangles'],
        'identity': 4, 'expression': 3}
    assert metadata['network']['dim'] == 16
    assert len(metadata['sha256']) == 64


def test_missing_provenance_is_marked_as_not_stated(tmp_path):
    save_checkpoint(tmp_path / 'a.safetensors', small_network(), {})
    assert read_metadata(tmp_path / 'a.safetensors')['licence'] == 'not stated'


def test_saving_replaces_atomically_and_leaves_no_other_file(saved):
    save_checkpoint(saved, small_network(1), STATED)
    load_checkpoint(saved, CPU)
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]


def test_a_diverged_network_is_not_saved(saved):
    before = saved.read_bytes()
    network = small_network()
    with torch.no_grad():
        network.input_projection.weight[0, 0] = np.nan
    with pytest.raises(ValueError, match=r'input_projection\.weight .*not finite'):
        save_checkpoint(saved, network, STATED)
    assert saved.read_bytes() == before


def test_metadata_that_are_not_json_are_refused(tmp_path):
    with pytest.raises(ValueError, match='^metadata'):
        save_checkpoint(tmp_path / 'a.safetensors', small_network(), {'metrics': {'nme': np.nan}})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r'nothing\.safetensors: no such'):
        load_checkpoint(tmp_path / 'nothing.safetensors', CPU)
    with pytest.raises(ValueError, match='no such'):
        load_checkpoint(tmp_path, CPU)
    with pytest.raises(ValueError, match='cannot be read'):
        load_checkpoint(tmp_path / ('x' * 5000), CPU)


@pytest.mark.parametrize('kept', [0, 4, 100, 0.5, 0.999])
def test_a_truncated_file_is_refused(saved, kept):
    data = saved.read_bytes()
    saved.write_bytes(data[:int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(ValueError, match='truncated or not a safetensors'):
        load_checkpoint(saved, CPU)


@pytest.mark.parametrize('content', [
    b'\x80\x04\x95 a pickle, which runs code when it is read', b'PK\x03\x04' + 200 * b'\0',
    struct.pack('<Q', 2 ** 62) + b'{}',
])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / 'model.safetensors').write_bytes(content)
    with pytest.raises(ValueError, match='truncated or not a safetensors'):
        load_checkpoint(tmp_path / 'model.safetensors', CPU)


def test_a_pickled_network_is_refused(tmp_path):
    torch.save(small_network().state_dict(), tmp_path / 'model.pt')
    with pytest.raises(ValueError, match='not a safetensors'):
        load_checkpoint(tmp_path / 'model.pt', CPU)


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    save_file({'conv.weight': torch.zeros(3, 3)}, tmp_path / 'foreign.safetensors')
    with pytest.raises(ValueError, match='not a checkpoint of trans3dhead'):
        load_checkpoint(tmp_path / 'foreign.safetensors', CPU)


def test_a_damaged_tensor_is_detected(saved):
    data = bytearray(saved.read_bytes())
    data[-100] ^= 1
    saved.write_bytes(data)
    with pytest.raises(ValueError, match='sha256'):
        load_checkpoint(saved, CPU)


@pytest.mark.parametrize(('metadata', 'reason'), [
    ({'format_version': 99}, 'format version 99'),
    ({'format': 'somebody'}, 'not a checkpoint of'),
    ({'colour_order': 'BGR'}, 'BGR'),
    ({'input_size': 64}, 'input size 64'),
    ({'network': {'dim': 16, 'surprise': 1}}, 'surprise'),
    ({'network': {'dim': 'wide'}}, 'configuration not understood'),
    ({'network': 'small'}, 'network missing or damaged'),
    ({'expression_names': None}, 'expression_names missing or damaged'),
    ({'expression_names': ['jawOpen']}, 'expression'),
    ({'head_model': {'vertices': 199}}, 'head model'),
    ({'sha256': '0' * 64}, 'sha256'),
])
def test_metadata_that_contradict_the_file_are_refused(saved, metadata, reason):
    rewrite(saved, metadata)
    with pytest.raises(ValueError, match=reason):
        load_checkpoint(saved, CPU)


def test_a_tensor_of_another_shape_is_refused(saved):
    tensors, _ = parts(saved)
    tensors['input_projection.weight'] = torch.zeros(16, 17).half()
    rewrite(saved, tensors=tensors)
    with pytest.raises(ValueError, match=r'input_projection\.weight has shape \(16, 17\)'):
        load_checkpoint(saved, CPU)


def test_a_missing_and_an_unknown_tensor_are_refused(saved):
    tensors, _ = parts(saved)
    bias = tensors.pop('input_projection.bias')
    rewrite(saved, tensors=tensors)
    with pytest.raises(ValueError, match=r'input_projection\.bias is missing'):
        load_checkpoint(saved, CPU)
    rewrite(saved, tensors={**tensors, 'input_projection.bias': bias, 'extra': torch.zeros(1)})
    with pytest.raises(ValueError, match='extra is unknown'):
        load_checkpoint(saved, CPU)


def test_a_head_model_without_its_mean_is_refused(saved):
    tensors, _ = parts(saved)
    del tensors['head_model.mean']
    rewrite(saved, tensors=tensors)
    with pytest.raises(ValueError, match='mean'):
        load_checkpoint(saved, CPU)


def test_triangles_of_vertices_that_do_not_exist_are_refused(saved):
    tensors, _ = parts(saved)
    tensors['head_model.triangles'][0, 0] = 5000
    rewrite(saved, tensors=tensors)
    with pytest.raises(ValueError, match='triangles refers to vertices'):
        load_checkpoint(saved, CPU)


def test_numbers_that_are_not_finite_are_refused(saved):
    tensors, _ = parts(saved)
    tensors['input_projection.bias'][0] = np.inf
    rewrite(saved, tensors=tensors)
    with pytest.raises(ValueError, match='not finite'):
        load_checkpoint(saved, CPU)


@pytest.mark.parametrize('size', [{'dim': 2 ** 20}, {'decoder_layers': 10 ** 12}])
def test_a_giant_configuration_is_refused_before_memory_is_taken(saved, size):
    _, metadata = parts(saved)
    rewrite(saved, {'network': {**json.loads(metadata['network']), **size}})
    with pytest.raises(ValueError, match='out of range'):
        load_checkpoint(saved, CPU)


def test_a_file_too_large_to_be_a_checkpoint_is_not_read(tmp_path):
    path = tmp_path / 'huge.safetensors'
    with path.open('wb') as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(ValueError, match='exceed the limit for a checkpoint'):
        load_checkpoint(path, CPU)


def test_the_bundled_checkpoint_is_small_and_states_its_provenance():
    network, metadata = load_checkpoint(bundled_model(), CPU)
    assert bundled_model().stat().st_size <= 20e6
    assert metadata['licence'] != 'not stated' and metadata['training_data'] != 'not stated'
    assert metadata['metrics']
    assert len(network.head_model.expression_names) >= 50


def with_header(header, data=b''):
    """Return a safetensors file with this header: bytes, or what becomes JSON."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack('<Q', len(text)) + text + data


def entry(shape, span, dtype='F16'):
    return {'dtype': dtype, 'shape': shape, 'data_offsets': span}


HOSTILE = {
    'deep': with_header(b'[' * 100_000),
    'deep value': with_header(b'{"a":' + b'[' * 100_000),
    'no object': with_header([1, 2]),
    'giant number': with_header(b'{"a":' + b'9' * 10_000 + b'}'),
    'not a number': with_header(b'{"a":NaN}'),
    'not UTF-8': with_header(b'{"\xff\xfe":1}'),
    'long header': with_header(b' ' * (2 ** 20 + 1)),
    'header beyond the file': struct.pack('<Q', 100) + b'{}',
    'many tensors': with_header({f't{i}': entry([0], [0, 0]) for i in range(5000)}),
    'terabytes': with_header({'a': entry([2 ** 20, 2 ** 20], [0, 8])}, bytes(8)),
    'terabytes in place': with_header({'a': entry([2 ** 39], [0, 2 ** 40])}, bytes(8)),
    'overflow': with_header({'a': entry([2 ** 32, 2 ** 32], [0, 0])}),
    'negative': with_header({'a': entry([-2, -2], [0, 8])}, bytes(8)),
    'a truth for a number': with_header({'a': entry([True, 4], [0, 8])}, bytes(8)),
    'a fraction': with_header({'a': entry([4.0], [0, 8])}, bytes(8)),
    'reversed': with_header({'a': entry([4], [8, 0])}, bytes(8)),
    'overlap': with_header({'a': entry([4], [0, 8]), 'b': entry([4], [4, 12])}, bytes(12)),
    'gap': with_header({'a': entry([4], [0, 8]), 'b': entry([4], [10, 18])}, bytes(18)),
    'bytes behind the end': with_header({'a': entry([4], [0, 8])}, bytes(9)),
    'missing bytes': with_header({'a': entry([4], [0, 8])}, bytes(7)),
    'unknown type': with_header({'a': entry([4], [0, 8], 'C64')}, bytes(8)),
    'type that is a list': with_header({'a': entry([4], [0, 8], ['F16'])}, bytes(8)),
    'more than is known': with_header({'a': {**entry([4], [0, 8]), 'code': 'x'}}, bytes(8)),
    'metadata that are no texts': with_header({'__metadata__': {'format': 5}}),
}


@pytest.mark.parametrize('name', HOSTILE)
def test_a_hostile_header_is_refused_in_one_short_line(tmp_path, name):
    (tmp_path / 'model.safetensors').write_bytes(HOSTILE[name])
    for read in (read_metadata, lambda path: load_checkpoint(path, CPU)):
        with pytest.raises(ValueError, match='truncated or not a safetensors') as refused:
            read(tmp_path / 'model.safetensors')
        assert len(str(refused.value)) < 500 and '\n' not in str(refused.value)


@pytest.mark.parametrize(('network', 'reason'), [
    ({'input_size': 2 ** 20}, 'out of range'), ({'crop_scale': 1e30}, 'out of range'),
    ({'widths': [10 ** 9] * 4}, 'out of range'), ({'widths': [8] * 10 ** 5}, 'not understood'),
    ({'blocks': ['a', 'b', 'c']}, 'not understood'), ({'blocks': 3}, 'not understood'),
    ({'num_heads': 0}, 'not understood'), ({'num_heads': True}, 'not understood'),
    ({'dim': 16.0}, 'not understood'), ({'dim': -16}, 'out of range'),
    ({'dim': None}, 'understood'),
    ({'marr': 'yes'}, 'not understood'), ({'ffn_dim': 10 ** 400}, 'out of range'),
    ({'qamem': ['none']}, 'not understood'), ({'blocks': [1, 1, 64]}, 'do not fit'),
])
def test_a_hostile_configuration_is_refused(saved, network, reason):
    _, metadata = parts(saved)
    rewrite(saved, {'network': {**json.loads(metadata['network']), **network}})
    with pytest.raises(ValueError, match=reason) as refused:
        load_checkpoint(saved, CPU)
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize(('name', 'text'), [
    ('network', '[' * 100_000), ('metrics', '{"nme": NaN}'), ('sha256', '9' * 10_000),
    ('network', '{"crop_scale": Infinity}'),
])
def test_metadata_with_invalid_json_are_refused(saved, name, text):
    tensors, metadata = parts(saved)
    save_file(tensors, saved, metadata={**metadata, name: text})
    with pytest.raises(ValueError, match='not a checkpoint of|damaged'):
        load_checkpoint(saved, CPU)


@pytest.mark.parametrize('names', [
    ['a', 'b', 3], ['a', 'b', '\ud800'], ['a', 'b', 'two\nlines'], ['a', 'b', 'x' * 10_000],
])
def test_names_that_ros_cannot_publish_are_refused(saved, names):
    rewrite(saved, {'expression_names': names})
    with pytest.raises(ValueError, match='expression_names missing or damaged'):
        load_checkpoint(saved, CPU)


@pytest.mark.parametrize(('name', 'change', 'reason'), [
    ('input_projection.bias', lambda t: t.double(), 'input_projection.bias has type F64'),
    ('input_projection.bias', lambda t: t.int(), 'input_projection.bias has type I32'),
    ('input_projection.bias', lambda t: t.bfloat16(), 'input_projection.bias has type BF16'),
    ('head_model.triangles', lambda t: t.float(), 'triangles has type F32'),
    ('head_model.triangles', lambda t: t[:0], 'triangles is empty'),
    ('head_model.mean', lambda t: t[:0], 'do not fit|no network'),
])
def test_tensors_of_another_kind_are_refused(saved, name, change, reason):
    tensors, _ = parts(saved)
    tensors[name] = change(tensors[name])
    with safe_open(saved, framework='pt') as file:
        metadata = file.metadata()
    save_file(tensors, saved, metadata=metadata)
    with pytest.raises(ValueError, match=reason):
        load_checkpoint(saved, CPU)


def test_warming_up_a_network_with_infinite_outputs_is_an_error(tmp_path):
    network = small_network()
    with torch.no_grad():
        network.backbone.stem[1].running_var.fill_(-1.0)
    save_checkpoint(tmp_path / 'a.safetensors', network, STATED)
    aligner = HeadAligner.load(tmp_path / 'a.safetensors', 'cpu')
    with pytest.raises(ValueError):
        aligner.warm_up()


def test_a_file_that_shrinks_while_it_is_read_is_refused(saved):
    with open_tensors(saved) as file:
        saved.write_bytes(saved.read_bytes()[:-100])
        with pytest.raises(ValueError, match='shortened'):
            file.read()


def test_nothing_is_unpickled_at_run_time():
    """A file from a stranger must never run code, wherever it comes in."""
    package = Path(checkpoint.__file__).parent.parent
    files = [path for path in package.rglob('*.py') if 'training' not in path.parts]
    forbidden = re.compile(
        r'\b(?:c?pickle|joblib|dill|marshal|shelve|cloudpickle)\b[.\s]*(?:import|load|Unpickler)|'
        r'import\s+(?:c?pickle|joblib|dill|marshal|shelve|cloudpickle)|'
        r'allow_pickle\s*=\s*True|yaml\.(?:unsafe_)?load\(|(?<![\w.])(?:eval|exec)\(')
    assert len(files) > 40
    for path in files:
        text = path.read_text()
        assert not forbidden.search(text), path
        for call in re.findall(r'torch\.load\((?:[^()]|\([^()]*\))*\)', text):
            assert re.search(r'weights_only\s*=\s*True', call), f'{path}: {call}'
