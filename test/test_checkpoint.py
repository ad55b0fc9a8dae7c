"""Checkpoints: what is saved comes back, and a file that is wrong is refused with the reason."""

import json
import struct

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from synthetic import EXPRESSIONS, small_network

from trans3dhead_ros.device import resolve_device
from trans3dhead_ros.network import checkpoint
from trans3dhead_ros.network.checkpoint import (
    bundled_checkpoint,
    load_checkpoint,
    read_metadata,
    save_checkpoint,
)

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
    changed = {**old_metadata, 'sha256': json.dumps(checkpoint._sha256(tensors)),
               **{name: json.dumps(value) for name, value in (metadata or {}).items()}}
    save_file(tensors, path, metadata=changed)


def test_a_loaded_network_answers_as_the_saved_one(saved):
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
    assert tensors['to_tokens.weight'].dtype == torch.float16


def test_a_number_beyond_half_precision_is_kept(tmp_path):
    network = small_network()
    with torch.no_grad():
        network.to_tokens.bias[0] = 1e6
    save_checkpoint(tmp_path / 'wide.safetensors', network, STATED)
    loaded, _ = load_checkpoint(tmp_path / 'wide.safetensors', CPU)
    assert loaded.to_tokens.bias[0] == 1e6


def test_the_metadata_say_what_the_file_is(saved):
    metadata = read_metadata(saved)
    assert metadata['format_version'] == checkpoint.FORMAT_VERSION
    assert metadata['input_size'] == 32 and metadata['colour_order'] == 'RGB'
    assert metadata['head_model'] == {
        'vertices': 200, 'triangles': metadata['head_model']['triangles'],
        'identity': 4, 'expression': 3}
    assert metadata['network']['dim'] == 16
    assert len(metadata['sha256']) == 64


def test_what_the_trainer_did_not_state_is_said_to_be_unstated(tmp_path):
    save_checkpoint(tmp_path / 'a.safetensors', small_network(), {})
    assert read_metadata(tmp_path / 'a.safetensors')['licence'] == 'not stated'


def test_saving_replaces_in_one_step_and_leaves_nothing_beside(saved):
    save_checkpoint(saved, small_network(1), STATED)
    load_checkpoint(saved, CPU)
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]


def test_a_diverged_network_is_not_saved(saved):
    before = saved.read_bytes()
    network = small_network()
    with torch.no_grad():
        network.to_tokens.weight[0, 0] = np.nan
    with pytest.raises(ValueError, match=r'to_tokens\.weight .*not finite'):
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


def test_a_damaged_tensor_is_noticed(saved):
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
    tensors['to_tokens.weight'] = torch.zeros(16, 17).half()
    rewrite(saved, tensors=tensors)
    with pytest.raises(ValueError, match=r'to_tokens\.weight has shape \(16, 17\)'):
        load_checkpoint(saved, CPU)


def test_a_missing_and_an_unknown_tensor_are_refused(saved):
    tensors, _ = parts(saved)
    bias = tensors.pop('to_tokens.bias')
    rewrite(saved, tensors=tensors)
    with pytest.raises(ValueError, match=r'to_tokens\.bias is missing'):
        load_checkpoint(saved, CPU)
    rewrite(saved, tensors={**tensors, 'to_tokens.bias': bias, 'extra': torch.zeros(1)})
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
    with pytest.raises(ValueError, match='triangles names vertices'):
        load_checkpoint(saved, CPU)


def test_numbers_that_are_not_finite_are_refused(saved):
    tensors, _ = parts(saved)
    tensors['to_tokens.bias'][0] = np.inf
    rewrite(saved, tensors=tensors)
    with pytest.raises(ValueError, match='not finite'):
        load_checkpoint(saved, CPU)


@pytest.mark.parametrize('size', [{'dim': 2 ** 20}, {'decoder_layers': 10 ** 12}])
def test_a_giant_configuration_is_refused_before_memory_is_taken(saved, size):
    _, metadata = parts(saved)
    rewrite(saved, {'network': {**json.loads(metadata['network']), **size}})
    with pytest.raises(ValueError, match='do not fit'):
        load_checkpoint(saved, CPU)


def test_a_file_too_large_to_be_a_checkpoint_is_not_read(tmp_path):
    path = tmp_path / 'huge.safetensors'
    with path.open('wb') as file:
        file.truncate(checkpoint.MAX_FILE_BYTES + 1)
    with pytest.raises(ValueError, match='more than a checkpoint can have'):
        load_checkpoint(path, CPU)


@pytest.mark.skipif(not bundled_checkpoint().is_file(), reason='no checkpoint is bundled yet')
def test_the_bundled_checkpoint_is_small_and_says_where_it_comes_from():
    network, metadata = load_checkpoint(bundled_checkpoint(), CPU)
    assert bundled_checkpoint().stat().st_size <= 20e6
    assert metadata['licence'] != 'not stated' and metadata['training_data'] != 'not stated'
    assert metadata['metrics']
    assert len(network.head_model.expression_names) >= 50
