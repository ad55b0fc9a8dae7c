"""
Errors of a mesh against a true one of the same topology, or of another.

The true mesh is the predictor's own head model with the coefficients that a sample knows (prepared
shards do); it appears by weak perspective. A set's coefficients of another model say nothing here.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.head_model import HeadModel
from trans3dhead_ros.landmarks import LEFT_EYE_OUTER, RIGHT_EYE_OUTER
from trans3dhead_training.core.alignment import fit_similarity
from trans3dhead_training.core.head_regions import REGIONS, region_of
from trans3dhead_training.data.sample import Placement, Sample
from trans3dhead_training.predictors import Alignment

Array = NDArray[np.float64]

SEVEN = [36, 39, 42, 45, 33, 48, 54]
"""Corners of the eyes, base of the nose and corners of the mouth: what aligns two topologies."""

INNER_EYE_CORNERS = [39, 42]
INNER_EYE_DISTANCE = 20.0
"""True heads are scaled to this distance of the inner eye corners before Chamfer distances."""

NEIGHBOURS = 5
"""Of Z5: with how many of its nearest vertices each is compared in depth."""


class HeadMesh:
    """
    A head model in NumPy, for meshes of one head at a time.

    :ivar face: indices of the vertices that `regions` calls face.
    :ivar landmark_indices: (68,) vertices of the landmarks.
    """

    def __init__(self, model: HeadModel) -> None:
        self.landmark_indices = model.landmark_indices.cpu().numpy()
        self.counts = (model.shape_count, model.expression_count)
        self._mean = model.mean.cpu().double().numpy()
        self._basis = np.concatenate([shapes.flatten(1).cpu().double().numpy()
                                      for shapes in (model.identity, model.expression)])
        self.face = np.flatnonzero(region_of(model).cpu().numpy() == REGIONS.index('face'))

    def vertices(self, name: str, shape: Array, expression: Array) -> Array:
        """
        Return vertices (V, 3) m, head frame.

        :param name: of whom, for the message.
        :raises ValueError: another number of coefficients than the model has.
        """
        counts = (len(shape), len(expression))
        if counts != self.counts:
            raise UserError(f'data: {name} has {counts[0]} + {counts[1]} coefficients, the '
                             f"network's head model {self.counts[0]} + {self.counts[1]}; prepare "
                             'the data with the head model of the network')
        coefficients = np.concatenate([shape, expression])
        return self._mean + (coefficients @ self._basis).reshape(-1, 3)

    @cached_property
    def vertex_count(self) -> int:
        """Number of vertices V."""
        return len(self._mean)


def appear(vertices: Array, rotation: Array, placement: Placement) -> Array:
    """Return vertices (V, 3) m, head frame, as x, y px and depth px (0 at the model's origin)."""
    posed = np.exp(placement.log_scale) * vertices @ rotation.T
    posed[:, :2] += placement.translation
    return posed


def true_mesh(mesh: HeadMesh, sample: Sample) -> Array | None:
    """
    Return the true vertices (V, 3) px with depth; None where a sample does not know its mesh.

    :raises ValueError: see `HeadMesh.vertices`.
    """
    if any(part is None for part in (sample.shape, sample.expression, sample.rotation,
                                     sample.placement)):
        return None
    vertices = mesh.vertices(sample.name, sample.shape, sample.expression)
    return appear(vertices, sample.rotation, sample.placement)


def answered_mesh(mesh: HeadMesh, answer: Alignment) -> Array:
    """Return the predicted vertices (V, 3) px with depth."""
    vertices = mesh.vertices('the answer', answer.shape, answer.expression)
    return appear(vertices, answer.rotation, answer.placement)


def measure_mesh(
    mesh: HeadMesh, predicted: Array, true: Array, box_size: float,
) -> dict[str, float]:
    """
    Return the errors of a mesh (V, 3) px with depth against the true one of the same topology.

    `dense_percent` and `dense_head_percent`: mean 2D distance of the face's and of all vertices
    over √(w h) of the true landmark box; `reconstruction_percent`: mean 3D distance of the face's
    vertices after a similarity, over the true 3D distance of the outer eye corners; `z5` (share,
    all vertices) and `chamfer` as `z_accuracy` and `chamfer` say.
    """
    distance = np.linalg.norm(predicted[:, :2] - true[:, :2], axis=1) / box_size
    landmarks = true[mesh.landmark_indices]
    eyes = np.linalg.norm(landmarks[LEFT_EYE_OUTER] - landmarks[RIGHT_EYE_OUTER])
    aligned = fit_similarity(predicted[mesh.face], true[mesh.face])(predicted[mesh.face])
    return {
        'dense_percent': 100 * float(distance[mesh.face].mean()),
        'dense_head_percent': 100 * float(distance.mean()),
        'reconstruction_percent': 100 * float(
            np.linalg.norm(aligned - true[mesh.face], axis=1).mean() / eyes),
        'z5': z_accuracy(predicted[:, 2], true),
        'chamfer': chamfer(predicted, true[mesh.face], predicted[mesh.landmark_indices], landmarks),
    }


def z_accuracy(predicted_depth: Array, true: Array, count: int = NEIGHBOURS) -> float:
    """
    Return how often a vertex lies before or behind its nearest neighbours as it truly does, 0…1.

    Z_n of DAD-3DHeads (Martyniuk et al., CVPR 2022).

    :param predicted_depth: (V,) of the same vertices as `true` (V, 3), in any unit.
    """
    # The nearest vertex to each is itself.
    neighbours = cKDTree(true).query(true, k=count + 1)[1][:, 1:]
    truly = true[:, None, 2] >= true[neighbours, 2]
    return float((truly == (predicted_depth[:, None] >= predicted_depth[neighbours])).mean())


def chamfer(predicted: Array, true_face: Array, predicted_68: Array, true_68: Array) -> float:
    """
    Return the mean squared distance from true vertices to the nearest predicted one.

    As in the benchmark of DAD-3DHeads: the true head is scaled so that its inner eye corners are
    `INNER_EYE_DISTANCE` apart, and the predicted one is aligned by a similarity of seven landmarks.

    :param predicted: (V, 3). :param true_face: (F, 3), another topology is fine.
    :param predicted_68: (68, 3) in the frame of the first, :param true_68: of the second.
    """
    unit = INNER_EYE_DISTANCE / np.linalg.norm(np.subtract(*true_68[INNER_EYE_CORNERS]))
    align = fit_similarity(predicted_68[SEVEN], unit * true_68[SEVEN])
    return float((cKDTree(align(predicted)).query(unit * true_face)[0] ** 2).mean())
