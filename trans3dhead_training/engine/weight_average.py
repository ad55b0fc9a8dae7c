"""The average of a training's weights, which is what is kept of it."""

from __future__ import annotations

import copy

import torch

from trans3dhead_ros.network.model import Trans3DHead


class WeightAverage:
    """
    An exponential average of a network's weights; batch statistics too.

    :param network: whose tensors stay the same objects from now on. :ivar network: the average.
    """

    def __init__(self, network: Trans3DHead, decay: float) -> None:
        self.network = copy.deepcopy(network).eval()
        self.decay = decay
        own = self.network.state_dict()
        pairs = [(own[name], value) for name, value in network.state_dict().items()
                 if not name.startswith('head_model.')]
        self._averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self._copied = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step; early averages forget faster."""
        decay = min(self.decay, (1 + step) / (10 + step))
        own, values = zip(*self._averaged, strict=True)
        torch._foreach_lerp_(own, values, 1 - decay)
        for copied, value in self._copied:
            copied.copy_(value)
