"""
Data-parallel training: the processes that `torchrun` starts share every batch.

Each process makes some of the crops and runs its own copy of the network on them. A term of the
loss is a mean over the heads whose truth is known, and processes know different numbers of them.
They therefore agree on the number first (`World.mean` is the criterion's `reduce_counts`), so that
the mean of their gradients is exactly the gradient of the whole batch.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed, nn

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.network.device import resolve_device

_TIMEOUT = timedelta(minutes=60)
"""How long processes wait for the first one, which validates, before they give up."""


@dataclass(frozen=True)
class World:
    """The processes of a training, seen from this one."""

    device: torch.device
    """Device of this process."""
    rank: int = 0
    """Number of this process; only process 0 writes files and validates."""
    size: int = 1
    """Number of processes."""

    @classmethod
    def connect(cls, device: str) -> World:
        """
        Connect to the other processes if `torchrun` started this one, else be alone.

        :param device: as for `resolve_device`; on CUDA each process takes the GPU of its number.
        :return: the processes.
        :raises UserError: a device that cannot be shared, or too few of them.
        """
        size = int(os.environ.get('WORLD_SIZE', '1'))
        if size == 1:
            return cls(resolve_device(device))
        local = int(os.environ['LOCAL_RANK'])
        if ':' in device:
            raise UserError(f'device: {size} processes cannot all use {device}; use device=cuda')
        found = resolve_device(device)
        if found.type == 'cuda':
            found = resolve_device(f'cuda:{local}')
            torch.cuda.set_device(found)
        distributed.init_process_group('nccl' if found.type == 'cuda' else 'gloo',
                                       timeout=_TIMEOUT)
        return cls(found, distributed.get_rank(), size)

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def close(self) -> None:
        """Leave the process group, so that the others do not wait for this process."""
        if self.size > 1:
            distributed.destroy_process_group()

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean of a tensor over all processes."""
        if self.size == 1:
            return values
        total = values.detach().clone()
        distributed.all_reduce(total)
        return total / self.size

    def maximum(self, values: Sequence[float]) -> list[float]:
        """Return the maximum over all processes of each value."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(tensor, distributed.ReduceOp.MAX)
        return tensor.tolist()

    @torch.no_grad()
    def broadcast_weights(self, network: nn.Module) -> None:
        """Give every process the weights of the first one."""
        if self.size > 1:
            for tensor in network.state_dict().values():
                distributed.broadcast(tensor, 0)

    @torch.no_grad()
    def average_gradients(self, network: nn.Module, losses: torch.Tensor) -> torch.Tensor:
        """
        Replace gradients and batch statistics by their means over all processes.

        The copies of the network stay bit-equal: every process receives the same sums.

        :param network: the copy of this process.
        :param losses: (K,) figures of this process.
        :return: (K,) their means.
        """
        if self.size == 1:
            return losses
        tensors = [losses, *(p.grad for p in network.parameters() if p.grad is not None),
                   *(b for name, b in network.named_buffers() if '.running_' in name)]
        # One message: hundreds of small ones would wait for one another.
        flat = self.mean(torch.cat([tensor.flatten() for tensor in tensors]))
        parts = flat.split([tensor.numel() for tensor in tensors])
        torch._foreach_copy_(tensors[1:], [part.view_as(tensor) for part, tensor
                                           in zip(parts[1:], tensors[1:], strict=True)])
        return parts[0]
