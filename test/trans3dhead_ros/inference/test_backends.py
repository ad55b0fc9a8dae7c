"""The choice of the engine: the requested one runs, or one line says what to install."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from model_pairs import CONFIG, write_pair

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.inference import backends
from trans3dhead_ros.inference.backends import (
    BACKENDS,
    check_device,
    choose_backend,
    cuda_backends,
    unused_gpu,
)
from trans3dhead_ros.inference.open_engine import default_threads, open_engine
from trans3dhead_ros.model_files.model_pair import open_model

GPUS = bool(cuda_backends())


def install(monkeypatch, *names, gpu=False, cuda=()):
    """Let a machine have these engines, and those of `cuda` compute on its GPU."""
    monkeypatch.setattr(backends, 'is_installed', lambda name: name in names)
    monkeypatch.setattr(backends, 'nvidia_gpu_present', lambda: gpu)
    monkeypatch.setattr(backends, 'cuda_backends', lambda among=BACKENDS: tuple(
        name for name in cuda if name in among))
    monkeypatch.setattr(backends.cuda, 'gpu_count', lambda _: 2)


@pytest.mark.parametrize(('installed', 'chosen'), [
    (BACKENDS, 'onnxruntime'), (('torch', 'openvino'), 'openvino'),
    (('torch', 'opencv'), 'opencv'), (('torch',), 'torch')])
def test_auto_chooses_the_first_installed_engine(monkeypatch, installed, chosen, caplog):
    install(monkeypatch, *installed)
    with caplog.at_level(logging.INFO, logger=backends.__name__):
        assert choose_backend() == (chosen, 'cpu')
    assert len(caplog.records) == 1 and 'running on the CPU' in caplog.text
    assert choose_backend(chosen, 'cpu') == (chosen, 'cpu')


def test_only_an_engine_that_can_run_the_model_is_chosen(monkeypatch):
    install(monkeypatch, *BACKENDS)
    assert choose_backend('auto', 'cpu', ('torch',)) == ('torch', 'cpu')
    install(monkeypatch, 'torch')
    with pytest.raises(ValueError, match='no engine .* pip install onnxruntime'):
        choose_backend('auto', 'cpu', ('onnxruntime', 'openvino'))


@pytest.mark.parametrize('name', BACKENDS)
def test_a_missing_engine_names_the_package_that_provides_it(monkeypatch, name):
    install(monkeypatch)
    with pytest.raises(ValueError, match=f'^backend: {name} is not installed; .*pip install'):
        choose_backend(name)


def test_an_unknown_engine_lists_the_known_ones():
    with pytest.raises(ValueError, match='^backend: .*tensorrt.* auto, onnxruntime'):
        choose_backend('tensorrt')


def test_a_gpu_is_used_if_an_engine_can_use_it(monkeypatch):
    install(monkeypatch, *BACKENDS, gpu=True, cuda=('torch',))
    assert choose_backend() == ('torch', 'cuda:0')
    assert choose_backend('auto', 'cuda:1') == ('torch', 'cuda:1')
    assert choose_backend('onnxruntime', 'auto') == ('onnxruntime', 'cpu')
    assert choose_backend('auto', 'cpu') == ('onnxruntime', 'cpu')
    assert unused_gpu('cuda:0') == unused_gpu('cpu', 'onnxruntime') == ''
    assert 'torch could not run this model' in unused_gpu('cpu', 'auto')
    with pytest.raises(ValueError, match=r"onnxruntime cannot use it: pip install '\.\[cuda\]'"):
        choose_backend('onnxruntime', 'cuda')
    with pytest.raises(ValueError, match='this machine has cuda:0 … cuda:1'):
        choose_backend('auto', 'cuda:2')


def test_a_gpu_that_no_engine_can_use_is_reported_and_requesting_it_is_refused(monkeypatch):
    install(monkeypatch, 'onnxruntime', gpu=True)
    assert choose_backend() == ('onnxruntime', 'cpu')
    assert backends.CUDA_REMEDY in unused_gpu('cpu')
    for refuse in (check_device, lambda device: choose_backend('auto', device)):
        with pytest.raises(ValueError, match=r"^device: 'cuda' .*pip install '\.\[cuda\]'"):
            refuse('cuda')


@pytest.mark.skipif(GPUS, reason='this machine has a CUDA device')
def test_cuda_without_a_gpu_is_an_error():
    for device in ('cuda', 'cuda:9'):
        with pytest.raises(ValueError, match='no CUDA device|no installed engine'):
            check_device(device)


@pytest.mark.parametrize('name', ['gpu', 'cuda:', 'cuda:x', 'cpu:1', '', None, 3])
def test_the_error_for_an_unknown_device_lists_the_valid_names(name):
    for refuse in (check_device, lambda device: choose_backend('auto', device)):
        with pytest.raises(ValueError, match="^device: .*'auto'"):
            refuse(name)


def test_auto_and_cpu_are_always_devices():
    check_device('auto')
    check_device(' CPU ')


@pytest.fixture(scope='module')
def posed_pair(tmp_path_factory):
    """Return a model whose graph OpenCV cannot import: its landmarks start from a posed head."""
    config = replace(CONFIG, reference='posed_mean')
    return write_pair(tmp_path_factory.mktemp('posed') / 'posed.safetensors', config=config)


@pytest.mark.slow
@pytest.mark.skipif(not backends.is_installed('opencv'), reason='OpenCV 4.10 is not installed')
def test_auto_chooses_the_next_engine_if_one_cannot_run_the_graph(
        monkeypatch, posed_pair, caplog):
    install(monkeypatch, 'opencv', 'torch')
    with caplog.at_level(logging.WARNING):
        engine = open_engine(open_model(posed_pair), device='cpu')
    assert engine.backend == 'torch'
    assert [record.getMessage().split(':')[0] for record in caplog.records] == [
        'opencv on cpu cannot run the model, using torch on cpu']
    assert 'score' in engine.run(np.zeros((1, 3, 32, 32), np.float32))


@pytest.mark.slow
@pytest.mark.skipif(not backends.is_installed('opencv'), reason='OpenCV 4.10 is not installed')
def test_an_engine_that_was_requested_is_not_replaced(monkeypatch, posed_pair):
    install(monkeypatch, 'opencv', 'torch')
    with pytest.raises(UserError, match='cannot import the graph; use another backend'):
        open_engine(open_model(posed_pair), 'opencv', 'cpu')
    install(monkeypatch, 'opencv')
    with pytest.raises(UserError, match='cannot import the graph'):
        open_engine(open_model(posed_pair), 'auto', 'cpu')


@pytest.mark.parametrize(('variable', 'threads'), [('1', 1), ('64', 2), ('many', 2), ('0', 1)])
def test_threads_are_few_and_limited_by_omp_num_threads(monkeypatch, variable, threads):
    monkeypatch.setenv('OMP_NUM_THREADS', variable)
    monkeypatch.setattr('os.cpu_count', lambda: 8)
    assert default_threads() == threads
