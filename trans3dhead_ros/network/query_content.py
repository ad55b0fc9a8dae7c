"""The initial content of the queries, computed from the image."""

from __future__ import annotations

import torch
from torch import nn


class LowRankContent(nn.Module):
    """
    A learned content of every query, plus a low-rank map of the image.

    A full matrix from the image to N queries would be most of the weights of a small network, and
    reading it would dominate the time of a single crop.

    :param in_features: size of the summary of the image.
    :param num_queries: N.
    :param dim: size d of a query.
    :param rank: rank of the map.
    """

    def __init__(self, in_features: int, num_queries: int, dim: int, rank: int) -> None:
        super().__init__()
        self.learned = nn.Parameter(0.02 * torch.randn(num_queries * dim))
        self.coefficients = nn.Linear(in_features, rank)
        self.directions = nn.Parameter(rank ** -0.5 * torch.randn(rank, num_queries * dim))

    def forward(self, summary: torch.Tensor) -> torch.Tensor:
        """Map (B, in_features) to (B, N * d)."""
        return self.learned + self.coefficients(summary) @ self.directions
