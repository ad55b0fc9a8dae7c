"""The configuration of a head detector, from which a checkpoint builds it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from trans3dhead_ros.errors import UserError

STRIDES = (8, 16, 32)
"""Pixels of the image per location along each side, at each level of the pyramid."""


@dataclass(frozen=True)
class DetectorConfig:
    """
    Sizes of `HeadDetector`.

    :raises UserError: for a value that is not allowed, naming the field.
    """

    stem_width: int = 32
    """Channels of the stem, a single convolution of stride 4."""
    widths: tuple[int, ...] = (48, 80, 80)
    """Channels of the stages of stride 8, 16 and 32."""
    blocks: tuple[int, ...] = (1, 2, 1)
    """Residual blocks of each stage."""
    neck_width: int = 48
    """Channels of every level of the feature pyramid."""

    def __post_init__(self) -> None:
        for name in ('widths', 'blocks'):
            if len(getattr(self, name)) != len(STRIDES):
                raise UserError(f'{name}: expected one entry for each of the strides {STRIDES}, '
                                f'got {getattr(self, name)}')
        for name in ('stem_width', 'neck_width'):
            if getattr(self, name) < 1:
                raise UserError(f'{name}: expected at least 1, got {getattr(self, name)}')
        if min(self.widths) < 1 or min(self.blocks) < 0:
            raise UserError(f'widths, blocks: out of range: {self.widths}, {self.blocks}')

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DetectorConfig:
        """
        Build a configuration from JSON values.

        :param values: by the name of the field; lists stand for tuples.
        :return: the configuration.
        :raises UserError: for an unknown key, or a value that is not allowed.
        """
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise UserError(f'detector configuration: unknown keys {", ".join(unknown)}')
        return cls(**{key: tuple(value) if isinstance(value, list) else value
                      for key, value in values.items()})
