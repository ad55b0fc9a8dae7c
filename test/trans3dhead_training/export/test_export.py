"""An exported file answers as torch does, says what it is, and is not left where it does not."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from synthetic import small_network

from trans3dhead_ros import HeadPipeline
from trans3dhead_ros.cli import main as cli
from trans3dhead_ros.network.checkpoint import save_checkpoint
from trans3dhead_training.cli.export import export
from trans3dhead_training.export.check import (
    HALF_BOUND,
    Deviation,
    check_crops,
    deviations,
)
from trans3dhead_training.export.export_formats import FORMATS, Format, of_graph
from trans3dhead_training.export.graph import HeadGraph

onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')

PAGE = Path(__file__).resolve().parents[3] / 'docs' / 'export.md'


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> Path:
    """An untrained network whose answers depend on the crop."""
    network = small_network()
    torch.manual_seed(1)
    with torch.no_grad():
        for residual in (*network.point_residuals, *network.parameter_residuals):
            residual.output.weight.normal_(0.0, 0.2)
    path = tmp_path_factory.mktemp('export') / 'model.safetensors'
    save_checkpoint(path, network, {'training_data': 'none', 'licence': 'CC0'})
    return path


@pytest.fixture(scope='module')
def onnx_file(checkpoint) -> Path:
    path = checkpoint.with_name('head.onnx')
    assert cli.main(['export', str(checkpoint), '--output', str(path), '--vertices']) == 0
    return path


def test_onnx_takes_any_number_of_crops_under_their_names(onnx_file):
    session = onnxruntime.InferenceSession(onnx_file, providers=['CPUExecutionProvider'])
    crops, = session.get_inputs()
    assert (crops.name, crops.shape, crops.type) == (
        'crops', ['batch', 3, 32, 32], 'tensor(float)')
    names = [output.name for output in session.get_outputs()]
    assert names == ['landmarks', 'contour', 'landmark_scale', 'rotation', 'translation',
                     'log_scale', 'shape', 'expression', 'score', 'vertices']
    for count in (1, 7):
        found = session.run(['landmarks', 'vertices'], {
            'crops': np.zeros((count, 3, 32, 32), np.float32)})
        assert [value.shape for value in found] == [(count, 68, 2), (count, 200, 3)]


def test_onnx_says_what_it_is(onnx_file):
    session = onnxruntime.InferenceSession(onnx_file, providers=['CPUExecutionProvider'])
    about = session.get_modelmeta().custom_metadata_map
    assert about['licence'] == 'CC0' and about['training_data'] == 'none'
    assert about['colour_order'] == 'RGB' and float(about['crop_scale']) == 1.5
    assert json.loads(about['expression_names']) == ['jawOpen', 'eyeBlink_L', 'eyeBlink_R']
    assert set(json.loads(about['outputs'])) == {o.name for o in session.get_outputs()}


def test_the_example_of_the_page_answers_as_the_pipeline_does(onnx_file, checkpoint):
    code = re.search(r'```python\n(.*?)```', PAGE.read_text(), re.DOTALL)[1]
    space: dict = {}
    exec(code.replace("'head.onnx'", repr(str(onnx_file))), space)
    image = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8), (0, 0), 3)
    box = [30.5, 25.0, 66.0, 63.5]
    landmarks, rotation, _ = space['align'](image, box)
    head, = HeadPipeline.load(checkpoint, 'cpu').align(image, [box])
    assert np.abs(landmarks - head.landmarks[:, :2]).max() < 0.01
    assert np.abs(rotation - head.rotation).max() < 1e-3


def test_an_onnx_file_tells_nothing_of_the_machine_that_wrote_it(onnx_file):
    assert str(PAGE.parent.parent).encode() not in onnx_file.read_bytes()


@pytest.fixture(scope='module')
def half_of_three(checkpoint) -> tuple[Path, list[Deviation]]:
    """The same in half precision, for three crops at once."""
    path = checkpoint.with_name('half.onnx')
    rows = export(checkpoint, path, FORMATS['onnx'], half=True, vertices=True, batch=3)
    return path, rows


def test_half_precision_moves_points_a_little(half_of_three):
    landmarks = next(row for row in half_of_three[1] if row.output == 'landmarks')
    assert 1e-5 < landmarks.largest < HALF_BOUND


def test_half_precision_is_spoken_to_in_single_precision(half_of_three, onnx_file):
    session = onnxruntime.InferenceSession(half_of_three[0], providers=['CPUExecutionProvider'])
    assert {value.type for value in (*session.get_inputs(), *session.get_outputs())} == {
        'tensor(float)'}
    assert half_of_three[0].stat().st_size < 0.75 * onnx_file.stat().st_size


def test_a_fixed_batch_is_fixed(half_of_three):
    session = onnxruntime.InferenceSession(half_of_three[0], providers=['CPUExecutionProvider'])
    assert session.get_inputs()[0].shape == [3, 3, 32, 32]


@pytest.fixture(scope='module', params=['torchscript', 'exported-program'])
def torch_file(request, checkpoint) -> tuple[str, Path, list[Deviation]]:
    path = checkpoint.with_name('torch') / f'head{FORMATS[request.param].suffix}'
    return request.param, path, export(checkpoint, path, FORMATS[request.param])


def test_torch_formats_answer_as_the_network_at_any_batch(torch_file):
    _, path, rows = torch_file
    assert path.is_file() and max(row.largest for row in rows) <= 1e-4


def test_info_describes_torch_formats(torch_file, capsys):
    name, path, _ = torch_file
    assert cli.main(['info', str(path), '--json']) == 0
    about = json.loads(capsys.readouterr().out)
    assert about['kind'] == {'torchscript': 'TorchScript',
                             'exported-program': 'torch.export program'}[name]
    assert about['licence'] == 'CC0' and about['crop_scale'] == 1.5


def test_info_describes_onnx(onnx_file, capsys):
    assert cli.main(['info', str(onnx_file), '--json']) == 0
    about = json.loads(capsys.readouterr().out)
    assert about['kind'] == 'ONNX, opset 18' and about['constants'] > 1e4
    assert about['expression_names'] == ['jawOpen', 'eyeBlink_L', 'eyeBlink_R']
    assert cli.main(['info', str(onnx_file)]) == 0
    assert 'output landmarks' in capsys.readouterr().out


def test_a_file_that_answers_otherwise_is_not_left(checkpoint, tmp_path):
    torchscript = FORMATS['torchscript']

    def write_spoiled(path, graph, *rest):
        other = small_network(seed=5)
        torchscript.write(path, HeadGraph(other).eval(), *rest)

    path = tmp_path / 'head.ts'
    path.write_text('what was there before')
    with pytest.raises(ValueError, match='was not written: .* differs from torch'):
        export(checkpoint, path, Format('.ts', write_spoiled, torchscript.open))
    assert path.read_text() == 'what was there before' and {path} == set(tmp_path.iterdir())


def test_a_number_that_is_not_finite_does_not_pass():
    graph = HeadGraph(small_network()).eval()

    def broken(crops):
        return {name: np.full_like(value, np.nan) for name, value in of_graph(graph)(crops).items()}

    crops = check_crops(graph.network.head_model, 32, 2)
    assert not any(row.passes for row in deviations(of_graph(graph), broken, crops, None, False))


def test_inputs_of_a_check_are_heads_and_noise_always_the_same():
    model = small_network().head_model
    crops = check_crops(model, 32, 6)
    assert crops.shape == (6, 3, 32, 32) and crops.min() >= 0 and crops.max() <= 1
    assert np.array_equal(crops, check_crops(model, 32, 6))
    assert len(np.unique(crops.reshape(6, -1), axis=0)) == 6


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--output', 'head.bin'], 'name --format'),
    (['--output', 'head.ts', '--half'], 'only ONNX'),
    (['--output', 'head.onnx', '--batch', 'many'], "expected 'dynamic'"),
    (['nowhere.safetensors', '--output', 'head.onnx'], 'no such checkpoint'),
])
def test_a_mistake_is_one_line_and_code_2(checkpoint, tmp_path, monkeypatch, capsys, arguments,
                                          message):
    monkeypatch.chdir(tmp_path)
    model = [] if arguments[0].endswith('.safetensors') else [str(checkpoint)]
    assert cli.main(['export', *model, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1
    assert not list(tmp_path.iterdir())
