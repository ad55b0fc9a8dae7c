"""An engine that runs a model, from its files."""

from __future__ import annotations

import logging
import os

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.inference.backends import (
    BACKENDS,
    REMEDIES,
    choose_backend,
    is_installed,
    usable_backends,
)
from trans3dhead_ros.inference.engine import Engine
from trans3dhead_ros.model_files.model_pair import CHECKPOINT_SUFFIX, NetworkFiles
from trans3dhead_ros.model_files.onnx_graph import OnnxGraph

_LOG = logging.getLogger(__name__)
_MOST_THREADS = 2


def default_threads() -> int:
    """
    Return the number of threads for one network beside everything else that a robot does.

    It is two, or fewer where the machine has fewer cores or the environment variable
    `OMP_NUM_THREADS` says so.

    :return: at least 1.
    """
    allowed = os.environ.get('OMP_NUM_THREADS', '')
    return min(_MOST_THREADS, os.cpu_count() or 1,
               max(int(allowed), 1) if allowed.isdecimal() else _MOST_THREADS)


def open_engine(
    files: NetworkFiles, backend: str = 'auto', device: str = 'auto', threads: int = 0,
) -> Engine:
    """
    Load a model into an engine.

    Where the choice is left to 'auto' and the preferred engine cannot run the model, the next one
    is used, with one line in the log.

    :param files: of the model.
    :param backend: 'auto' or one of `BACKENDS`.
    :param device: 'auto', 'cpu', 'cuda' or 'cuda:N'.
    :param threads: of the CPU; 0 is `default_threads`.
    :return: the engine.
    :raises ValueError: for an engine or a device that this machine does not have, or that cannot
        run the model; says what brings it.
    """
    if threads < 0:
        raise UserError(f'threads: expected 0 or more, got {threads}')
    threads = threads or default_threads()
    chosen = choose_engine(files, backend, device)
    if chosen[0] != 'torch' and files.graph.fixed_batch:
        raise UserError(f'{files.path}: its graph takes a fixed number of crops; write it again '
                        'with `trans3dhead export`, without --batch')
    for following in usable_backends(backend, device, _runs_the_model(files, backend))[1:]:
        try:
            return _open(files, *chosen, threads)
        except UserError as error:
            _LOG.warning('%s on %s cannot run the model, using %s on %s: %s',
                         *chosen, *following, error)
        chosen = following
    return _open(files, *chosen, threads)


def open_graph(graph: OnnxGraph, backend: str, device: str, threads: int) -> Engine:
    """
    Load a graph into an engine.

    :param graph: of any network.
    :param backend: one of `BACKENDS` but torch, which does not read graphs.
    :param device: 'cpu' or 'cuda:N'.
    :param threads: of the CPU, at least 1.
    :return: the engine.
    :raises UserError: when the engine cannot run the graph, or cannot use the device.
    """
    if backend == 'onnxruntime':
        from trans3dhead_ros.inference.onnxruntime_engine import OnnxRuntimeEngine
        return OnnxRuntimeEngine(graph, device, threads)
    if backend == 'openvino':
        from trans3dhead_ros.inference.openvino_engine import OpenVINOEngine
        return OpenVINOEngine(graph, threads)
    from trans3dhead_ros.inference.opencv_engine import OpenCVEngine
    return OpenCVEngine(graph)


def _open(files: NetworkFiles, name: str, device: str, threads: int) -> Engine:
    if name == 'torch':
        from trans3dhead_ros.inference.torch_engine import TorchEngine
        return TorchEngine.load(files, device, threads)
    return open_graph(files.graph, name, device, threads)


def choose_engine(files: NetworkFiles, backend: str, device: str) -> tuple[str, str]:
    """Return the engine and the device that `open_engine` would take, cheaply."""
    return choose_backend(backend, device, _runs_the_model(files, backend))


def _runs_the_model(files: NetworkFiles, backend: str) -> tuple[str, ...]:
    """Return the engines that can run a model, by which of its files are there."""
    if files.graph is None:
        if backend not in ('auto', 'torch') and backend in BACKENDS:
            raise UserError(f'backend: {backend} needs an ONNX file beside {files.path}; write it '
                            'with `trans3dhead export`')
        if not is_installed('torch'):
            raise UserError(
                f'{files.path}: a checkpoint without its ONNX file runs in torch only, which is '
                'not installed; write that file with `trans3dhead export` where torch is '
                f'installed, or {REMEDIES["torch"]}')
        return ('torch',)
    if files.checkpoint is None:
        if backend == 'torch':
            missing = files.path.with_suffix(CHECKPOINT_SUFFIX)
            raise UserError(f'backend: torch needs the checkpoint {missing}')
        return tuple(name for name in BACKENDS if name != 'torch')
    return BACKENDS
