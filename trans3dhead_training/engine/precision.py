"""In which number format a training computes, and what half precision needs beside it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.network.model import LayerOutputs, Trans3DHead

PRECISIONS = ('none', 'bfloat16_backbone', 'bfloat16', 'float16')
"""Single precision; bfloat16 for the convolutions, which gain most; autocast for all."""


def check_precision(name: str) -> None:
    """:raises ValueError: for a name that is not one of `PRECISIONS`."""
    if name not in PRECISIONS:
        raise UserError(f'precision: expected one of {PRECISIONS}, got {name!r}')


class Precision:
    """
    Runs a network forwards and backwards in one of `PRECISIONS`.

    The answers are in single precision, and so are weights and losses.

    :param compiled: through torch.compile.
    :ivar scaler: keeps gradients of float16 from vanishing; does nothing with the others.
    """

    def __init__(self, name: str, network: Trans3DHead, device: torch.device,
                 compiled: bool = False) -> None:
        check_precision(name)
        network.bfloat16_backbone = name == 'bfloat16_backbone'
        self.device = device
        self.type = {'bfloat16': torch.bfloat16, 'float16': torch.float16}.get(name)
        self.scaler = torch.amp.GradScaler(device.type, enabled=name == 'float16')
        self._layers = compiled_layers(network) if compiled else network.forward_layers

    def forward(self, crops: torch.Tensor) -> LayerOutputs:
        """Return every layer's estimates; see `compiled_layers` for what it raises."""
        with torch.autocast(self.device.type, self.type, enabled=self.type is not None):
            outputs = self._layers(crops)
        if self.type is None:
            return outputs
        return LayerOutputs(tuple(points.float() for points in outputs.points),
                            tuple(values.float() for values in outputs.parameters),
                            outputs.point_scale.float(), outputs.score.float())

    def step(self, optimizer: torch.optim.Optimizer, network: nn.Module, norm: float) -> float:
        """
        Clip the gradients to a norm and move the weights; return the norm before.

        Weights stay as they were where the norm is not finite: the caller stops, and with float16
        the scaler takes a smaller scale.
        """
        self.scaler.unscale_(optimizer)
        before = float(nn.utils.clip_grad_norm_(network.parameters(), norm))
        if self.scaler.is_enabled():
            self.scaler.step(optimizer)
            self.scaler.update()
        elif before < float('inf'):
            optimizer.step()
        return before


def compiled_layers(network: Trans3DHead) -> Callable[[torch.Tensor], LayerOutputs]:
    """Return `forward_layers` through torch.compile; it raises `ValueError` where that fails."""
    compiled = torch.compile(network.forward_layers)

    def forward_layers(crops: torch.Tensor) -> LayerOutputs:
        try:
            return compiled(crops)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f'compile: this machine cannot compile the network ({reason}); '
                             'set compile=false') from error

    return forward_layers
