"""What happens to a head's coefficients when its picture is mirrored left-right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from trans3dhead_ros.head_model import HeadModel

Array = NDArray[np.float64]

_WORST_RESIDUAL = 0.1


@dataclass(frozen=True, eq=False)
class HeadMirror:
    """
    Linear maps to the coefficients of the mirrored head.

    :ivar shape: (I, I): mirrored = shape coefficients @ shape. :ivar expression: (E,) order of
        the expressions with left and right exchanged.
    """

    shape: Array
    expression: NDArray[np.int64]

    @classmethod
    def of(cls, model: HeadModel) -> HeadMirror | None:
        """Measure the maps of a model; None where its identities have no mirror images."""
        mean = model.mean.cpu().numpy().astype(float)
        identity = model.identity.cpu().numpy().astype(float)
        flip = np.array([1.0, -1.0, 1.0])
        # The three nearest vertices carry the field of the mirrored place well enough.
        distance, near = cKDTree(mean).query(mean * flip, k=3)
        weight = 1.0 / np.maximum(distance, 1e-6)
        weight /= weight.sum(1, keepdims=True)
        mirrored = np.einsum('ivkc,vk->ivc', identity[:, near], weight) * flip
        basis = identity.reshape(len(identity), -1)
        target = mirrored.reshape(len(identity), -1)
        solution = np.linalg.lstsq(basis.T, target.T, rcond=None)[0].T
        residual = np.linalg.norm(solution @ basis - target) / max(np.linalg.norm(target), 1e-12)
        if residual > _WORST_RESIDUAL:
            return None
        return cls(solution, np.array(_exchanged(model.expression_names)))


def _exchanged(names: tuple[str, ...]) -> list[int]:
    """Return, for every expression, the index of the one that shows in the mirror."""
    swap = {'_L': '_R', '_R': '_L', 'Left': 'Right', 'Right': 'Left'}
    result = []
    for index, name in enumerate(names):
        partner = next((name[:-len(end)] + other for end, other in swap.items()
                        if name.endswith(end)), name)
        result.append(names.index(partner) if partner in names else index)
    return result
