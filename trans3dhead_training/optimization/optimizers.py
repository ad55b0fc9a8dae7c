"""Optimizers of a network by name."""

from __future__ import annotations

import math

import torch
from torch import nn

from trans3dhead_training.optimization.muon import Muon

ADAMW, MUON = 'adamw', 'muon'
OPTIMIZERS = (ADAMW, MUON)
_MIN_SIDE = 16  # Muon: of matrices; narrow ones, such as those of outputs, have few directions


def optimizers_of(
    network: nn.Module, name: str, learning_rate: float, weight_decay: float,
) -> tuple[torch.optim.Optimizer, ...]:
    """
    Return the optimizers that share the weights of a network.

    :param network: to train.
    :param name: adamw; or muon: Muon for matrices and kernels with at least 16 rows and columns,
        AdamW for everything else.
    :param learning_rate: of all.
    :param weight_decay: of weights with more than one dimension.
    :return: the optimizers.
    """
    inner, rest = [], []
    for key, weight in network.named_parameters():
        (inner if name == MUON and _is_matrix(key, weight) else rest).append(weight)
    adamw = torch.optim.AdamW(
        [{'params': [w for w in rest if w.ndim > 1], 'weight_decay': weight_decay},
         {'params': [w for w in rest if w.ndim <= 1], 'weight_decay': 0.0}],
        lr=learning_rate, fused=True)
    return (adamw, Muon(inner, learning_rate, weight_decay)) if inner else (adamw,)


def learning_rate_factor(progress: float, step: int, warmup_steps: int) -> float:
    """
    Return the factor on the peak learning rate: linear warm-up, then a cosine to 1 %.

    :param progress: share of the run that has passed, 0..1.
    :param step: steps that have passed.
    :param warmup_steps: length of the warm-up.
    :return: 0..1.
    """
    warm = min(1.0, (step + 1) / max(warmup_steps, 1))
    return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0))))


def _is_matrix(name: str, weight: nn.Parameter) -> bool:
    """Return whether a weight maps features to features; embeddings and biases do not."""
    if weight.ndim < 2 or not name.endswith('weight'):
        return False
    rows, columns = (weight.shape[0], weight[0].numel()) if weight.ndim == 4 else weight.shape[-2:]
    return min(rows, columns) >= _MIN_SIDE
