"""A model is a pair of files that either path names; what does not belong together is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from model_pairs import confident_network, copy_pair, edit_onnx

from trans3dhead_ros import HeadPipeline
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.head_model import ARRAYS
from trans3dhead_ros.inference.open_engine import open_engine
from trans3dhead_ros.model_files.detector_metadata import bundled_detector
from trans3dhead_ros.model_files.model_metadata import bundled_model, model_path
from trans3dhead_ros.model_files.model_pair import open_model
from trans3dhead_ros.network.checkpoint import save_checkpoint
from trans3dhead_ros.perception.detector import make_detector


@pytest.fixture
def pair(model_pair, tmp_path):
    return copy_pair(model_pair, tmp_path)


def test_either_path_names_the_model(pair):
    first, second = open_model(pair), open_model(pair.with_suffix('.onnx'))
    assert first.metadata == second.metadata
    for files in (first, second):
        assert files.checkpoint == pair and files.graph is not None
        assert files.metadata['licence'] == 'CC0 1.0' and files.metadata['metrics'] == {'nme': 0.5}


def test_a_lone_file_has_the_metadata_and_the_head_model_of_the_pair(pair, tmp_path):
    whole = open_model(pair)
    for suffix in ('.onnx', '.safetensors'):
        (tmp_path / suffix[1:]).mkdir()
        lone = open_model(shutil.copy(pair.with_suffix(suffix), tmp_path / suffix[1:]))
        assert (lone.graph is None) == (suffix == '.safetensors')
        assert (lone.checkpoint is None) == (suffix == '.onnx')
        assert {name: lone.metadata[name] for name in whole.metadata} == whole.metadata
        model, expected = lone.head_model(), whole.head_model()
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(model, name), getattr(expected, name))
        assert model.expression_names == expected.expression_names


def test_files_of_different_weights_are_refused_by_name(pair):
    save_checkpoint(pair, confident_network(seed=5), {})
    for path in (pair, pair.with_suffix('.onnx')):
        with pytest.raises(UserError, match='small.onnx and .* have different weights'):
            open_model(path)


def test_a_changed_graph_is_refused(pair):
    def weaken(model, metadata):
        weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        weights.raw_data = bytes(len(weights.raw_data))

    edit_onnx(pair.with_suffix('.onnx'), weaken)
    with pytest.raises(UserError, match='does not match its sha256'):
        open_model(pair)


@pytest.mark.parametrize(('name', 'value', 'message'), [
    ('format', 'somebody', 'not a model of trans3dhead'),
    ('format_version', '2', 'format version 2'),
    ('expression_names', '["a", "two\\nlines", "c"]', 'expression_names missing or damaged'),
    ('network', 'none', 'network missing or damaged'),
    ('colour_order', 'BGR', 'made for BGR'),
    ('metrics', '[1', 'not a model of trans3dhead'),
])
def test_wrong_metadata_are_refused(pair, name, value, message):
    edit_onnx(pair.with_suffix('.onnx'), lambda _, metadata: metadata.update({name: value}))
    with pytest.raises(UserError, match=message):
        open_model(pair.with_suffix('.onnx'))


@pytest.mark.parametrize(('change', 'message'), [
    ({'crop_scale': 1e9}, 'crop_scale'), ({'crop_scale': 'wide'}, 'crop_scale'),
    ({'crop_scale': 0}, 'crop_scale')])
def test_crops_of_impossible_size_are_refused(pair, change, message):
    path = pair.with_suffix('.onnx')

    def edit(_, metadata):
        metadata['network'] = json.dumps({**json.loads(metadata['network']), **change})

    edit_onnx(path, edit)
    pair.unlink()
    with pytest.raises(UserError, match=message):
        HeadPipeline.load(path, device='cpu', backend='onnxruntime')


def test_an_input_size_that_is_not_that_of_the_graph_is_one_line(pair):
    path = pair.with_suffix('.onnx')
    edit_onnx(path, lambda _, metadata: metadata.update(input_size='48'))
    with pytest.raises(UserError, match=r'small.onnx: the graph takes \(3, 32, 32\)'):
        open_model(path)


@pytest.mark.parametrize(('text', 'message'), [
    ('', 'damaged'), ('{}', 'damaged'), ('[]', 'damaged'), ('{"arrays": 3}', 'damaged'),
])
def test_a_damaged_head_model_is_refused(pair, text, message):
    path = pair.with_suffix('.onnx')
    edit_onnx(path, lambda _, metadata: metadata.update(head_basis=text))
    with pytest.raises(UserError, match=f'small.onnx: head model: {message}'):
        open_model(path).head_model()


def test_the_file_that_an_engine_needs_is_named(pair, tmp_path):
    (tmp_path / 'lone').mkdir()
    graph = shutil.copy(pair.with_suffix('.onnx'), tmp_path / 'lone' / 'graph.onnx')
    with pytest.raises(UserError, match='needs the checkpoint .*graph.safetensors'):
        open_engine(open_model(graph), 'torch')
    checkpoint = shutil.copy(pair, tmp_path / 'lone' / 'weights.safetensors')
    with pytest.raises(UserError, match='onnxruntime needs an ONNX file .*trans3dhead export'):
        open_engine(open_model(checkpoint), 'onnxruntime')
    with pytest.raises(UserError, match='threads'):
        open_engine(open_model(pair), threads=-1)


def test_a_missing_file_is_named(tmp_path):
    for name in ('none.onnx', 'none.safetensors', 'none'):
        with pytest.raises(UserError, match=f'{name}: no such'):
            open_model(tmp_path / name)


def test_the_other_file_of_a_missing_one_is_named(pair):
    graph = pair.with_suffix('.onnx')
    text = graph.read_bytes()
    graph.unlink()
    with pytest.raises(UserError, match='small.onnx: no such file, but small.safetensors exists'):
        open_model(graph)
    pair.unlink()
    graph.write_bytes(text)
    with pytest.raises(UserError, match='small.safetensors: no such file, but small.onnx exists'):
        open_model(pair)


def test_bundled_models_have_names():
    assert {model_path(name) for name in (None, '', 'default')} == {bundled_model()}
    assert model_path('models/own.onnx') == Path('models/own.onnx')


def test_a_build_without_weights_asks_for_a_file(monkeypatch):
    monkeypatch.setattr(Path, 'is_file', lambda path: False)
    for load in (open_model, HeadPipeline.load):
        for name in ('default', 'open'):
            with pytest.raises(UserError, match='^model: this build does not include the model '
                                                f"'{name}'; give a file$"):
                load(name)
    for name in ('default', 'open'):
        with pytest.raises(UserError, match='^detector: this build does not include the detector '
                                            f"'{name}'; give a file$"):
            make_detector(name)


def test_a_build_without_the_research_weights_takes_the_open_ones(monkeypatch):
    monkeypatch.setattr(Path, 'is_file', lambda path: path.stem in ('open', 'open_detector'))
    assert model_path('default') == model_path('open') == bundled_model('open')
    assert bundled_model().name == 'open.safetensors'
    assert bundled_detector() == bundled_detector('open')
    assert bundled_detector().name == 'open_detector.safetensors'


def test_a_checkpoint_that_has_changed_is_not_moved_to_another_engine(pair):
    aligner = HeadPipeline.load(pair, device='cpu', backend='onnxruntime').aligner
    assert aligner.moved('cpu', 'onnxruntime') is aligner
    assert aligner.moved('cpu', 'torch').backend == 'torch'
    save_checkpoint(pair, confident_network(seed=5), {})
    with pytest.raises(UserError, match='has changed'):
        aligner.moved('cpu', 'torch')
