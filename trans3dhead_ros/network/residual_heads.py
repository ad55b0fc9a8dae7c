"""Layers that map decoded queries to residuals of points and parameters."""

from __future__ import annotations

import torch
from torch import nn

from trans3dhead_ros.network.attention import QueryLinear


class ResidualHead(nn.Module):
    """
    A shared hidden layer, then a separate output layer for every query, initially zero.

    :param num_queries: N.
    :param dim: size of a query.
    :param out_features: outputs per query.
    """

    def __init__(self, num_queries: int, dim: int, out_features: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, dim)
        self.output = QueryLinear(num_queries, dim, out_features)
        nn.init.zeros_(self.output.weight)

    def forward(self, queries: torch.Tensor) -> torch.Tensor:
        """Map (B, N, d) to (B, N, out_features)."""
        return self.output(torch.relu(self.hidden(queries)))


def points_of_queries(outputs: torch.Tensor, contour_count: int) -> torch.Tensor:
    """
    Return the outputs of the landmarks, then those of the contour points.

    :param outputs: (B, N, e) with a query per point, or (B, N, 2 e) where the first
        `contour_count` queries estimate a landmark and a contour point each.
    :param contour_count: number of contour points that share a query with a landmark.
    :return: (B, N + contour_count, e).
    """
    if not contour_count:
        return outputs
    landmarks, contour = outputs.chunk(2, dim=-1)
    return torch.cat([landmarks, contour[:, :contour_count]], dim=1)


def group_indices(sizes: tuple[int, ...]) -> torch.Tensor:
    """
    Return the indices of the parameters in the flattened outputs of grouped queries.

    :param sizes: number of parameters of each query; each has as many outputs as the largest.
    :return: (sum of sizes,) int64.
    """
    width = max(sizes)
    return torch.tensor([query * width + i for query, size in enumerate(sizes)
                         for i in range(size)])
