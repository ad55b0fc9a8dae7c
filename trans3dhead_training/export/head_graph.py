"""The network as a function of named tensors: what an exported file computes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from trans3dhead_ros.model_files.head_model_text import write_head_model
from trans3dhead_ros.model_files.model_metadata import (
    COLOUR_ORDER,
    FORMAT,
    PREPROCESSING,
    package_version,
)
from trans3dhead_ros.network.model import Trans3DHead

INPUT = 'crops'
"""Name of the only input."""

OUTPUTS = {
    'landmarks': '(B, 68, 2) the 3D definition, iBUG-68 order; crop units: -1..1 spans the crop, '
                 'x right, y down',
    'contour': '(B, 17, 2) the jaw on the visible contour, crop units',
    'landmark_scale': '(B, 85) Laplace scale of the landmarks, then of the contour, crop units',
    'rotation': '(B, 3, 3) head frame -> camera optical frame, as the crop looks',
    'translation': '(B, 2) where the sellion appears, crop units',
    'log_scale': '(B,) natural logarithm of crop units per metre',
    'shape': '(B, I) identity coefficients of the head model',
    'expression': '(B, E) expression coefficients, 0..1, named by expression_names',
    'score': '(B,) logit of "this is a head": its probability is 1 / (1 + exp(-score))',
    'vertices': "(B, V, 3) the head model's vertices, head frame, metres",
}
"""Outputs in the order of the file, and what each of them means."""


class HeadGraph(nn.Module):
    """
    A network that returns a plain tuple, in the order of `outputs`.

    :param network: in evaluation mode.
    :param vertices: return the vertices of the head too.
    """

    input_name = INPUT
    """Name of the only input."""
    descriptions = OUTPUTS
    """What each output means."""
    outputs: tuple[str, ...]
    """Names of the outputs; 'vertices' is the last one if it was requested."""

    def __init__(self, network: Trans3DHead, vertices: bool = False) -> None:
        super().__init__()
        self.network = network
        self.vertices = vertices
        self.outputs = tuple(name for name in OUTPUTS if vertices or name != 'vertices')

    @property
    def size(self) -> int:
        """Side of the crops, px."""
        return self.network.config.input_size

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """
        Run the network.

        :param crops: (B, 3, S, S) RGB in 0..1.
        :return: the tensors that `OUTPUTS` describes.
        """
        found = vars(self.network(crops))
        if self.vertices:
            found = {**found, 'vertices': self.network.head_model(
                found['shape'], found['expression'])}
        return tuple(found[name] for name in self.outputs)

    def example(self, batch: int | None) -> torch.Tensor:
        """
        Return crops to trace the graph with.

        :param batch: how many; None: any number, so not one, which would be taken for a constant.
        :return: (B, 3, S, S).
        """
        return torch.rand(batch or 2, 3, self.size, self.size)

    def free_sizes(self, batch: int | None) -> dict[int, Any] | None:
        """Return the dimensions of the input that may have any size, see `torch.export`."""
        return {0: torch.export.Dim('batch', min=1)} if batch is None else None

    def metadata(self, checkpoint: Mapping[str, Any]) -> dict[str, str]:
        """
        Return the metadata of an exported file: those of the checkpoint, and what the graph takes.

        :param checkpoint: metadata of the checkpoint that it was loaded from.
        :return: text by name; JSON where a value is not text.
        """
        values = {
            **checkpoint, 'exporter': exporter_name(),
            'input': f'{INPUT} (B, 3, {self.size}, {self.size}), {COLOUR_ORDER} in 0..1',
            'preprocessing': PREPROCESSING, 'crop_scale': self.network.config.crop_scale,
            'outputs': {name: OUTPUTS[name] for name in self.outputs},
        }
        texts = {name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                 for name, value in values.items()}
        # With it, a file without its checkpoint gives vertices and depths.
        return {**texts, 'head_basis': write_head_model(self.network.head_model.numpy())}


def exporter_name() -> str:
    """Return the name and the version of this program."""
    return f'{FORMAT} {package_version()}'
