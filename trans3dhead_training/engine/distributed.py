"""
Data parallel training: the processes that `torchrun` starts share every batch.

Each draws some of its crops and runs its own copy of the network over them. A term of the criterion
is a mean over the heads that know its truth, and processes know different numbers of them. So they
agree on the number first (`World.mean` is the criterion's `shared_counts`), and the mean of their
gradients is the gradient of the whole batch, not of something like it.
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

_PATIENCE = timedelta(minutes=60)
"""How long the others wait for the first process, which validates, before they give up."""


@dataclass(frozen=True)
class World:
    """
    The processes of a training, this one among them.

    :ivar rank: of this one; 0 alone writes files and validates. :ivar size: how many there are.
    """

    device: torch.device
    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: str) -> World:
        """
        Meet the other processes if `torchrun` started this one, else be alone.

        :param device: as for `resolve_device`; on CUDA each process takes the GPU of its number.
        :raises ValueError: a device that cannot be shared, or too few of them.
        """
        size = int(os.environ.get('WORLD_SIZE', '1'))
        if size == 1:
            return cls(resolve_device(device))
        local = int(os.environ['LOCAL_RANK'])
        if ':' in device:
            raise UserError(f'device: {size} processes cannot all take {device}; use device=cuda')
        found = resolve_device(device)
        if found.type == 'cuda':
            found = resolve_device(f'cuda:{local}')
            torch.cuda.set_device(found)
        distributed.init_process_group('nccl' if found.type == 'cuda' else 'gloo',
                                       timeout=_PATIENCE)
        return cls(found, distributed.get_rank(), size)

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and speaks for all."""
        return self.rank == 0

    def leave(self) -> None:
        """Say good-bye, so that the others do not wait for this process."""
        if self.size > 1:
            distributed.destroy_process_group()

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean of a tensor over all processes."""
        if self.size == 1:
            return values
        total = values.detach().clone()
        distributed.all_reduce(total)
        return total / self.size

    def largest(self, values: Sequence[float]) -> list[float]:
        """Return the largest that any process gives of each value."""
        if self.size == 1:
            return list(values)
        both = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(both, distributed.ReduceOp.MAX)
        return both.tolist()

    @torch.no_grad()
    def share_weights(self, network: nn.Module) -> None:
        """Give every process the first one's weights."""
        if self.size > 1:
            for tensor in network.state_dict().values():
                distributed.broadcast(tensor, 0)

    @torch.no_grad()
    def average_gradients(self, network: nn.Module, figures: torch.Tensor) -> torch.Tensor:
        """
        Replace gradients and batch statistics by their means over all processes; return figures'.

        The copies of the network stay equal to the last bit: every process gets the same sums.
        """
        if self.size == 1:
            return figures
        tensors = [figures, *(p.grad for p in network.parameters() if p.grad is not None),
                   *(b for name, b in network.named_buffers() if '.running_' in name)]
        # In one message: hundreds of small ones would wait for one another.
        flat = self.mean(torch.cat([tensor.flatten() for tensor in tensors]))
        parts = flat.split([tensor.numel() for tensor in tensors])
        torch._foreach_copy_(tensors[1:], [part.view_as(tensor) for part, tensor
                                           in zip(parts[1:], tensors[1:], strict=True)])
        return parts[0]
