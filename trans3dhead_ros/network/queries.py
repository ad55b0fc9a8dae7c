"""What every query of the two branches stands for."""

from __future__ import annotations

from dataclasses import dataclass

import torch

LANDMARK_FAMILIES = (('jaw', 17), ('brows', 10), ('nose', 9), ('eyes', 12), ('mouth', 20),
                     ('contour', 17))
"""The 68 landmarks in iBUG order, then the jaw once more on the visible contour."""

LANDMARK_QUERIES = sum(count for _, count in LANDMARK_FAMILIES)


@dataclass(frozen=True)
class ParameterLayout:
    """
    Where each family lies in a vector of head parameters, one query a parameter.

    :ivar shapes: number of identity coefficients. :ivar expressions: of expressions.
    """

    shapes: int
    expressions: int

    @property
    def families(self) -> tuple[tuple[str, int], ...]:
        """Names and counts in order."""
        return (('rotation', 6), ('translation', 2), ('log_scale', 1), ('shape', self.shapes),
                ('expression', self.expressions))

    @property
    def count(self) -> int:
        """Number of parameters."""
        return sum(count for _, count in self.families)

    def split(self, parameters: torch.Tensor) -> dict[str, torch.Tensor]:
        """Cut (..., count) into a tensor (..., n) for each family."""
        names, counts = zip(*self.families, strict=True)
        return dict(zip(names, parameters.split(counts, dim=-1), strict=True))


def family_index(families: tuple[tuple[str, int], ...]) -> tuple[int, ...]:
    """Return for each query the number of its family."""
    return tuple(i for i, (_, count) in enumerate(families) for _ in range(count))
