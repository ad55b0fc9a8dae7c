"""What each query of the landmark branch and of the parameter branch stands for."""

from __future__ import annotations

from dataclasses import dataclass

import torch

LANDMARK_FAMILIES = (('jaw', 17), ('brows', 10), ('nose', 9), ('eyes', 12), ('mouth', 20),
                     ('contour', 17))
"""Names and sizes: the 68 landmarks in iBUG order, then the jaw on the visible contour."""

LANDMARK_QUERIES = sum(count for _, count in LANDMARK_FAMILIES)
"""Number of queries of the landmark branch."""


@dataclass(frozen=True)
class ParameterLayout:
    """The order of the head parameters, each of which has a query, in a vector."""

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

    def split(self, parameters: torch.Tensor) -> dict[str, torch.Tensor]:
        """Split (..., count) into a tensor (..., n) for each family."""
        names, counts = zip(*self.families, strict=True)
        return dict(zip(names, parameters.split(counts, dim=-1), strict=True))


def family_index(families: tuple[tuple[str, int], ...]) -> tuple[int, ...]:
    """Return the index of the family of each query."""
    return tuple(i for i, (_, count) in enumerate(families) for _ in range(count))
