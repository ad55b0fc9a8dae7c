"""The meaning of the queries of the landmark branch and of the parameter branch."""

from __future__ import annotations

from dataclasses import dataclass

import torch

POINT_FAMILIES = (('jaw', 17), ('brows', 10), ('nose', 9), ('eyes', 12), ('mouth', 20),
                  ('contour', 17))
"""Names and sizes: the 68 landmarks in iBUG order, then the jaw on the visible contour."""

POINT_COUNT = sum(count for _, count in POINT_FAMILIES)
"""Number of points that the network estimates."""

SHAPES_PER_QUERY = 10
"""Identity coefficients of a grouped query."""

EXPRESSIONS_PER_QUERY = 6
"""Expression coefficients of a grouped query."""


@dataclass(frozen=True)
class ParameterLayout:
    """The order of the head parameters in a vector."""

    shapes: int
    """Number of identity coefficients."""
    expressions: int
    """Number of expression coefficients."""

    @property
    def families(self) -> tuple[tuple[str, int], ...]:
        """Names and sizes of the families, in order."""
        return (('rotation', 6), ('translation', 2), ('log_scale', 1), ('shape', self.shapes),
                ('expression', self.expressions))

    @property
    def count(self) -> int:
        """Number of parameters."""
        return sum(count for _, count in self.families)

    @property
    def groups(self) -> tuple[tuple[str, int], ...]:
        """Family and number of parameters of each grouped query, in order."""
        return (('rotation', 6), ('placement', 3),
                *(('shape', size) for size in _chunks(self.shapes, SHAPES_PER_QUERY)),
                *(('expression', size)
                  for size in _chunks(self.expressions, EXPRESSIONS_PER_QUERY)))

    def split(self, parameters: torch.Tensor) -> dict[str, torch.Tensor]:
        """Split (..., count) into a tensor (..., n) for each family."""
        names, counts = zip(*self.families, strict=True)
        return dict(zip(names, parameters.split(counts, dim=-1), strict=True))


def family_index(families: tuple[tuple[str, int], ...]) -> tuple[int, ...]:
    """Return the index of the family of each query."""
    return tuple(i for i, (_, count) in enumerate(families) for _ in range(count))


def _chunks(count: int, size: int) -> tuple[int, ...]:
    full, rest = divmod(count, size)
    return (size,) * full + ((rest,) if rest else ())
