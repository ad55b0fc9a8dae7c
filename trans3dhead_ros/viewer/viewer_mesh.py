"""The meshes of the heads in the viewer: recorded ones, or made anew from their coefficients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.geometry import rotation_from_quaternion

Vertices = NDArray[np.float32]


class RecordedMeshes:
    """
    Takes vertices as the node has published them.

    :ivar triangles: (T, 3); None until they are known.
    """

    def __init__(self) -> None:
        self.triangles: NDArray[np.uint32] | None = None
        self._rows: dict[tuple[int, int], list[int]] = {}

    def of(self, message: Any) -> Iterator[tuple[Vertices, int]]:
        """Note the heads of a HeadArray, whose vertices follow."""
        self._rows = {_key(message): [head.id for head in message.heads]}
        return iter(())

    def rows(self, message: Any) -> Iterator[tuple[Vertices, int]]:
        """Yield the vertices (V, 3) m of a PointCloud2, and whose they are."""
        ids = self._rows.get(_key(message), [])
        if self.triangles is None or len(ids) != message.height or not ids:
            return
        rows = np.frombuffer(bytes(message.data), '<f4').reshape(len(ids), message.width, 3)
        yield from zip(rows, ids, strict=True)


class RebuiltMeshes:
    """Makes the vertices from shape, expression and pose, with the model of the package."""

    def __init__(self) -> None:
        import torch

        from trans3dhead_ros.network.checkpoint import load_head_model
        self._torch = torch
        self._model = load_head_model()
        self.triangles = self._model.triangles.numpy().astype(np.uint32)

    def of(self, message: Any) -> Iterator[tuple[Vertices, int]]:
        """Yield the vertices (V, 3) m of the heads of a HeadArray that fit the model."""
        model = self._model
        for head in message.heads:
            shape, expression = (self._torch.tensor(np.asarray(values, np.float32)[None])
                                 for values in (head.shape, head.expression))
            if shape.shape[1] != model.shape_count \
                    or list(message.expression_names) != list(model.expression_names):
                continue
            points = model(shape, expression)[0].numpy()
            at, turn = head.pose.pose.position, head.pose.pose.orientation
            rotation = rotation_from_quaternion(np.array([turn.x, turn.y, turn.z, turn.w]))
            position = np.array([at.x, at.y, at.z])
            # Heads of another size than the model's: their landmarks tell.
            landmarks = points[model.landmark_indices.numpy()]
            seen = np.asarray(head.landmarks_m).reshape(-1, 3) - position
            scale = np.linalg.norm(seen) / np.linalg.norm(landmarks)
            yield (scale * points @ rotation.T + position).astype(np.float32), head.id

    def rows(self, message: Any) -> Iterator[tuple[Vertices, int]]:
        """Nothing is recorded."""
        return iter(())


def _key(message: Any) -> tuple[int, int]:
    return message.header.stamp.sec, message.header.stamp.nanosec
