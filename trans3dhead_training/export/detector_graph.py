"""A head detector as a function of named tensors: what its exported file computes."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from trans3dhead_ros.model_files.detector_metadata import DETECTOR_OUTPUTS, DETECTOR_STRIDE
from trans3dhead_ros.model_files.model_metadata import COLOUR_ORDER
from trans3dhead_ros.network.head_detector import HeadDetector, HeadProposals
from trans3dhead_training.export.head_graph import exporter_name

_EXAMPLE_SIZE = (96, 160)


class DetectorGraph(nn.Module):
    """
    A detector that returns a plain tuple, in the order of `outputs`.

    :param detector: in evaluation mode.
    """

    input_name = 'images'
    """Name of the only input."""
    outputs = tuple(DETECTOR_OUTPUTS)
    """Names of the outputs."""
    descriptions = DETECTOR_OUTPUTS
    """What each of them means."""

    def __init__(self, detector: HeadDetector) -> None:
        super().__init__()
        self.proposals = HeadProposals(without_batch_norm(detector))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """
        Run the detector.

        :param images: (B, 3, H, W) RGB in 0..1; H and W are multiples of 32.
        :return: the tensors that `DETECTOR_OUTPUTS` describes.
        """
        found = vars(self.proposals(images))
        return tuple(found[name] for name in self.outputs)

    def example(self, batch: int | None) -> torch.Tensor:
        """
        Return images to trace the graph with.

        :param batch: how many; None: any number.
        :return: (B, 3, H, W).
        """
        return torch.rand(batch or 2, 3, *_EXAMPLE_SIZE)

    def free_sizes(self, batch: int | None) -> dict[int, Any]:
        """Return the dimensions of the input that may have any size, see `torch.export`."""
        sizes = {2: DETECTOR_STRIDE * torch.export.Dim('rows', min=1),
                 3: DETECTOR_STRIDE * torch.export.Dim('columns', min=1)}
        return sizes if batch is not None else {0: torch.export.Dim('batch', min=1), **sizes}

    def metadata(self, checkpoint: Mapping[str, Any]) -> dict[str, str]:
        """
        Return the metadata of an exported file.

        :param checkpoint: metadata of the checkpoint that it was loaded from.
        :return: text by name; JSON where a value is not text.
        """
        values = {
            **checkpoint, 'exporter': exporter_name(),
            'input': f'{self.input_name} (B, 3, H, W), {COLOUR_ORDER} in 0..1; H and W are '
                     f'multiples of {DETECTOR_STRIDE}',
            'outputs': dict(DETECTOR_OUTPUTS)}
        return {name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                for name, value in values.items()}


def without_batch_norm(detector: HeadDetector) -> HeadDetector:
    """
    Return a detector whose convolutions include the batch normalisation that follows them.

    Runtimes fold it by themselves only where a convolution is used once; the tower is used by every
    level.

    :param detector: in evaluation mode, unchanged.
    :return: a copy that computes the same.
    """
    folded = copy.deepcopy(detector).eval()
    for layers in list(folded.modules()):
        if (isinstance(layers, nn.Sequential) and len(layers) > 1
                and isinstance(layers[0], nn.Conv2d) and isinstance(layers[1], nn.BatchNorm2d)):
            layers[0] = fuse_conv_bn_eval(layers[0], layers[1])
            layers[1] = nn.Identity()
    return folded
