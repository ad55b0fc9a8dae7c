"""Plain residual convolutions: the fastest feature extractor per accuracy on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


def convolution(inputs: int, outputs: int, stride: int = 1, activate: bool = True) -> nn.Sequential:
    """Return 3x3 convolution, batch norm and, if `activate`, ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)]
    if activate:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(convolution(width, width),
                                  convolution(width, width, activate=False))
        nn.init.zeros_(self.body[1][1].weight)  # starts as the identity

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to the same shape."""
        return torch.relu(features + self.body(features))


class Backbone(nn.Module):
    """A stem and stages, each of which halves the resolution."""

    def __init__(self, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        self.stem = convolution(3, widths[0], stride=2)
        self.stages = nn.Sequential(*(
            nn.Sequential(convolution(before, width, stride=2),
                          *(ResidualBlock(width) for _ in range(count)))
            for before, width, count in zip(widths[:-1], widths[1:], blocks, strict=True)))

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Map crops (B, 3, S, S) to features (B, widths[-1], S / stride, S / stride)."""
        return self.stages(self.stem(crops))


class SpatialPool(nn.Module):
    """Summarise a feature map in a vector that still knows where things are."""

    def __init__(self, inputs: int, side: int, reduced: int, outputs: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(inputs, reduced, 1)
        self.project = nn.Linear(reduced * side * side, outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (B, C, side, side) to (B, outputs)."""
        return torch.relu(self.project(torch.relu(self.reduce(features)).flatten(1)))
