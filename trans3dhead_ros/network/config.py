"""The configuration of a network, from which a checkpoint builds it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from trans3dhead_ros.errors import UserError

QAMEM_FORMS = ('none', 'per_head', 'full', 'family')
REFERENCES = ('mean', 'posed_mean')
POOLS = ('mean', 'spatial')
STRIDES = (16, 32)
PARAMETER_QUERIES = ('single', 'grouped')


@dataclass(frozen=True)
class NetworkConfig:
    """
    Sizes and switches of `Trans3DHead`; each part of the paper's method can be turned off.

    :raises UserError: for a value that is not allowed, naming the field.
    """

    input_size: int = 128
    """Side of the square crop, px; a multiple of `stride`."""
    crop_scale: float = 1.5
    """Side of the crop divided by the longer side of the landmark box."""
    widths: tuple[int, ...] = (16, 32, 72, 160)
    """Channels of the stem and of each stage of the backbone; each of them halves the resolution,
    so stride 16 needs four entries and stride 32 five."""
    blocks: tuple[int, ...] = (1, 1, 2)
    """Residual blocks of each stage of the backbone."""
    stride: int = 16
    """Pixels of the crop per token, along each side: 16 or 32."""
    dim: int = 96
    """Size of tokens and queries; a multiple of `num_heads`."""
    num_heads: int = 6
    """Attention heads of every attention layer."""
    ffn_dim: int = 192
    """Hidden size of the feed-forward networks."""
    encoder_layers: int = 0
    """Self-attention layers over the tokens (the paper's best trade-off is 0)."""
    decoder_layers: int = 2
    """Layers of each decoder."""
    two_branches: bool = True
    """Separate decoders for landmark and parameter queries, as in the paper; otherwise they share
    one."""
    parameter_queries: str = 'single'
    """'single': one query per parameter, as in the paper; 'grouped': one for the rotation, one for
    the placement, and one for every few coefficients of shape and of expression."""
    contour_queries: bool = True
    """A query per jaw point on the visible contour; otherwise the jaw queries estimate both
    points."""
    content_rank: int = 0
    """Rank of the map from the image to the initial content of all queries, which is added to a
    learned content; 0: a full-rank map without learned content."""
    embed_estimates: bool = False
    """Embed the landmark estimates of the previous layer in the queries of every layer; otherwise
    only the reference is embedded, before the first layer."""
    qamem: str = 'per_head'
    """Query-aware memory: 'none'; 'per_head' (block-diagonal, exact); 'full' (a dim x dim map per
    query after the output projection); 'family' (like 'full', shared by queries of one kind)."""
    marr: bool = True
    """Add the residual of every layer to the estimate of the previous layer; otherwise each layer
    regresses from the reference."""
    reference: str = 'posed_mean'
    """Initial landmarks: the 'mean' of the training set, or the mean head posed by the parameter
    branch ('posed_mean')."""
    pool: str = 'spatial'
    """Source of the initial content of the queries: the 'mean' of the features, or a 'spatial'
    summary that preserves positions."""
    value_position: bool = True
    """Add the token positions to the attention values as well as to the keys. The paper does not,
    and the queries then learn slowly where their content comes from."""

    def __post_init__(self) -> None:
        for name, allowed in (('qamem', QAMEM_FORMS), ('reference', REFERENCES),
                              ('stride', STRIDES), ('pool', POOLS),
                              ('parameter_queries', PARAMETER_QUERIES)):
            if getattr(self, name) not in allowed:
                raise UserError(f'{name}: expected one of {allowed}, got {getattr(self, name)!r}')
        if 2 ** len(self.widths) != self.stride or len(self.blocks) != len(self.widths) - 1:
            raise UserError(
                f'widths: stride {self.stride} takes {self.stride.bit_length() - 1} widths and one '
                f'entry fewer of blocks, got {len(self.widths)} and {len(self.blocks)}')
        if self.num_heads < 1 or self.dim % self.num_heads:
            raise UserError(f'dim: {self.dim} is not a multiple of num_heads {self.num_heads}')
        if self.input_size < self.stride or self.input_size % self.stride:
            raise UserError(f'input_size: {self.input_size} is not a multiple of {self.stride}')
        if self.decoder_layers < 1 or self.encoder_layers < 0:
            raise UserError('decoder_layers: at least 1; encoder_layers: at least 0')
        if self.content_rank < 0:
            raise UserError(f'content_rank: expected at least 0, got {self.content_rank}')
        if not self.crop_scale > 0:
            raise UserError(f'crop_scale: expected more than 0, got {self.crop_scale}')

    @property
    def token_side(self) -> int:
        """Number of tokens along each side of the feature map."""
        return self.input_size // self.stride

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NetworkConfig:
        """
        Build a configuration from JSON values.

        :param values: by the name of the field; lists stand for tuples.
        :return: the configuration.
        :raises UserError: for an unknown key, or a value that is not allowed.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UserError(f'network configuration: unknown keys {", ".join(unknown)}')
        return cls(**{key: tuple(value) if isinstance(value, list) else value
                      for key, value in values.items()})
