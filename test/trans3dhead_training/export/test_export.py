"""An exported file computes what torch does and describes itself; one that differs is not kept."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detector_set import small_detector
from synthetic import small_network

from trans3dhead_ros.cli import main as cli
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.inference.open_engine import open_graph
from trans3dhead_ros.model_files.onnx_graph import read_onnx
from trans3dhead_ros.network.checkpoint import save_checkpoint
from trans3dhead_ros.network.detector_checkpoint import save_detector
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_training.export import export_checkpoint as export_module
from trans3dhead_training.export.export_checkpoint import export_checkpoint
from trans3dhead_training.export.head_graph import HeadGraph
from trans3dhead_training.export.onnx_check import (
    MAX_DEVIATION,
    MAX_DEVIATION_PX,
    check_crops,
    deviations,
)
from trans3dhead_training.export.onnx_file import torch_model

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')
pytestmark = pytest.mark.train

PAGE = Path(__file__).resolve().parents[3] / 'docs' / 'export.md'


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> Path:
    """An untrained network whose outputs depend on the crop."""
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


def test_an_onnx_file_describes_itself(onnx_file):
    session = onnxruntime.InferenceSession(onnx_file, providers=['CPUExecutionProvider'])
    about = session.get_modelmeta().custom_metadata_map
    assert about['licence'] == 'CC0' and about['training_data'] == 'none'
    assert about['colour_order'] == 'RGB' and float(about['crop_scale']) == 1.5
    assert json.loads(about['expression_names']) == ['jawOpen', 'eyeBlink_L', 'eyeBlink_R']
    assert set(json.loads(about['outputs'])) == {o.name for o in session.get_outputs()}


def test_the_example_of_the_page_gives_the_output_of_the_aligner(onnx_file, checkpoint):
    code = re.search(r'```python\n(.*?)```', PAGE.read_text(), re.DOTALL)[1]
    space: dict = {}
    exec(code.replace("'head.onnx'", repr(str(onnx_file))), space)
    image = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8), (0, 0), 3)
    box = [30.5, 25.0, 66.0, 63.5]
    landmarks, rotation, _ = space['align'](image, box)
    # The pipeline would turn the crop too, as the answers of random weights are doubtful.
    found = HeadAligner.load(checkpoint, 'cpu').align(image, np.array([box]))
    assert np.abs(landmarks - found.landmarks[0, :, :2]).max() < 0.01
    assert np.abs(rotation - found.rotation[0]).max() < 1e-3


def test_an_onnx_file_contains_nothing_about_the_machine_that_wrote_it(onnx_file):
    assert str(PAGE.parent.parent).encode() not in onnx_file.read_bytes()


def test_a_fixed_batch_is_fixed(checkpoint, tmp_path):
    path = tmp_path / 'three.onnx'
    rows = export_checkpoint(checkpoint, path, batch=3, crop_count=4)
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    assert session.get_inputs()[0].shape == [3, 3, 32, 32]
    assert max(row.largest for row in rows) <= 1e-4


def test_a_detector_runs_at_every_size_without_operators_on_shapes(tmp_path):
    """What OpenCV 4.10 can import: it reads neither computed shapes nor ranges."""
    path = tmp_path / 'detector.onnx'
    save_detector(path.with_suffix('.safetensors'), small_detector(), {})
    export_checkpoint(path.with_suffix('.safetensors'), path, crop_count=4)
    assert not {'Shape', 'Range', 'Expand', 'ConstantOfShape'} & {
        node.op_type for node in onnx.load(path).graph.node}
    engines = [open_graph(read_onnx(path), name, 'cpu', 1) for name in ('opencv', 'onnxruntime')]
    generator = np.random.default_rng(0)
    for shape in ((1, 3, 32, 32), (2, 3, 96, 160), (3, 3, 64, 352), (1, 3, 32, 32)):
        images = 0.4 * generator.random(shape, dtype=np.float32)  # dark, so that it is brightened
        found, expected = (engine.run(images) for engine in engines)
        assert {*found} == {*expected}
        for name, value in expected.items():
            np.testing.assert_allclose(
                found[name], value, err_msg=name,
                atol=MAX_DEVIATION_PX if name.endswith('box') else 5 * MAX_DEVIATION)


def test_info_describes_onnx(onnx_file, capsys):
    assert cli.main(['info', str(onnx_file), '--json']) == 0
    about = json.loads(capsys.readouterr().out)
    assert about['kind'] == 'ONNX, opset 18' and about['constants'] > 1e4
    assert about['expression_names'] == ['jawOpen', 'eyeBlink_L', 'eyeBlink_R']
    assert cli.main(['info', str(onnx_file)]) == 0
    assert 'output landmarks' in capsys.readouterr().out


def test_a_file_that_differs_from_torch_is_not_kept(onnx_file, tmp_path, monkeypatch):
    save_checkpoint(tmp_path / 'other.safetensors', small_network(seed=5), {})
    monkeypatch.setattr(export_module, 'write_onnx',
                        lambda path, *_: path.write_bytes(onnx_file.read_bytes()))
    path = tmp_path / 'out' / 'head.onnx'
    path.parent.mkdir()
    path.write_text('what was there before')
    with pytest.raises(UserError, match='was not written: .* differs from torch'):
        export_checkpoint(tmp_path / 'other.safetensors', path, crop_count=2)
    assert path.read_text() == 'what was there before' and {path} == {*path.parent.iterdir()}


def test_a_number_that_is_not_finite_does_not_pass():
    graph = HeadGraph(small_network()).eval()
    torch_outputs = torch_model(graph)

    def broken(crops):
        return {name: np.full_like(value, np.nan) for name, value in torch_outputs(crops).items()}

    crops = check_crops(graph.network.head_model, 32, 2)
    assert not any(row.passes for row in deviations(torch_outputs, broken, crops, None))


def test_crops_of_a_check_are_heads_and_noise_always_the_same():
    model = small_network().head_model
    crops = check_crops(model, 32, 6)
    assert crops.shape == (6, 3, 32, 32) and crops.min() >= 0 and crops.max() <= 1
    assert np.array_equal(crops, check_crops(model, 32, 6))
    assert len(np.unique(crops.reshape(6, -1), axis=0)) == 6


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--output', 'head.bin'], 'does not end in .onnx'),
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
