"""The head model in torch: on the device of the network, and differentiable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.head_model import ARRAYS, HeadModel, check_shapes
from trans3dhead_ros.landmarks import JAW_COUNT


class HeadModule(nn.Module):
    """
    `HeadModel` in torch.

    Nothing here is trained; the arrays are buffers, so that they are saved in the checkpoint and
    follow `.to(device)`.

    :param mean: (V, 3) m.
    :param identity: (I, V, 3) m per unit of a coefficient that is distributed as N(0, 1) over
        people.
    :param expression: (E, V, 3) m per unit of a coefficient in 0..1.
    :param triangles: (T, 3) int64, counter-clockwise seen from outside.
    :param landmark_indices: (68,) int64, vertices of the 3D landmark definition in iBUG-68 order.
    :param contour_indices: (17, K) int64, vertices along which each jaw point slides on the visible
        contour, from the jaw (first) over the cheek.
    :param expression_names: of the E expressions.
    :raises ValueError: when the shapes do not match.

    Example::

        model = load_head_model()  # of network.checkpoint
        vertices = model(torch.zeros(1, model.shape_count), torch.zeros(1, model.expression_count))
    """

    mean: torch.Tensor
    identity: torch.Tensor
    expression: torch.Tensor
    triangles: torch.Tensor
    landmark_indices: torch.Tensor
    contour_indices: torch.Tensor

    def __init__(
        self, mean: torch.Tensor, identity: torch.Tensor, expression: torch.Tensor,
        triangles: torch.Tensor, landmark_indices: torch.Tensor, contour_indices: torch.Tensor,
        expression_names: Sequence[str],
    ) -> None:
        super().__init__()
        tensors = dict(zip(ARRAYS, (
            mean, identity, expression, triangles, landmark_indices, contour_indices), strict=True))
        check_shapes({name: tuple(tensor.shape) for name, tensor in tensors.items()},
                     len(expression_names))
        for name, tensor in tensors.items():
            if tensor.is_floating_point():
                tensor = tensor.float()
            self.register_buffer(name, tensor.contiguous())
        self.expression_names = tuple(expression_names)

    @classmethod
    def from_state(
        cls, state: Mapping[str, torch.Tensor], expression_names: Sequence[str],
    ) -> HeadModule:
        """
        Build a head model from the tensors of its buffers.

        :param state: tensors by the name of the buffer.
        :param expression_names: of the E expressions.
        :return: the head model.
        :raises UserError: when a tensor is missing or the shapes do not match.
        """
        missing = [name for name in ARRAYS if name not in state]
        if missing:
            raise UserError(f'head model: missing tensors {", ".join(missing)}')
        try:
            return cls(*(state[name] for name in ARRAYS), expression_names)
        except ValueError as error:  # the tensors come from a file
            raise UserError(f'head model: {error}') from error

    @classmethod
    def from_model(cls, model: HeadModel) -> HeadModule:
        """Return a head model of NumPy in torch."""
        return cls(*(torch.tensor(getattr(model, name)) for name in ARRAYS), model.expression_names)

    @property
    def shape_count(self) -> int:
        """Number of identity coefficients I."""
        return self.identity.shape[0]

    @property
    def expression_count(self) -> int:
        """Number of expression coefficients E."""
        return self.expression.shape[0]

    def numpy(self) -> HeadModel:
        """Return the same head model in NumPy."""
        return HeadModel(*(getattr(self, name).cpu().numpy() for name in ARRAYS),
                         self.expression_names)

    def forward(self, shape: torch.Tensor, expression: torch.Tensor) -> torch.Tensor:
        """
        Return the vertices of heads.

        :param shape: (B, I) identity coefficients.
        :param expression: (B, E) expression coefficients.
        :return: (B, V, 3) m.
        :raises ValueError: for other shapes.
        """
        self._check(shape, expression)
        offsets = shape @ self.identity.flatten(1) + expression @ self.expression.flatten(1)
        return self.mean + offsets.unflatten(1, (-1, 3))

    def landmarks(self, vertices: torch.Tensor) -> torch.Tensor:
        """Return the 68 landmarks (B, 68, 3) of vertices (B, V, 3)."""
        return vertices[:, self.landmark_indices]

    def points_of(
        self, indices: torch.Tensor, shape: torch.Tensor, expression: torch.Tensor,
    ) -> torch.Tensor:
        """
        Return some vertices of heads, which is much cheaper than all of them.

        :param indices: (P,) int64.
        :param shape: (B, I) identity coefficients.
        :param expression: (B, E) expression coefficients.
        :return: (B, P, 3) m.
        :raises ValueError: for other shapes of the coefficients.
        """
        self._check(shape, expression)
        offsets = (shape @ self.identity[:, indices].flatten(1)
                   + expression @ self.expression[:, indices].flatten(1))
        return self.mean[indices] + offsets.unflatten(1, (-1, 3))

    def _check(self, shape: torch.Tensor, expression: torch.Tensor) -> None:
        for name, tensor, count in (('shape', shape, self.shape_count),
                                    ('expression', expression, self.expression_count)):
            if tensor.ndim != 2 or tensor.shape[1] != count:
                raise ValueError(f'{name}: expected (B, {count}), got {tuple(tensor.shape)}')


def visible_contour(candidates: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """
    Choose for each jaw point the candidate that lies on the visible contour of a distant head.

    :param candidates: (B, 17, K, 3) head frame, at `HeadModule.contour_indices`.
    :param rotation: (B, 3, 3) head -> camera optical frame.
    :return: (B, 17) int64, index of the candidate of each jaw point.
    """
    return outermost_candidates(candidates @ rotation[:, None, :2].mT, rotation)


def outermost_candidates(projected: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """
    Choose for each jaw point the projected candidate that lies on the visible contour.

    2D data sets label the jaw on the outline of the face. On the far side of a rotated head the
    outline runs over the cheek: the labelled candidate is the one farthest out, perpendicular to
    the projected vertical axis of the head. On the near side it is the jaw itself.

    :param projected: (B, 17, K, 2) image points of the candidates, by any camera.
    :param rotation: (B, 3, 3) head -> camera optical frame.
    :return: (B, 17) int64, index of the candidate of each jaw point.
    """
    up = rotation[:, :2, 2]
    across = torch.stack([-up[:, 1], up[:, 0]], dim=-1)  # towards the image's right when upright
    outwards = (projected * across[:, None, None]).sum(-1)
    side = torch.ones(JAW_COUNT, device=projected.device, dtype=projected.dtype)
    side[:JAW_COUNT // 2] = -1.0  # points 0..7 lie on the image's left of a facing head
    chosen = (outwards * side[:, None]).argmax(dim=-1)
    chosen[:, JAW_COUNT // 2] = 0  # the chin does not slide
    return chosen
