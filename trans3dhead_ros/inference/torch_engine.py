"""The network in torch, on a CPU or on CUDA."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.inference.engine import Engine
from trans3dhead_ros.network.checkpoint import load_checkpoint
from trans3dhead_ros.network.cost import multiply_adds, weight_count
from trans3dhead_ros.network.device import full_precision
from trans3dhead_ros.network.model import Trans3DHead
from trans3dhead_ros.types import Float32Array


class TorchEngine(Engine):
    """
    A network in single precision.

    :param network: in evaluation mode; it is moved to the device.
    :param device: 'cpu' or 'cuda:N'.
    """

    backend = 'torch'

    def __init__(self, network: Trans3DHead, device: str = 'cpu') -> None:
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
        if metadata['sha256'] != sha256:
            raise UserError(f'{checkpoint}: the file has changed since it was found; load it again')
        return cls(network, device)

    @torch.inference_mode()
    def run(self, batch: Float32Array) -> dict[str, Float32Array]:
        """Answer a batch, see `Engine.run`."""
        device = torch.device(self.device)
        crops = torch.from_numpy(np.ascontiguousarray(batch)).to(
            device, memory_format=torch.channels_last)
        with full_precision(device):
            prediction = self.network(crops)
        return {name: value.cpu().numpy() for name, value in vars(prediction).items()}


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
