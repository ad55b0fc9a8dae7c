"""The cost of a network in weights and multiply-adds, which no machine changes."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def weight_count(network: nn.Module) -> int:
    """Return the number of trained weights."""
    return sum(parameter.numel() for parameter in network.parameters())


@torch.enable_grad()  # FlopCounterMode needs the autograd graph
def multiply_adds(network: nn.Module, crops: torch.Tensor) -> int:
    """
    Return the multiply-adds of one forward pass.

    :param network: in evaluation mode.
    :param crops: (B, 3, S, S), on the network's device.
    :return: multiply-adds of the whole batch.
    """
    # The MATH backend computes attention as two matrix products; fused kernels are not counted.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(crops)
    return counter.get_total_flops() // 2
