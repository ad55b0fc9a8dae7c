"""The index of a folder of models lists what is in it, and keeps a history for every node."""

import fcntl
import json
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import pytest

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.model_files import model_index
from trans3dhead_ros.model_files.gate_verdict import write_verdict
from trans3dhead_ros.model_files.model_index import (
    INDEX,
    LOCK,
    MAX_HISTORY,
    ModelIndex,
    UsedModel,
)
from trans3dhead_ros.model_files.model_metadata import bundled_model
from trans3dhead_ros.model_files.model_pair import read_metadata

BUNDLED = bundled_model()
SHA256 = read_metadata(BUNDLED)['sha256']


@pytest.fixture
def folder(tmp_path) -> Path:
    shutil.copy(BUNDLED, tmp_path / 'a.safetensors')
    return tmp_path


def verdict(passed: bool) -> dict:
    return {'passed': passed, 'reasons': [] if passed else ['pose is worse'],
            'candidate': {'sha256': SHA256}, 'current': {'sha256': '1' * 64}}


def test_an_entry_has_hash_data_figures_and_verdict(folder):
    index = ModelIndex(folder)
    entry = index.refresh()['a']
    metadata = read_metadata(BUNDLED)
    assert entry['file'] == 'a.safetensors' and entry['sha256'] == SHA256
    assert entry['data'] == metadata['training_data'] and entry['figures'] == metadata['metrics']
    assert entry['parent'] == metadata.get('parent') and entry['gate'] is None
    write_verdict(folder / 'a.safetensors', verdict(False))
    assert index.refresh()['a']['gate'] == {
        'passed': False, 'against': '1' * 64, 'reasons': ['pose is worse']}
    assert index.models() == ModelIndex(folder).refresh()


def test_files_that_are_not_models_or_lie_elsewhere_are_skipped(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp('elsewhere') / 'b.safetensors'
    shutil.copy(BUNDLED, elsewhere)
    (folder / 'link.safetensors').symlink_to(elsewhere)
    (folder / 'cut.safetensors').write_bytes(BUNDLED.read_bytes()[:5000])
    (folder / 'text.onnx').write_text('no model')
    (folder / 'deep.onnx').mkdir()
    os.mkfifo(folder / 'pipe.onnx')
    index = ModelIndex(folder)
    assert set(index.refresh()) == {'a'}
    (folder / 'a.safetensors').unlink()
    assert index.refresh() == {}


def test_each_node_has_its_history(folder):
    used = [UsedModel('default', '0' * 64), UsedModel('a', SHA256, forced=True)]
    ModelIndex(folder).remember('/front', used)
    ModelIndex(folder).remember('/rear', used[:1])
    ModelIndex(folder).refresh()
    assert ModelIndex(folder).history('/front') == used
    assert ModelIndex(folder).history('/rear') == used[:1]
    assert ModelIndex(folder).history('/other') == []
    many = [UsedModel(str(number), SHA256) for number in range(2 * MAX_HISTORY)]
    ModelIndex(folder).remember('/front', many)
    assert ModelIndex(folder).history('/front') == many[-MAX_HISTORY:]


def _remember_often(folder: Path, node: str) -> None:
    index = ModelIndex(folder)
    for number in range(20):
        index.remember(node, [UsedModel(str(number), SHA256)])
        index.refresh()


def write_at_once(folder: Path, nodes: list[str]) -> None:
    """Let a process per node write 20 histories, and check that the last one of each is kept."""
    context = multiprocessing.get_context('fork')
    writers = [context.Process(target=_remember_often, args=(folder, node)) for node in nodes]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    for node in nodes:
        assert ModelIndex(folder).history(node) == [UsedModel('19', SHA256)]


def test_processes_that_write_at_once_lose_nothing(folder):
    write_at_once(folder, [f'/node{number}' for number in range(4)])
    assert sorted(path.name for path in folder.iterdir()) == [LOCK, 'a.safetensors', INDEX]


def test_a_writer_waits_longer_than_the_timeout_while_others_take_turns(folder, monkeypatch):
    monkeypatch.setattr(model_index, '_LOCK_TIMEOUT', 0.5)
    monkeypatch.setattr(os, 'fsync', lambda _: time.sleep(0.0125))  # 1 s for all together
    write_at_once(folder, [f'/node{number}' for number in range(4)])


def test_a_lock_that_is_never_released_is_named(folder, monkeypatch):
    monkeypatch.setattr(model_index, '_LOCK_TIMEOUT', 0.2)
    with (folder / LOCK).open('a') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=f'{LOCK}: held by another process for more than'):
            ModelIndex(folder).refresh()


@pytest.mark.parametrize('text', [
    '', '[]', '{}', '[' * 100_000, '{"format": "trans3dhead models", "version": 9}',
    json.dumps({'format': 'trans3dhead models', 'version': 1, 'models': [], 'history': {}})])
def test_a_damaged_index_is_named_and_left_alone(folder, text):
    (folder / INDEX).write_text(text)
    index = ModelIndex(folder)
    for use in (index.models, index.refresh, lambda: index.history('/a'),
                lambda: index.remember('/a', [])):
        with pytest.raises(UserError, match=f'{INDEX}: not an index of models .* remove it'):
            use()
    assert (folder / INDEX).read_text() == text


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match='cannot be written'):
        ModelIndex(tmp_path / 'none').refresh()
