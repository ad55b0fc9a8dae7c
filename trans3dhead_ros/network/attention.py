"""Transformer layers whose cross-attention has query-aware memory (QAMem)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention


class QueryLinear(nn.Module):
    """
    A linear layer with separate weights for every query, or for every group of queries.

    :param num_queries: N.
    :param in_features: size of each query before the layer.
    :param out_features: size of each query after the layer.
    :param groups: index of the group of each query; queries of a group share their weights. None
        gives every query separate weights.
    """

    def __init__(self, num_queries: int, in_features: int, out_features: int,
                 groups: Sequence[int] | None = None) -> None:
        super().__init__()
        count = num_queries if groups is None else max(groups) + 1
        self.weight = nn.Parameter(torch.empty(count, in_features, out_features))
        self.bias = nn.Parameter(torch.zeros(count, out_features))
        nn.init.normal_(self.weight, std=in_features ** -0.5)
        self.register_buffer('groups', None if groups is None else torch.tensor(groups),
                             persistent=False)

    def forward(self, queries: torch.Tensor) -> torch.Tensor:
        """Map (B, N, in_features) to (B, N, out_features)."""
        weight, bias = self.weight, self.bias
        if self.groups is not None:
            weight, bias = weight[self.groups], bias[self.groups]
        return torch.baddbmm(bias[:, None], queries.transpose(0, 1), weight).transpose(0, 1)


class QueryAwareMemory(nn.Module):
    """
    A separate value map for every query, applied after the attention.

    Attention is linear in its values and its weights sum to one, so
    `sum_i a_ni (W_n m_i + b_n) = W_n (sum_i a_ni m_i) + b_n`: the memories of the N queries never
    have to be computed. 'per_head' is exact for several attention heads (each has its own block of
    W_n); 'full' and 'family' act after the output projection.

    :param form: 'none', 'per_head', 'full' or 'family', see `NetworkConfig.qamem`.
    :param num_queries: N.
    :param dim: size of a query.
    :param num_heads: number of attention heads.
    :param family: (N,) index of the family of each query.
    """

    def __init__(self, form: str, num_queries: int, dim: int, num_heads: int,
                 family: Sequence[int]) -> None:
        super().__init__()
        self.form = form
        self.num_heads = num_heads
        if form == 'per_head':
            self.linear = QueryLinear(num_queries * num_heads, dim // num_heads, dim // num_heads)
            # Plain attention at first, which learns faster than random maps.
            nn.init.eye_(self.linear.weight[0])
            self.linear.weight.data.copy_(self.linear.weight[0].expand_as(self.linear.weight))
        elif form == 'full':
            self.linear = QueryLinear(num_queries, dim, dim)
        elif form == 'family':
            self.linear = QueryLinear(num_queries, dim, dim, groups=family)

    def before_projection(self, attended: torch.Tensor) -> torch.Tensor:
        """Map the concatenated outputs of the attention heads, (B, N, d)."""
        if self.form != 'per_head':
            return attended
        split = attended.unflatten(-1, (self.num_heads, -1)).flatten(1, 2)
        return torch.relu(self.linear(split)).unflatten(1, (-1, self.num_heads)).flatten(2)

    def after_projection(self, attended: torch.Tensor) -> torch.Tensor:
        """Map the outputs of the output projection, (B, N, d)."""
        if self.form not in ('full', 'family'):
            return attended
        return torch.relu(self.linear(attended))


class Attention(nn.Module):
    """
    Multi-head attention, optionally with query-aware memory.

    :param dim: size d of queries, keys and values; a multiple of `num_heads`.
    :param num_heads: number of attention heads.
    :param memory: what maps the attended values; None leaves them as they are.
    """

    def __init__(self, dim: int, num_heads: int, memory: QueryAwareMemory | None = None) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)
        self.memory = memory

    def forward(self, queries: torch.Tensor, keys: torch.Tensor,
                values: torch.Tensor) -> torch.Tensor:
        """
        Attend to the values.

        :param queries: (B, N, d), with their positions.
        :param keys: (B, M, d), with their positions.
        :param values: (B, M, d).
        :return: (B, N, d).
        """
        q, k, v = (layer(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for layer, x in (
            (self.q_proj, queries), (self.k_proj, keys), (self.v_proj, values)))
        attended = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        if self.memory is None:
            return self.out_proj(attended)
        return self.memory.after_projection(self.out_proj(self.memory.before_projection(attended)))


class FeedForward(nn.Sequential):
    """Linear, ReLU, linear."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__(
            nn.Linear(dim, hidden_dim), nn.ReLU(inplace=True), nn.Linear(hidden_dim, dim))


class EncoderLayer(nn.Module):
    """Self-attention over the image tokens and a feed-forward network, post-norm."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int) -> None:
        super().__init__()
        self.attention = Attention(dim, num_heads)
        self.ffn = FeedForward(dim, ffn_dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, tokens: torch.Tensor, pos_embed: torch.Tensor) -> torch.Tensor:
        """
        Update the tokens.

        :param tokens: (B, M, d).
        :param pos_embed: (M, d).
        :return: (B, M, d).
        """
        placed = tokens + pos_embed
        tokens = self.norm1(tokens + self.attention(placed, placed, tokens))
        return self.norm2(tokens + self.ffn(tokens))


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention with query-aware memory, feed-forward network, post-norm."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, memory: QueryAwareMemory) -> None:
        super().__init__()
        self.self_attention = Attention(dim, num_heads)
        self.cross_attention = Attention(dim, num_heads, memory)
        self.ffn = FeedForward(dim, ffn_dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.norm3 = nn.LayerNorm(dim)

    def forward(self, queries: torch.Tensor, query_pos_embed: torch.Tensor, tokens: torch.Tensor,
                token_pos_embed: torch.Tensor) -> torch.Tensor:
        """
        Update the queries.

        :param queries: (B, N, d).
        :param query_pos_embed: (N, d) or (B, N, d).
        :param tokens: (B, M, d).
        :param token_pos_embed: (M, d).
        :return: (B, N, d).
        """
        placed = queries + query_pos_embed
        queries = self.norm1(queries + self.self_attention(placed, placed, queries))
        queries = self.norm2(queries + self.cross_attention(
            queries + query_pos_embed, tokens + token_pos_embed, tokens))
        return self.norm3(queries + self.ffn(queries))
