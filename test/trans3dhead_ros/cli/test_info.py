"""`trans3dhead info` describes a checkpoint, and refuses a file of another kind."""

import json
import zipfile
from pathlib import Path

import pytest
from synthetic import small_network

from trans3dhead_ros.cli import main as cli
from trans3dhead_ros.model_files.model_metadata import bundled_model
from trans3dhead_ros.network.checkpoint import save_checkpoint
from trans3dhead_ros.network.cost import weight_count


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp('info') / 'model.safetensors'
    save_checkpoint(path, small_network(), {
        'training_data': 'none', 'licence': 'CC0',
        'metrics': {'validation': {'inner51_percent': 2.4}}})
    return path


def told(capsys, *arguments: object) -> str:
    assert cli.main(['info', *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_a_checkpoint_is_described(checkpoint, capsys):
    rows = dict(line.split('  ', 1) for line in told(capsys, checkpoint).splitlines())
    rows = {title: text.strip() for title, text in rows.items()}
    assert 'sha256' in rows['kind'] and rows['licence'] == 'CC0' and rows['format version'] == '1'
    assert rows['figure validation inner51_percent'] == '2.4'
    assert rows['head model'] == '200 vertices, 396 triangles, 4 identity, 3 expression'
    assert rows['expressions'] == 'jawOpen eyeBlink_L eyeBlink_R'


def test_a_checkpoint_is_described_as_json(checkpoint, capsys):
    about = json.loads(told(capsys, checkpoint, '--json'))
    assert about['weights'] == weight_count(small_network())
    assert about['multiply_adds'] > 1e5 and about['bytes'] == checkpoint.stat().st_size
    assert about['network']['dim'] == 16 and about['training_data'] == 'none'


def test_the_bundled_checkpoint_is_the_default(capsys):
    about = json.loads(told(capsys, '--json'))
    assert about['file'] == str(bundled_model())
    assert about['multiply_adds'] < 200e6  # what a robot's processor is promised


@pytest.mark.parametrize(('name', 'content', 'message'), [
    ('none.safetensors', None, 'no such checkpoint file'),
    ('none.onnx', None, 'no such model file'),
    ('text.safetensors', b'hello, this is text', 'not a safetensors file'),
    ('text.onnx', b'hello, this is text', 'not an ONNX file'),
    ('empty.onnx', b'', 'not an ONNX file'),
    ('cut.pt', b'PK\x03\x04 and no more', 'not a safetensors file'),
])
def test_a_foreign_file_is_one_line_and_code_2(tmp_path, capsys, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert cli.main(['info', str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert name in error and message in error and error.count('\n') == 1


def test_a_pickled_checkpoint_is_not_opened(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / 'model.pt', 'w') as archive:
        archive.writestr('model/data.pkl', b'cos\nsystem\n')
    assert cli.main(['info', str(tmp_path / 'model.pt')]) == 2
    assert 'not a safetensors file' in capsys.readouterr().err


def test_a_changed_checkpoint_is_refused(checkpoint, tmp_path, capsys):
    content = bytearray(checkpoint.read_bytes())
    content[-3] ^= 1
    (tmp_path / 'changed.safetensors').write_bytes(content)
    assert cli.main(['info', str(tmp_path / 'changed.safetensors')]) == 2
    assert 'do not match their sha256' in capsys.readouterr().err


def test_a_pair_is_described_by_either_file(model_pair, capsys):
    graph = model_pair.with_suffix('.onnx')
    for path, other in ((model_pair, graph), (graph, model_pair)):
        about = json.loads(told(capsys, path, '--json'))
        assert (about['file'], about['pair']) == (str(path), str(other))
        assert about['licence'] == 'CC0 1.0' and about['network']['dim'] == 16
        assert str(other) in told(capsys, path)
