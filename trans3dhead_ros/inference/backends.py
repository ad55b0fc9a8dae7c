"""Choice of the engine: what is installed, what can use the device, and what to install if none."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import shutil
from collections.abc import Collection

import cv2

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.inference import cuda

BACKENDS = ('onnxruntime', 'openvino', 'opencv', 'torch')
"""In the order in which 'auto' prefers them on a CPU."""

CUDA_REMEDY = "pip install '.[cuda]'"
"""What brings an engine for an NVIDIA GPU."""

REMEDIES = {
    'onnxruntime': 'pip install onnxruntime',
    'openvino': 'pip install openvino',
    'opencv': 'OpenCV 4.10 or newer: pip install opencv-python-headless',
    'torch': 'pip install torch',
}
"""What brings each engine."""

_LOG = logging.getLogger(__name__)
_DEVICE = re.compile(r'auto|cpu|cuda(?::(?P<index>\d+))?')
_OPENCV_MINIMUM = (4, 10)


def is_installed(backend: str) -> bool:
    """Return whether this machine has an engine of `BACKENDS`; nothing is imported."""
    if backend == 'opencv':
        version = tuple(int(part) for part in re.findall(r'\d+', cv2.__version__)[:2])
        return version >= _OPENCV_MINIMUM
    try:
        return importlib.util.find_spec(backend) is not None
    except ValueError:  # it is in sys.modules, and its import is blocked
        return False


def nvidia_gpu_present() -> bool:
    """Return whether this machine has an NVIDIA GPU with its driver, whoever could use it."""
    # A Jetson has the last of them only, before JetPack 6.
    return (os.path.exists('/proc/driver/nvidia/version')
            or shutil.which('nvidia-smi') is not None or os.path.exists('/dev/nvmap'))


def cuda_backends(among: Collection[str] = BACKENDS) -> tuple[str, ...]:
    """Return those of some engines that are installed and can compute on CUDA here."""
    if not nvidia_gpu_present():
        return ()
    found = []
    if 'onnxruntime' in among and is_installed('onnxruntime') and cuda.onnxruntime_has_cuda():
        found.append('onnxruntime')
    if 'torch' in among and is_installed('torch') and cuda.torch_has_cuda():
        found.append('torch')
    return tuple(found)


def check_device(device: str) -> None:
    """
    Check that a device has a valid name and that an engine can use it.

    :param device: 'auto', 'cpu', 'cuda' or 'cuda:N'.
    :raises ValueError: for any other name, or a CUDA device that no engine can use here.
    """
    text = _device_name(device)
    if text.startswith('cuda'):
        _check_cuda(device, text, cuda_backends())


def choose_backend(
    backend: str = 'auto', device: str = 'auto', among: Collection[str] = BACKENDS,
) -> tuple[str, str]:
    """
    Return the engine and the device to use, the first of `usable_backends`.

    :param backend: 'auto' or one of `BACKENDS`.
    :param device: 'auto', 'cpu', 'cuda' or 'cuda:N'; 'auto' is the GPU where an engine can use it,
        or the CPU with one line in the log.
    :param among: the engines that can run the model.
    :return: the name of the engine, and 'cpu' or 'cuda:N'.
    :raises UserError: for other names, or what this machine does not have; names what brings it.
    """
    chosen = usable_backends(backend, device, among)[0]
    if _device_name(device) == 'auto' and chosen[1] == 'cpu':
        _LOG.info('device auto: no CUDA device, running on the CPU')
    return chosen


def usable_backends(
    backend: str = 'auto', device: str = 'auto', among: Collection[str] = BACKENDS,
) -> list[tuple[str, str]]:
    """
    Return all engines with their devices that a choice leaves open, the preferred one first.

    :param backend: as for `choose_backend`.
    :param device: as for `choose_backend`.
    :param among: the engines that can run the model.
    :return: at least one pair of an engine and 'cpu' or 'cuda:N'.
    :raises UserError: as for `choose_backend`.
    """
    text = _device_name(device)
    if backend not in ('auto', *BACKENDS):
        raise UserError(f'backend: {backend!r} is unknown; use auto, {", ".join(BACKENDS)}')
    if backend != 'auto' and not is_installed(backend):
        raise UserError(f'backend: {backend} is not installed; {REMEDIES[backend]}')
    wanted = [name for name in BACKENDS if name in among and backend in ('auto', name)]
    on_cuda = cuda_backends(wanted) if text != 'cpu' else ()
    if text.startswith('cuda'):
        place = _check_cuda(device, text, on_cuda, backend)
        return [(name, place) for name in on_cuda]
    found = [*((name, 'cuda:0') for name in on_cuda),
             *((name, 'cpu') for name in wanted if is_installed(name))]
    if not found:
        raise UserError(f'no engine for neural networks is installed; {REMEDIES["onnxruntime"]}')
    return found


def unused_gpu(device: str, backend: str = 'auto') -> str:
    """
    Tell of an NVIDIA GPU that is not used although that was left open.

    :param device: on which the network runs.
    :param backend: what was asked for; an engine that was chosen by name and runs on the CPU is
        not told of where another one could use the GPU.
    :return: one line with what mends it; '' where there is nothing to tell.
    """
    if device.startswith('cuda') or not nvidia_gpu_present():
        return ''
    able = cuda_backends()
    if not able:
        return f'an NVIDIA GPU is present, but no installed engine can use it: {CUDA_REMEDY}'
    if backend != 'auto':
        return ''
    return (f'an NVIDIA GPU is present, but {" and ".join(able)} could not run this model on it; '
            f'see the log, or {CUDA_REMEDY}')


def _device_name(device: str) -> str:
    text = str(device).strip().lower()
    if _DEVICE.fullmatch(text) is None:
        raise UserError(f"device: {device!r} is unknown; use 'auto', 'cpu', 'cuda' or 'cuda:N'")
    return text


def _check_cuda(
    device: str, text: str, on_cuda: Collection[str], backend: str = 'auto',
) -> str:
    """
    Return the name of a CUDA device that exists and that one of the engines can use.

    :param device: as the user wrote it.
    :param text: the same, as `_device_name` returns it.
    :param on_cuda: the engines that can compute on CUDA here, of those that are asked for.
    :param backend: the one that is asked for, or 'auto'.
    :return: 'cuda:N'.
    :raises UserError: when there is no such device, or no engine for it.
    """
    if not nvidia_gpu_present():
        raise UserError(f"device: {device!r} was requested, but no CUDA device is available; use "
                        "'auto' or 'cpu'")
    if not on_cuda:
        problem = ('no installed engine can use it' if backend == 'auto'
                   else f'{backend} cannot use it')
        raise UserError(f'device: {device!r} was requested, but {problem}: {CUDA_REMEDY}, or use '
                        "'auto' or 'cpu'")
    index = int(text.partition(':')[2] or 0)
    count = cuda.gpu_count(on_cuda)
    if index >= count:
        raise UserError(f'device: {device!r} does not exist; this machine has '
                        f'cuda:0 … cuda:{count - 1}')
    return f'cuda:{index}'
