"""What a network costs, whatever the machine."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def weight_count(network: nn.Module) -> int:
    """Return the number of trained weights."""
    return sum(parameter.numel() for parameter in network.parameters())


@torch.enable_grad()  # the counter asks for the graph of the gradients
def multiply_adds(network: nn.Module, crops: torch.Tensor) -> int:
    """
    Return the multiply-adds of one forward pass, in evaluation mode.

    :param crops: (B, 3, S, S), on the network's device.
    """
    # Attention is counted as the two products that it is, so as not to depend on a fused kernel.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(crops)
    return counter.get_total_flops() // 2
