"""Plain residual convolutions: the fastest feature extractor per accuracy on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


def conv_bn(in_channels: int, out_channels: int, stride: int = 1,
            relu: bool = True) -> nn.Sequential:
    """Return a 3x3 convolution, batch normalisation and, if `relu`, ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
        nn.BatchNorm2d(out_channels)]
    if relu:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut; the identity until it is trained."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(channels, channels),
                                  conv_bn(channels, channels, relu=False))
        nn.init.zeros_(self.body[1][1].weight)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to the same shape."""
        return torch.relu(features + self.body(features))


class Backbone(nn.Module):
    """
    A stem and stages, each of which halves the resolution.

    :param widths: channels of the stem and of each stage.
    :param blocks: residual blocks of each stage.
    """

    def __init__(self, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        self.stem = conv_bn(3, widths[0], stride=2)
        self.stages = nn.Sequential(*(
            nn.Sequential(conv_bn(before, width, stride=2),
                          *(ResidualBlock(width) for _ in range(count)))
            for before, width, count in zip(widths[:-1], widths[1:], blocks, strict=True)))

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Map crops (B, 3, S, S) to features (B, widths[-1], S / stride, S / stride)."""
        return self.stages(self.stem(crops))


class SpatialPool(nn.Module):
    """
    Summarise a feature map in a vector that keeps where things are.

    :param in_channels: C of the feature map.
    :param side: height and width of the feature map.
    :param reduced: channels that are kept of each position.
    :param out_features: size of the vector.
    """

    def __init__(self, in_channels: int, side: int, reduced: int, out_features: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, reduced, 1)
        self.project = nn.Linear(reduced * side * side, out_features)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (B, C, side, side) to (B, out_features)."""
        return torch.relu(self.project(torch.relu(self.reduce(features)).flatten(1)))
