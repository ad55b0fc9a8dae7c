"""Trans3DHead: landmark queries and parameter queries over the tokens of a head crop."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import pad

from trans3dhead_ros.geometry import FACING_CAMERA
from trans3dhead_ros.landmarks import COUNT, JAW_COUNT
from trans3dhead_ros.network.attention import (
    DecoderLayer,
    EncoderLayer,
    FeedForward,
    QueryAwareMemory,
    QueryLinear,
)
from trans3dhead_ros.network.backbone import Backbone, SpatialPool
from trans3dhead_ros.network.config import NetworkConfig
from trans3dhead_ros.network.head_module import HeadModule, visible_contour
from trans3dhead_ros.network.queries import (
    POINT_COUNT,
    POINT_FAMILIES,
    ParameterLayout,
    family_index,
)
from trans3dhead_ros.network.query_content import LowRankContent
from trans3dhead_ros.network.residual_heads import (
    ResidualHead,
    group_indices,
    points_of_queries,
)
from trans3dhead_ros.network.rotations import rotation_6d_to_matrix, weak_perspective

MINIMUM_SCALE = 1e-3
"""Smallest Laplace scale in crop units; keeps the likelihood finite where the error is zero."""


@dataclass(frozen=True)
class Prediction:
    """
    The network's estimates for B crops, in crop units (-1..1 spans the crop; x right, y down).

    Weak perspective: `xy = exp(log_scale) * (rotation @ head)[:2] + translation`.
    """

    landmarks: torch.Tensor
    """(B, 68, 2), the 3D definition."""
    contour: torch.Tensor
    """(B, 17, 2), the jaw on the visible contour."""
    landmark_scale: torch.Tensor
    """(B, 85) Laplace scale, of the landmarks and then of the contour points."""
    rotation: torch.Tensor
    """(B, 3, 3) head -> camera optical frame of the crop."""
    translation: torch.Tensor
    """(B, 2), where the sellion projects."""
    log_scale: torch.Tensor
    """(B,) natural logarithm of crop units per metre."""
    shape: torch.Tensor
    """(B, I) identity coefficients."""
    expression: torch.Tensor
    """(B, E) expression coefficients, 0..1."""
    score: torch.Tensor
    """(B,) logit of "this is a head"."""


@dataclass(frozen=True)
class LayerOutputs:
    """The estimates of every decoder layer, first to last, which training supervises."""

    points: tuple[torch.Tensor, ...]
    """(B, 85, 2) of each layer: landmarks, then contour points, crop units."""
    parameters: tuple[torch.Tensor, ...]
    """(B, P) of each layer, in the order of `ParameterLayout`."""
    point_scale: torch.Tensor
    """(B, 85) Laplace scale, crop units."""
    score: torch.Tensor
    """(B,) logit of "this is a head"."""


class Trans3DHead(nn.Module):
    """
    Backbone -> tokens -> one or two decoders with query-aware memory and additive residuals.

    :param config: sizes and switches.
    :param head_model: what the parameters are coefficients of; saved with the weights.

    Example::

        network = Trans3DHead(NetworkConfig(), load_head_model()).eval()
        prediction = network(torch.rand(2, 3, 128, 128))  # RGB in 0..1
        prediction.landmarks  # (2, 68, 2), -1..1 spans the crop
    """

    mean_points: torch.Tensor
    """(85, 2) mean over the training set, crop units; set by training, saved with the weights."""
    mean_parameters: torch.Tensor
    """(P,) the same for the parameters."""

    def __init__(self, config: NetworkConfig, head_model: HeadModule) -> None:
        super().__init__()
        self.config = config
        self.head_model = head_model
        # Set by training: it halves the time of convolutions, and does not help attention on a CPU.
        self.bfloat16_backbone = False
        self.layout = ParameterLayout(head_model.shape_count, head_model.expression_count)
        dim = config.dim
        # The contour is the last family; without it, the jaw queries estimate the contour, too.
        points = POINT_FAMILIES if config.contour_queries else POINT_FAMILIES[:-1]
        self.point_queries = sum(count for _, count in points)
        self.contour_count = POINT_COUNT - self.point_queries
        per_point = 2 if self.contour_count else 1
        grouped = config.parameter_queries == 'grouped'
        groups = self.layout.groups if grouped else self.layout.families
        sizes = tuple(count for _, count in groups) if grouped else (1,) * self.layout.count
        self.register_buffer('parameter_indices', group_indices(sizes), persistent=False)
        parameters = tuple((name, 1) for name, _ in groups) if grouped else groups
        queries = self.point_queries + len(sizes)

        self.backbone = Backbone(config.widths, config.blocks)
        self.input_projection = nn.Linear(config.widths[-1], dim)
        self.token_pos_embed = nn.Parameter(0.02 * torch.randn(config.token_side ** 2, dim))
        self.encoder = nn.ModuleList(
            EncoderLayer(dim, config.num_heads, config.ffn_dim)
            for _ in range(config.encoder_layers))

        summary = config.widths[-1]
        self.pool: nn.Module | None = None
        if config.pool == 'spatial':
            summary = 2 * dim
            self.pool = SpatialPool(config.widths[-1], config.token_side, dim // 4, summary)
        self.content_projection = (
            LowRankContent(summary, queries, dim, config.content_rank) if config.content_rank
            else nn.Linear(summary, queries * dim))
        self.query_pos_embed = nn.Parameter(0.02 * torch.randn(queries, dim))
        self.reference_projection = nn.Linear(2 * per_point, dim)
        if config.two_branches:
            self.landmark_decoder = self._decoder(points)
            self.parameter_decoder = self._decoder(parameters)
        else:
            self.landmark_decoder = self._decoder(points + parameters)
            self.parameter_decoder = nn.ModuleList()
        self.point_residuals = nn.ModuleList(
            ResidualHead(self.point_queries, dim, 2 * per_point)
            for _ in range(config.decoder_layers))
        self.parameter_residuals = nn.ModuleList(
            ResidualHead(len(sizes), dim, max(sizes)) for _ in range(config.decoder_layers))
        self.point_log_scale = QueryLinear(self.point_queries, dim, per_point)
        nn.init.zeros_(self.point_log_scale.weight)
        nn.init.constant_(self.point_log_scale.bias, -3.0)
        self.score_head = FeedForward(config.widths[-1], dim)
        self.score_output = nn.Linear(config.widths[-1], 1)

        self.register_buffer('mean_points', torch.zeros(POINT_COUNT, 2))
        facing = torch.tensor(FACING_CAMERA[:, :2].T.flatten(), dtype=torch.float32,
                              device=self.mean_points.device)
        mean = torch.zeros(self.layout.count)
        mean[:6] = facing
        self.register_buffer('mean_parameters', mean)

    def _decoder(self, families: tuple[tuple[str, int], ...]) -> nn.ModuleList:
        config = self.config
        family = family_index(families)
        return nn.ModuleList(
            DecoderLayer(config.dim, config.num_heads, config.ffn_dim, QueryAwareMemory(
                config.qamem, len(family), config.dim, config.num_heads, family))
            for _ in range(config.decoder_layers))

    def forward(self, crops: torch.Tensor) -> Prediction:
        """
        Align the head of each crop.

        :param crops: (B, 3, S, S) RGB in 0..1.
        :return: the estimates of the last layer.
        :raises ValueError: for another shape.
        """
        outputs = self.forward_layers(crops)
        points = outputs.points[-1]
        family = self.layout.split(outputs.parameters[-1])
        return Prediction(
            landmarks=points[:, :COUNT], contour=points[:, COUNT:],
            landmark_scale=outputs.point_scale,
            rotation=rotation_6d_to_matrix(family['rotation']),
            translation=family['translation'], log_scale=family['log_scale'].squeeze(-1),
            shape=family['shape'], expression=family['expression'].clamp(0.0, 1.0),
            score=outputs.score)

    def forward_layers(self, crops: torch.Tensor) -> LayerOutputs:
        """
        Return the estimates of every layer.

        :param crops: (B, 3, S, S) RGB in 0..1.
        :return: the estimates.
        :raises ValueError: for another shape.
        """
        size = self.config.input_size
        if crops.ndim != 4 or tuple(crops.shape[1:]) != (3, size, size):
            raise ValueError(f'crops: expected (B, 3, {size}, {size}), got {tuple(crops.shape)}')
        features = self._features(crops * 2.0 - 1.0)
        pooled = features.mean((2, 3))
        tokens = self.input_projection(features.flatten(2).transpose(1, 2))
        if self.config.value_position:
            tokens = tokens + self.token_pos_embed
        for layer in self.encoder:
            tokens = layer(tokens, self.token_pos_embed)
        summary = pooled if self.pool is None else self.pool(features)
        content = self.content_projection(summary).unflatten(1, (-1, self.config.dim))
        score = self.head_score(pooled)

        if self.config.two_branches:
            parameters = self._estimate_parameters(content[:, self.point_queries:], tokens)
            reference = self._reference(parameters[-1])
            points, hidden = self._estimate_points(
                content[:, :self.point_queries], tokens, reference)
        else:
            points, parameters, hidden = self._estimate_jointly(content, tokens)
        log_scale = self._of_points(self.point_log_scale(hidden)).squeeze(-1)
        scale = log_scale.clamp(-8.0, 2.0).exp() + MINIMUM_SCALE
        return LayerOutputs(points, parameters, scale, score)

    def pooled(self, crops: torch.Tensor) -> torch.Tensor:
        """Return the features (B, C) that the score is computed from, of crops (B, 3, S, S)."""
        return self._features(crops * 2.0 - 1.0).mean((2, 3))

    def head_score(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return the logits (B,) of "this is a head" from `pooled` features (B, C)."""
        return self.score_output(pooled + self.score_head(pooled)).squeeze(-1)

    def _features(self, centred: torch.Tensor) -> torch.Tensor:
        if not self.bfloat16_backbone:
            return self.backbone(centred)
        with torch.autocast(centred.device.type, torch.bfloat16):
            return self.backbone(centred).float()

    def _of_points(self, outputs: torch.Tensor) -> torch.Tensor:
        return points_of_queries(outputs, self.contour_count)

    def _of_parameters(self, outputs: torch.Tensor) -> torch.Tensor:
        if self.config.parameter_queries == 'single':
            return outputs.squeeze(-1)
        return outputs.flatten(1).index_select(1, self.parameter_indices)

    def _embedded(self, points: torch.Tensor) -> torch.Tensor:
        """Return the embedding (B, N, d) of estimated points (B, 85, 2), by landmark query."""
        if self.contour_count:
            landmarks, contour = points[:, :COUNT], points[:, COUNT:]
            # Landmarks without a contour point take its place.
            second = torch.cat([contour, landmarks[:, JAW_COUNT:]], dim=1)
            points = torch.cat([landmarks, second], dim=-1)
        return self.reference_projection(points)

    def _estimate_parameters(
        self, queries: torch.Tensor, tokens: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        position = self.query_pos_embed[self.point_queries:]
        start = self.mean_parameters[None]
        estimates: list[torch.Tensor] = []
        for layer, residual in zip(self.parameter_decoder, self.parameter_residuals, strict=True):
            queries = layer(queries, position, tokens, self.token_pos_embed)
            before = estimates[-1] if estimates and self.config.marr else start
            estimates.append(before + self._of_parameters(residual(queries)))
        return tuple(estimates)

    def _estimate_points(
        self, queries: torch.Tensor, tokens: torch.Tensor, reference: torch.Tensor,
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        learned = self.query_pos_embed[:self.point_queries]
        position = learned + self._embedded(reference)
        estimates: list[torch.Tensor] = []
        for layer, residual in zip(self.landmark_decoder, self.point_residuals, strict=True):
            if estimates and self.config.embed_estimates:
                position = learned + self._embedded(estimates[-1].detach())
            queries = layer(queries, position, tokens, self.token_pos_embed)
            before = estimates[-1] if estimates and self.config.marr else reference
            estimates.append(before + self._of_points(residual(queries)))
        return tuple(estimates), queries

    def _estimate_jointly(
        self, queries: torch.Tensor, tokens: torch.Tensor,
    ) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...], torch.Tensor]:
        """Run one decoder for all queries; the landmarks start from the parameters of its layer."""
        points: list[torch.Tensor] = []
        parameters: list[torch.Tensor] = []
        start = self.mean_parameters[None]
        count = self.point_queries
        position: torch.Tensor = self.query_pos_embed
        for layer, point_residual, parameter_residual in zip(
                self.landmark_decoder, self.point_residuals, self.parameter_residuals,
                strict=True):
            if self.config.embed_estimates:
                estimate = points[-1].detach() if points else self._reference(start)
                rest = len(self.query_pos_embed) - count
                position = self.query_pos_embed + pad(self._embedded(estimate), (0, 0, 0, rest))
            queries = layer(queries, position, tokens, self.token_pos_embed)
            before = parameters[-1] if parameters and self.config.marr else start
            parameters.append(before + self._of_parameters(parameter_residual(queries[:, count:])))
            before = points[-1] if points and self.config.marr else self._reference(parameters[-1])
            points.append(before + self._of_points(point_residual(queries[:, :count])))
        return tuple(points), tuple(parameters), queries[:, :count]

    def _reference(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return the reference points (B, 85, 2): the mean face, posed if so configured."""
        if self.config.reference == 'mean':
            return self.mean_points[None]
        # Detached: the landmark losses must not train the pose through its reference.
        family = self.layout.split(parameters.detach())
        rotation = rotation_6d_to_matrix(family['rotation'])
        head = self.head_model
        candidates = head.mean[head.contour_indices].expand(parameters.shape[0], -1, -1, -1)
        chosen = visible_contour(candidates, rotation)
        # Not take_along_dim, which would fix the batch size of an exported graph.
        contour = candidates.gather(2, chosen[..., None, None].expand(-1, -1, 1, 3)).squeeze(2)
        posed = torch.cat([
            head.mean[head.landmark_indices].expand(parameters.shape[0], -1, -1), contour], dim=1)
        return weak_perspective(posed, rotation, family['log_scale'].squeeze(-1),
                                family['translation'])
