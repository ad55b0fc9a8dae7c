"""The network in torch, on a CPU or on CUDA."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.inference.engine import Engine
from trans3dhead_ros.network.checkpoint import load_checkpoint
from trans3dhead_ros.network.cost import multiply_adds, weight_count
from trans3dhead_ros.network.detector_checkpoint import load_detector
from trans3dhead_ros.network.device import full_precision
from trans3dhead_ros.network.head_detector import HeadProposals
from trans3dhead_ros.types import Float32Array


class TorchEngine(Engine):
    """
    A network in single precision.

    :param network: in evaluation mode; it is moved to the device. It answers a batch with a
        dataclass of tensors.
    :param device: 'cpu' or 'cuda:N'.
    """

    backend = 'torch'

    def __init__(self, network: nn.Module, device: str = 'cpu') -> None:
        self.device = device
        self.version = torch.__version__
        self.network = network.to(device)

    @classmethod
    def load(cls, checkpoint: Path, sha256: str, device: str, threads: int) -> TorchEngine:
        """
        Load a checkpoint.

        :param checkpoint: path of the file.
        :param sha256: of its weights, as its metadata have said.
        :param device: 'cpu' or 'cuda:N'.
        :param threads: of the CPU, for all of torch in this process.
        :return: the engine.
        :raises ValueError: when the file is missing or wrong.
        """
        torch.set_num_threads(threads)
        network, metadata = load_checkpoint(checkpoint, torch.device(device))
        _check_unchanged(checkpoint, sha256, metadata)
        return cls(network, device)

    @classmethod
    def load_detector(cls, checkpoint: Path, sha256: str, device: str,
                      threads: int) -> TorchEngine:
        """
        Load the checkpoint of a head detector, see `load`.

        :param checkpoint: path of the file.
        :param sha256: of its weights, as its metadata have said.
        :param device: 'cpu' or 'cuda:N'.
        :param threads: of the CPU, for all of torch in this process.
        :return: the engine.
        :raises ValueError: when the file is missing or wrong.
        """
        torch.set_num_threads(threads)
        detector, metadata = load_detector(checkpoint, torch.device(device))
        _check_unchanged(checkpoint, sha256, metadata)
        return cls(HeadProposals(detector), device)

    @torch.inference_mode()
    def run(self, batch: Float32Array) -> dict[str, Float32Array]:
        """Answer a batch, see `Engine.run`."""
        device = torch.device(self.device)
        crops = torch.from_numpy(np.ascontiguousarray(batch)).to(
            device, memory_format=torch.channels_last)
        with full_precision(device):
            prediction = self.network(crops)
        return {name: value.cpu().numpy() for name, value in vars(prediction).items()}


def _check_unchanged(checkpoint: Path, sha256: str, metadata: Mapping[str, Any]) -> None:
    if metadata['sha256'] != sha256:
        raise UserError(f'{checkpoint}: the file has changed since it was found; load it again')


def network_cost(checkpoint: Path, device: str = 'cpu') -> dict[str, int]:
    """
    Load a checkpoint and count what its network takes.

    :param checkpoint: path of the file.
    :param device: 'cpu' or 'cuda:N', where it is loaded.
    :return: `weights`, and `multiply_adds` for one crop.
    :raises ValueError: when the file is missing or wrong.
    """
    network, _ = load_checkpoint(checkpoint, torch.device(device))
    size = network.config.input_size
    return {'weights': weight_count(network), 'multiply_adds': multiply_adds(
        network, torch.zeros(1, 3, size, size, device=device))}


def detector_cost(checkpoint: Path, device: str = 'cpu') -> dict[str, int]:
    """
    Load a head detector and count what it takes.

    :param checkpoint: path of the file.
    :param device: 'cpu' or 'cuda:N', where it is loaded.
    :return: `weights`, and `multiply_adds` for an image of 640 x 480.
    :raises ValueError: when the file is missing or wrong.
    """
    detector, _ = load_detector(checkpoint, torch.device(device))
    return {'weights': weight_count(detector), 'multiply_adds': multiply_adds(
        detector, torch.zeros(1, 3, 480, 640, device=device))}
