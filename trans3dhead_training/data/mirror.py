"""How the coefficients of a head change when its picture is mirrored left-right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_ros.types import Array, IndexArray

_MAX_RESIDUAL = 0.1


@dataclass(frozen=True, eq=False)
class HeadMirror:
    """Linear maps to the coefficients of the mirrored head."""

    shape: Array
    """(I, I): mirrored coefficients = coefficients @ shape."""
    expression: IndexArray
    """(E,) order of the expressions with left and right exchanged."""

    @classmethod
    def of(cls, model: HeadModule) -> HeadMirror | None:
        """Fit the maps of a head model; None where its identities have no mirror images."""
        mean = model.mean.cpu().numpy().astype(float)
        identity = model.identity.cpu().numpy().astype(float)
        flip = np.array([1.0, -1.0, 1.0])
        # Interpolate the displacement at the mirrored position from the three nearest vertices.
        distance, near = cKDTree(mean).query(mean * flip, k=3)
        weight = 1.0 / np.maximum(distance, 1e-6)
        weight /= weight.sum(1, keepdims=True)
        mirrored = np.einsum('ivkc,vk->ivc', identity[:, near], weight) * flip
        basis = identity.reshape(len(identity), -1)
        target = mirrored.reshape(len(identity), -1)
        solution = np.linalg.lstsq(basis.T, target.T, rcond=None)[0].T
        residual = np.linalg.norm(solution @ basis - target) / max(np.linalg.norm(target), 1e-12)
        if residual > _MAX_RESIDUAL:
            return None
        return cls(solution, np.array(_exchanged(model.expression_names)))


def _exchanged(names: tuple[str, ...]) -> list[int]:
    """Return, for every expression, the index of its mirror image."""
    swap = {'_L': '_R', '_R': '_L', 'Left': 'Right', 'Right': 'Left'}
    result = []
    for index, name in enumerate(names):
        partner = next((name[:-len(end)] + other for end, other in swap.items()
                        if name.endswith(end)), name)
        result.append(names.index(partner) if partner in names else index)
    return result
