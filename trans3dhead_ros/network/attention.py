"""Attention with query-aware memory (QAMem)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention


class QueryLinear(nn.Module):
    """
    A linear map of its own for every query: (B, N, d) -> (B, N, e).

    With `owner`, N numbers, queries with the same number share one map.
    """

    def __init__(self, queries: int, inputs: int, outputs: int,
                 owner: Sequence[int] | None = None) -> None:
        super().__init__()
        maps = queries if owner is None else max(owner) + 1
        self.weight = nn.Parameter(torch.empty(maps, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(maps, outputs))
        nn.init.normal_(self.weight, std=inputs ** -0.5)
        self.register_buffer('owner', None if owner is None else torch.tensor(owner),
                             persistent=False)

    def forward(self, queries: torch.Tensor) -> torch.Tensor:
        """Map (B, N, d) to (B, N, e)."""
        weight, bias = self.weight, self.bias
        if self.owner is not None:
            weight, bias = weight[self.owner], bias[self.owner]
        return torch.baddbmm(bias[:, None], queries.transpose(0, 1), weight).transpose(0, 1)


class QueryAwareMemory(nn.Module):
    """
    A value map of its own for every query, applied after the attention.

    Attention is linear in its values and its weights sum to one, so
    `sum_i a_ni (W_n m_i + b_n) = W_n (sum_i a_ni m_i) + b_n`: the memories of the N queries are
    never built. 'per_head' is exact for several heads (each head has its own block of W_n);
    'full' and 'family' act behind the output projection.
    """

    def __init__(self, form: str, queries: int, dim: int, heads: int,
                 family: Sequence[int]) -> None:
        super().__init__()
        self.form = form
        self.heads = heads
        if form == 'per_head':
            self.maps = QueryLinear(queries * heads, dim // heads, dim // heads)
        elif form == 'full':
            self.maps = QueryLinear(queries, dim, dim)
        elif form == 'family':
            self.maps = QueryLinear(queries, dim, dim, owner=family)

    def before_projection(self, attended: torch.Tensor) -> torch.Tensor:
        """Map concatenated head outputs (B, N, d)."""
        if self.form != 'per_head':
            return attended
        split = attended.unflatten(-1, (self.heads, -1)).flatten(1, 2)
        return torch.relu(self.maps(split)).unflatten(1, (-1, self.heads)).flatten(2)

    def after_projection(self, attended: torch.Tensor) -> torch.Tensor:
        """Map projected outputs (B, N, d)."""
        if self.form not in ('full', 'family'):
            return attended
        return torch.relu(self.maps(attended))


class Attention(nn.Module):
    """Multi-head attention; its values carry no position, its keys do."""

    def __init__(self, dim: int, heads: int, memory: QueryAwareMemory | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.output = nn.Linear(dim, dim)
        self.memory = memory

    def forward(self, queries: torch.Tensor, keys: torch.Tensor,
                values: torch.Tensor) -> torch.Tensor:
        """
        Attend.

        :param queries: (B, N, d). :param keys, values: (B, M, d). :return: (B, N, d).
        """
        q, k, v = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
                   for layer, x in ((self.query, queries), (self.key, keys), (self.value, values)))
        attended = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        if self.memory is None:
            return self.output(attended)
        return self.memory.after_projection(self.output(self.memory.before_projection(attended)))


class FeedForward(nn.Sequential):
    """Linear, ReLU, linear."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__(nn.Linear(dim, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, dim))


class EncoderLayer(nn.Module):
    """Self-attention over the image tokens."""

    def __init__(self, dim: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.attention = Attention(dim, heads)
        self.feedforward = FeedForward(dim, feedforward)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))

    def forward(self, tokens: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """Map tokens (B, M, d) with positions (M, d) to (B, M, d)."""
        placed = tokens + position
        tokens = self.norms[0](tokens + self.attention(placed, placed, tokens))
        return self.norms[1](tokens + self.feedforward(tokens))


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention with query-aware memory, feed-forward; norms behind."""

    def __init__(self, dim: int, heads: int, feedforward: int, memory: QueryAwareMemory) -> None:
        super().__init__()
        self.self_attention = Attention(dim, heads)
        self.cross_attention = Attention(dim, heads, memory)
        self.feedforward = FeedForward(dim, feedforward)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))

    def forward(self, queries: torch.Tensor, query_position: torch.Tensor, tokens: torch.Tensor,
                token_position: torch.Tensor) -> torch.Tensor:
        """
        Update the queries.

        :param queries: (B, N, d). :param query_position: (N, d) or (B, N, d).
        :param tokens: (B, M, d). :param token_position: (M, d). :return: (B, N, d).
        """
        placed = queries + query_position
        queries = self.norms[0](queries + self.self_attention(placed, placed, queries))
        queries = self.norms[1](queries + self.cross_attention(
            queries + query_position, tokens + token_position, tokens))
        return self.norms[2](queries + self.feedforward(queries))
