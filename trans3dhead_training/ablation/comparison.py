"""What few seeds can say about a difference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t

CONFIDENCE = 0.95
VERDICTS = BETTER, WORSE, NONE = 'better', 'worse', 'no difference seen'


@dataclass(frozen=True)
class Comparison:
    """
    Differences to a reference of a figure that should be small, paired by seed.

    :ivar mean: variant minus reference. :ivar low, high: Student's interval of the mean over seeds.
    """

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, differences: ArrayLike) -> Comparison | None:
        """Return what differences (S,) say; None for fewer than two seeds."""
        values = np.asarray(differences, float)
        if len(values) < 2:
            return None
        # Three seeds know their own spread so badly that this is 4.3 standard errors, not 2.
        half = (t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
                * values.std(ddof=1) / np.sqrt(len(values)))
        return cls(float(values.mean()), float(values.mean() - half), float(values.mean() + half))

    @property
    def verdict(self) -> str:
        """BETTER or WORSE where the interval leaves 0 out, else NONE."""
        if self.high < 0:
            return BETTER
        return WORSE if self.low > 0 else NONE
