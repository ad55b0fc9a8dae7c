"""Steps along the orthogonalized momentum of matrices (Muon; Jordan et al., 2024)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of a quintic that takes 0..1 close to 1, if repeated
_ITERATIONS = 5
# An update of such root mean square is about that of AdamW (Liu et al., Muon is scalable, 2025).
_UPDATE_RMS = 0.2


def orthogonalized(matrices: torch.Tensor) -> torch.Tensor:
    """
    Return matrices with the same singular vectors whose singular values are about 1.

    :param matrices: (M, N) or (K, M, N) float32.
    :return: the same shape; singular values are about 0.7 to 1.2.
    """
    wide = matrices.shape[-2] <= matrices.shape[-1]
    # Not in bfloat16, as is usual on GPUs: for small matrices it is slower, and on many processors.
    x = (matrices if wide else matrices.mT).contiguous()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = _COEFFICIENTS
    add_product = torch.baddbmm if x.ndim == 3 else torch.addmm
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = add_product(x, add_product(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if wide else x.mT


class Muon(torch.optim.Optimizer):
    """
    Momentum of which every direction of a matrix gets the same step length.

    `torch.optim.Muon` takes plain matrices only; this one also takes kernels of convolutions
    (out, in, height, width), as matrices (out, in · height · width), and stacks (K, M, N).

    :param parameters: weights with at least two dimensions.
    :param lr: learning rate; the same as for AdamW, whose updates are of about the same size.
    :param weight_decay: decoupled, as in AdamW.
    :param momentum: decay of the average of the gradients.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.0,
                 momentum: float = 0.95) -> None:
        super().__init__(parameters, {
            'lr': lr, 'weight_decay': weight_decay, 'momentum': momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """
        Take one step.

        :param closure: not supported.
        """
        for group in self.param_groups:
            for weight in group['params']:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state['momentum'] = torch.zeros_like(weight)
                average = state['momentum'].lerp_(weight.grad, 1 - group['momentum'])
                gradient = weight.grad.lerp(average, group['momentum'])
                update = orthogonalized(gradient.flatten(1) if weight.ndim == 4 else gradient)
                length = _UPDATE_RMS * max(update.shape[-2:]) ** 0.5
                weight.mul_(1 - group['lr'] * group['weight_decay'])
                weight.sub_(update.reshape(weight.shape), alpha=group['lr'] * length)
