"""The network in torch, on a CPU or on CUDA."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.inference.engine import Engine
from trans3dhead_ros.model_files.detector_files import is_detector
from trans3dhead_ros.model_files.detector_metadata import DETECTOR_FORMAT
from trans3dhead_ros.model_files.model_pair import NetworkFiles
from trans3dhead_ros.network.checkpoint import load_checkpoint
from trans3dhead_ros.network.cost import multiply_adds, weight_count
from trans3dhead_ros.network.detector_checkpoint import load_detector
from trans3dhead_ros.network.device import full_precision
from trans3dhead_ros.network.head_detector import HeadProposals
from trans3dhead_ros.types import Float32Array


class TorchEngine(Engine):
    """
    A network in single precision.

    :param network: in evaluation mode; it is moved to the device. It maps a batch to a
        dataclass of tensors.
    :param device: 'cpu' or 'cuda:N'.
    """

    backend = 'torch'

    def __init__(self, network: nn.Module, device: str = 'cpu') -> None:
        self.device = device
        self.version = torch.__version__
        self.network = network.to(device)

    @classmethod
    def load(cls, files: NetworkFiles, device: str, threads: int) -> TorchEngine:
        """
        Load the checkpoint of a model or of a head detector.

        :param files: of the network, with a checkpoint.
        :param device: 'cpu' or 'cuda:N'.
        :param threads: of the CPU, for all of torch in this process.
        :return: the engine.
        :raises ValueError: when the file is wrong, or has changed since it was found.
        """
        torch.set_num_threads(threads)
        where = torch.device(device)
        if files.metadata['format'] == DETECTOR_FORMAT:
            detector, metadata = load_detector(files.checkpoint, where)
            network = HeadProposals(detector)
        else:
            network, metadata = load_checkpoint(files.checkpoint, where)
        if metadata['sha256'] != files.metadata['sha256']:
            raise UserError(f'{files.checkpoint}: the file has changed since it was found; load '
                            'it again')
        return cls(network, device)

    @torch.inference_mode()
    def run(self, batch: Float32Array) -> dict[str, Float32Array]:
        """Run inference on a batch, see `Engine.run`."""
        device = torch.device(self.device)
        crops = torch.from_numpy(np.ascontiguousarray(batch)).to(
            device, memory_format=torch.channels_last)
        with full_precision(device):
            prediction = self.network(crops)
        return {name: value.cpu().numpy() for name, value in vars(prediction).items()}


def network_cost(checkpoint: Path, device: str = 'cpu') -> dict[str, int]:
    """
    Load the checkpoint of an aligner or of a head detector, and count weights and operations.

    :param checkpoint: path of the file.
    :param device: 'cpu' or 'cuda:N', where it is loaded.
    :return: `weights`, and `multiply_adds` for one crop, or for an image of 640 x 480.
    :raises ValueError: when the file is missing or wrong.
    """
    where = torch.device(device)
    if is_detector(checkpoint):
        network, height, width = load_detector(checkpoint, where)[0], 480, 640
    else:
        network = load_checkpoint(checkpoint, where)[0]
        height = width = network.config.input_size
    return {'weights': weight_count(network), 'multiply_adds': multiply_adds(
        network, torch.zeros(1, 3, height, width, device=where))}
