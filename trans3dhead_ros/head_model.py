"""The linear morphable head: coefficients -> vertices and landmarks, in metres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.landmarks import COUNT, JAW_COUNT
from trans3dhead_ros.types import Array, Float32Array, IndexArray

ARRAYS = ('mean', 'identity', 'expression', 'triangles', 'landmark_indices', 'contour_indices')
"""The arrays of a head model, as files name them."""

# BLAS multiplies two rows with a large matrix in six times the time of one after the other.
_MAX_ROWS = 12


def check_shapes(shapes: Mapping[str, tuple[int, ...]], expression_count: int) -> None:
    """
    Check that the arrays of a head model fit one another.

    :param shapes: of the arrays, by their names in `ARRAYS`.
    :param expression_count: number of names of expressions.
    :raises ValueError: for the first one that does not fit.
    """
    vertices = (*shapes['mean'][:1], 3)
    expected = {
        'mean': vertices,
        'identity': (*shapes['identity'][:1], *vertices),
        'expression': (expression_count, *vertices),
        'triangles': (*shapes['triangles'][:1], 3),
        'landmark_indices': (COUNT,),
        'contour_indices': (JAW_COUNT, *shapes['contour_indices'][1:]),
    }
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise ValueError(f'{name}: expected shape {shape}, got {shapes[name]}')


@dataclass(frozen=True, eq=False)
class HeadModel:
    """
    Linear head `V = mean + sum_i shape_i identity_i + sum_e expression_e expression_e`.

    Vertices are in the head frame of `geometry`: metres, origin at the sellion of the identity,
    x out of the face, y to the head's left, z up. `network.head_module.HeadModule` is the same in
    torch.

    :raises ValueError: when the shapes do not match.

    Example::

        model = HeadPipeline.load().aligner.head_model
        vertices = model.vertices(np.zeros((1, model.shape_count)),
                                  np.zeros((1, model.expression_count)))
    """

    mean: Float32Array
    """(V, 3) m."""
    identity: Float32Array
    """(I, V, 3) m per unit of a coefficient that is distributed as N(0, 1) over people."""
    expression: Float32Array
    """(E, V, 3) m per unit of a coefficient in 0..1."""
    triangles: IndexArray
    """(T, 3), counter-clockwise seen from outside."""
    landmark_indices: IndexArray
    """(68,) vertices of the 3D landmark definition in iBUG-68 order."""
    contour_indices: IndexArray
    """(17, K) vertices along which each jaw point slides on the visible contour, from the jaw
    (first) over the cheek."""
    expression_names: tuple[str, ...]
    """Names of the E expressions."""

    def __post_init__(self) -> None:
        check_shapes({name: getattr(self, name).shape for name in ARRAYS},
                     len(self.expression_names))

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Array], expression_names: Sequence[str],
    ) -> HeadModel:
        """
        Build a head model from the arrays of a file.

        :param arrays: by the name of the field.
        :param expression_names: of the E expressions.
        :return: the head model.
        :raises UserError: when an array is missing or the shapes do not match.
        """
        missing = [name for name in ARRAYS if name not in arrays]
        if missing:
            raise UserError(f'head model: missing arrays {", ".join(missing)}')
        try:
            return cls(
                *(np.ascontiguousarray(arrays[name], np.float32) for name in ARRAYS[:3]),
                *(np.ascontiguousarray(arrays[name], np.int64) for name in ARRAYS[3:]),
                tuple(expression_names))
        except ValueError as error:  # the arrays come from a file
            raise UserError(f'head model: {error}') from error

    @property
    def shape_count(self) -> int:
        """Number of identity coefficients I."""
        return self.identity.shape[0]

    @property
    def expression_count(self) -> int:
        """Number of expression coefficients E."""
        return self.expression.shape[0]

    def vertices(self, shape: Array, expression: Array) -> Float32Array:
        """
        Return the vertices of heads.

        :param shape: (B, I) identity coefficients.
        :param expression: (B, E) expression coefficients.
        :return: (B, V, 3) m.
        :raises ValueError: for other shapes.
        """
        for name, values, count in (('shape', shape, self.shape_count),
                                    ('expression', expression, self.expression_count)):
            if values.ndim != 2 or values.shape[1] != count:
                raise ValueError(f'{name}: expected (B, {count}), got {values.shape}')
        vertices = _times(shape, self.identity)
        vertices += _times(expression, self.expression)
        vertices += self.mean
        return vertices

    def landmark_rows(self) -> tuple[Array, Array]:
        """
        Return the part of the model that moves landmarks, in double precision.

        :return: their mean (204,), and the basis (I + E, 204) of shape and then expression.
        """
        rows = self.landmark_indices
        basis = np.concatenate([shapes[:, rows].reshape(len(shapes), -1)
                                for shapes in (self.identity, self.expression)])
        return self.mean[rows].ravel().astype(np.float64), basis.astype(np.float64)


def _times(coefficients: Array, basis: Float32Array) -> Float32Array:
    """Return the sums (B, V, 3) of a basis (C, V, 3), weighted by coefficients (B, C)."""
    coefficients, flat = coefficients.astype(np.float32), basis.reshape(len(basis), -1)
    if len(coefficients) > _MAX_ROWS:
        summed = coefficients @ flat
    else:
        summed = np.empty((len(coefficients), flat.shape[1]), np.float32)
        for row, out in zip(coefficients, summed, strict=True):
            np.dot(row, flat, out=out)
    return summed.reshape(-1, *basis.shape[1:])
