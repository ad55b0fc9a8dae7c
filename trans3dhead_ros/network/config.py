"""The one description of a network: what a checkpoint needs to build it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from trans3dhead_ros.errors import UserError

QAMEM_FORMS = ('none', 'per_head', 'full', 'family')
REFERENCES = ('mean', 'posed_mean')
POOLS = ('mean', 'spatial')
STRIDES = (16, 32)


@dataclass(frozen=True)
class NetworkConfig:
    """
    Sizes and switches of `Trans3DHead`; each part of the paper's method can be turned off.

    :ivar input_size: side of the square crop, px; a multiple of `stride`.
    :ivar crop_scale: side of the crop / longer side of the landmark box.
    :ivar widths: channels of the stem and of the stages behind it; each halves the resolution, so
        stride 16 has four entries and stride 32 five. :ivar blocks: residual blocks of each stage.
    :ivar dim: width of the tokens and queries. :ivar heads: of every attention.
    :ivar feedforward: hidden width behind the attention.
    :ivar encoder_layers: self-attention layers over the tokens (the paper's best trade is 0).
    :ivar decoder_layers: of each branch.
    :ivar two_branches: landmark and parameter queries have decoders of their own (the paper), or
        share one.
    :ivar qamem: query-aware memory: 'none', 'per_head' (block-diagonal, exact), 'full' (d x d a
        query, behind the output projection) or 'family' (d x d shared by queries of one kind).
    :ivar marr: add every layer's residual to the estimate of the layer before; else each layer
        regresses from the reference anew.
    :ivar pool: what the queries' first content is made of: the 'mean' of the features, or a
        'spatial' summary that still knows where things are.
    :ivar value_position: let the values of attention carry the tokens' positions, as the keys do.
        In the paper's form they do not, and a query learns slowly where it has looked.
    :ivar reference: where landmarks start: the training set's 'mean', or the mean head posed by
        the parameter branch ('posed_mean').
    """

    input_size: int = 128
    crop_scale: float = 1.5
    widths: tuple[int, ...] = (16, 32, 72, 160)
    blocks: tuple[int, ...] = (1, 1, 2)
    stride: int = 16
    dim: int = 96
    heads: int = 6
    feedforward: int = 192
    encoder_layers: int = 0
    decoder_layers: int = 2
    two_branches: bool = True
    qamem: str = 'per_head'
    marr: bool = True
    reference: str = 'posed_mean'
    pool: str = 'spatial'
    value_position: bool = True

    def __post_init__(self) -> None:
        for name, allowed in (('qamem', QAMEM_FORMS), ('reference', REFERENCES),
                              ('stride', STRIDES), ('pool', POOLS)):
            if getattr(self, name) not in allowed:
                raise UserError(f'{name}: expected one of {allowed}, got {getattr(self, name)!r}')
        if 2 ** len(self.widths) != self.stride or len(self.blocks) != len(self.widths) - 1:
            raise UserError(
                f'widths: stride {self.stride} needs {self.stride.bit_length() - 1} widths and one '
                f'entry of blocks less, got {len(self.widths)} and {len(self.blocks)}')
        if self.dim % self.heads:
            raise UserError(f'dim: {self.dim} is not a multiple of heads {self.heads}')
        if self.input_size < self.stride or self.input_size % self.stride:
            raise UserError(f'input_size: {self.input_size} is not a multiple of {self.stride}')
        if self.decoder_layers < 1 or self.encoder_layers < 0:
            raise UserError('decoder_layers: at least 1; encoder_layers: at least 0')
        if not self.crop_scale > 0:
            raise UserError(f'crop_scale: expected more than 0, got {self.crop_scale}')

    @property
    def token_side(self) -> int:
        """Tokens along a side of the feature map."""
        return self.input_size // self.stride

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NetworkConfig:
        """
        Build from plain values.

        :raises ValueError: for a key that is none of the fields, or values that do not fit.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UserError(f'network configuration: unknown keys {", ".join(unknown)}')
        return cls(**{key: tuple(value) if isinstance(value, list) else value
                      for key, value in values.items()})
