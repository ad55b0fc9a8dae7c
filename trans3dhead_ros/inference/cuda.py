"""
Code specific to NVIDIA GPUs, which has not been run on one yet.

The rest of `inference` asks here; the engine of torch moves tensors to its device in any case.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

_GPUS = Path('/proc/driver/nvidia/gpus')
_PROVIDER = 'CUDAExecutionProvider'


def onnxruntime_has_cuda() -> bool:
    """Return whether the installed ONNX Runtime was built with CUDA."""
    import onnxruntime

    return _PROVIDER in onnxruntime.get_available_providers()


def torch_has_cuda() -> bool:
    """Return whether the installed torch finds a CUDA device."""
    import torch

    return torch.cuda.is_available()


def gpu_count(backends: Collection[str]) -> int:
    """Return the number of CUDA devices that engines can choose from."""
    if 'torch' in backends:
        import torch
        return torch.cuda.device_count()
    return max(len(list(_GPUS.iterdir())), 1) if _GPUS.is_dir() else 1


def onnxruntime_provider(device: str) -> tuple[str, dict[str, Any]]:
    """Return the provider of ONNX Runtime for 'cuda:N', with its options."""
    # TF32 would move landmarks by a tenth of a pixel, for no speed at this size.
    return _PROVIDER, {'device_id': int(device.partition(':')[2] or 0), 'use_tf32': '0'}


def provider_in_use(session: Any) -> bool:
    """Return whether a session runs on CUDA; without its libraries it has taken the CPU."""
    return _PROVIDER in session.get_providers()
