"""Choice of the engine: what is installed, what can use the device, and what to install if none."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import shutil
from collections.abc import Callable

import cv2

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.inference.engine import Engine
from trans3dhead_ros.inference.onnx_graph import OnnxGraph

BACKENDS = ('onnxruntime', 'openvino', 'opencv', 'torch')
"""In the order in which 'auto' prefers them on a CPU."""

CUDA_REMEDY = "pip install '.[cuda]'"
"""What brings an engine for an NVIDIA GPU."""

_LOG = logging.getLogger(__name__)
_DEVICE = re.compile(r'auto|cpu|cuda(:\d+)?')
_OPENCV_MINIMUM = (4, 10)
_REMEDIES = {
    'onnxruntime': 'pip install onnxruntime',
    'openvino': 'pip install openvino',
    'opencv': 'OpenCV 4.10 or newer: pip install opencv-python-headless',
    'torch': 'pip install torch',
}


def installed_backends() -> tuple[str, ...]:
    """Return the engines of `BACKENDS` that this machine has."""
    return tuple(name for name in BACKENDS if _is_installed(name))


def nvidia_gpu_present() -> bool:
    """Return whether this machine has an NVIDIA GPU with its driver, whoever could use it."""
    return os.path.exists('/proc/driver/nvidia/version') or shutil.which('nvidia-smi') is not None


def cuda_backends() -> tuple[str, ...]:
    """Return the installed engines that can compute on CUDA here."""
    found = []
    if _is_installed('onnxruntime'):
        from trans3dhead_ros.inference.onnxruntime_engine import has_cuda
        if has_cuda() and nvidia_gpu_present():
            found.append('onnxruntime')
    if _is_installed('torch') and nvidia_gpu_present():
        import torch
        if torch.cuda.is_available():
            found.append('torch')
    return tuple(found)


def choose_backend(backend: str = 'auto', device: str = 'auto') -> tuple[str, str]:
    """
    Return the engine and the device to use.

    :param backend: 'auto' or one of `BACKENDS`.
    :param device: 'auto', 'cpu', 'cuda' or 'cuda:N'; 'auto' is the GPU where an engine can use it.
    :return: the name of the engine, and 'cpu' or 'cuda:N'.
    :raises UserError: for other names, or what this machine does not have; names what brings it.
    """
    text = device.strip().lower()
    if _DEVICE.fullmatch(text) is None:
        raise UserError(f"device: {device!r} is unknown; use 'auto', 'cpu', 'cuda' or 'cuda:N'")
    if backend not in ('auto', *BACKENDS):
        raise UserError(f'backend: {backend!r} is unknown; use auto, {", ".join(BACKENDS)}')
    if backend != 'auto' and not _is_installed(backend):
        raise UserError(f'backend: {backend} is not installed; {_REMEDIES[backend]}')
    on_cuda = [name for name in cuda_backends() if backend in ('auto', name)] \
        if text != 'cpu' else []
    if on_cuda:
        return on_cuda[0], f'cuda:{text.partition(":")[2] or 0}' if text != 'auto' else 'cuda:0'
    if text.startswith('cuda'):
        who = f'{backend} cannot' if backend != 'auto' else 'no installed engine can'
        raise UserError(
            f'device: {device!r} was requested, but {who} use a CUDA device here; '
            f"{CUDA_REMEDY}, or use 'auto' or 'cpu'")
    if text == 'auto':
        message = unused_gpu()
        _LOG.log(logging.WARNING if message else logging.INFO,
                 message or 'device auto: no CUDA device, running on the CPU')
    if backend != 'auto':
        return backend, 'cpu'
    installed = installed_backends()
    if not installed:
        raise UserError(f'no engine for neural networks is installed; {_REMEDIES["onnxruntime"]}')
    return installed[0], 'cpu'


def unused_gpu() -> str:
    """Return what to tell about an NVIDIA GPU that no installed engine can use; '' if none is."""
    if not nvidia_gpu_present() or cuda_backends():
        return ''
    return f'an NVIDIA GPU is present, but no installed engine can use it: {CUDA_REMEDY}'


def open_engine(
    graph: OnnxGraph, backend: str, device: str, threads: int,
    torch_engine: Callable[[str], Engine],
) -> Engine:
    """
    Load a graph into an engine.

    :param graph: the ONNX file.
    :param backend: one of `BACKENDS`, see `choose_backend`.
    :param device: 'cpu' or 'cuda:N'.
    :param threads: of the CPU.
    :param torch_engine: makes the engine on a device from the checkpoint beside the graph.
    :return: the engine.
    :raises ValueError: when the engine refuses the graph.
    """
    if backend == 'onnxruntime':
        from trans3dhead_ros.inference.onnxruntime_engine import OnnxRuntimeEngine
        return OnnxRuntimeEngine(graph, device, threads)
    if backend == 'openvino':
        from trans3dhead_ros.inference.openvino_engine import OpenVINOEngine
        return OpenVINOEngine(graph, threads)
    if backend == 'opencv':
        from trans3dhead_ros.inference.opencv_engine import OpenCVEngine
        return OpenCVEngine(graph)
    return torch_engine(device)


def _is_installed(name: str) -> bool:
    if name == 'opencv':
        version = tuple(int(part) for part in re.findall(r'\d+', cv2.__version__)[:2])
        return version >= _OPENCV_MINIMUM
    return importlib.util.find_spec(name) is not None
