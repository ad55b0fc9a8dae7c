"""The meshes of the heads in the viewer: recorded, or rebuilt from their coefficients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.geometry import rotation_from_quaternion
from trans3dhead_ros.model_files.model_pair import open_model
from trans3dhead_ros.types import Float32Array


class RecordedMeshes:
    """
    Takes vertices as the node has published them.

    :ivar triangles: (T, 3) vertex indices; None until they are known.
    """

    def __init__(self) -> None:
        self.triangles: NDArray[np.uint32] | None = None
        self._ids: dict[tuple[int, int], list[int]] = {}

    def from_heads(self, message: Any) -> Iterator[tuple[Float32Array, int]]:
        """Note the ids of a HeadArray, whose vertices follow; yield nothing."""
        self._ids = {_stamp(message): [head.id for head in message.heads]}
        return iter(())

    def from_cloud(self, message: Any) -> Iterator[tuple[Float32Array, int]]:
        """Yield the vertices (V, 3) in m of a PointCloud2 with the ids of their heads."""
        ids = self._ids.get(_stamp(message), [])
        if self.triangles is None or len(ids) != message.height or not ids:
            return
        # x, y and z come first in each point.
        rows = np.frombuffer(bytes(message.data), '<f4').reshape(
            len(ids), message.width, -1)[..., :3]
        yield from zip(rows, ids, strict=True)


class RebuiltMeshes:
    """
    Makes vertices from shape, expression and pose with the head model of the package.

    :ivar triangles: (T, 3) vertex indices.
    """

    def __init__(self) -> None:
        self._model = open_model().head_model()
        self.triangles = self._model.triangles.astype(np.uint32)

    def from_heads(self, message: Any) -> Iterator[tuple[Float32Array, int]]:
        """Yield the vertices (V, 3) in m of the heads of a HeadArray that fit the model."""
        model = self._model
        for head in message.heads:
            shape, expression = (np.asarray(values, np.float32)[None]
                                 for values in (head.shape, head.expression))
            if shape.shape[1] != model.shape_count \
                    or list(message.expression_names) != list(model.expression_names):
                continue
            points = model.vertices(shape, expression)[0]
            at, turn = head.pose.pose.position, head.pose.pose.orientation
            rotation = rotation_from_quaternion(np.array([turn.x, turn.y, turn.z, turn.w]))
            position = np.array([at.x, at.y, at.z])
            # The parameter head_scale is not in the message; the landmarks tell it.
            landmarks = points[model.landmark_indices]
            seen = np.asarray(head.landmarks_m).reshape(-1, 3) - position
            scale = np.linalg.norm(seen) / np.linalg.norm(landmarks)
            yield (scale * points @ rotation.T + position).astype(np.float32), head.id

    def from_cloud(self, message: Any) -> Iterator[tuple[Float32Array, int]]:
        """Yield nothing: the vertices come from the heads."""
        return iter(())


def _stamp(message: Any) -> tuple[int, int]:
    return message.header.stamp.sec, message.header.stamp.nanosec
