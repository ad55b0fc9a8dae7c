"""
Errors of a predicted mesh against a true one, of the same or of another topology.

The true mesh is the predictor's own head model with the coefficients that a sample has (prepared
shards do), projected by weak perspective. Coefficients of another model cannot be used.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.landmarks import LEFT_EYE_OUTER, RIGHT_EYE_OUTER
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_ros.types import Array
from trans3dhead_training.core.alignment import fit_similarity
from trans3dhead_training.core.head_regions import REGIONS, region_of
from trans3dhead_training.data.sample import Placement, Sample
from trans3dhead_training.predictors import Alignment

ALIGNMENT_LANDMARKS = [36, 39, 42, 45, 33, 48, 54]
"""Eye corners, base of the nose and mouth corners, by which two topologies are aligned."""

INNER_EYE_CORNERS = [39, 42]
INNER_EYE_DISTANCE = 20.0
"""True heads are scaled to this distance of the inner eye corners before Chamfer distances."""

NEIGHBOURS = 5
"""Number of nearest vertices with which Z5 compares each vertex in depth."""


class HeadMesh:
    """
    A head model in NumPy, for the meshes of one head at a time.

    Example::

        mesh = HeadMesh(predictor.head_model)
        vertices = mesh.vertices('the mean head', np.zeros(50), np.zeros(53))

    :param model: the head model.
    """

    def __init__(self, model: HeadModule) -> None:
        self.landmark_indices = model.landmark_indices.cpu().numpy()
        self.counts = (model.shape_count, model.expression_count)
        self._mean = model.mean.cpu().double().numpy()
        self._basis = np.concatenate([shapes.flatten(1).cpu().double().numpy()
                                      for shapes in (model.identity, model.expression)])
        self.face = np.flatnonzero(region_of(model).cpu().numpy() == REGIONS.index('face'))

    def vertices(self, name: str, shape: Array, expression: Array) -> Array:
        """
        Compute the vertices of a head.

        :param name: of the sample, for the error message.
        :param shape: (I,) identity coefficients.
        :param expression: (E,) expression coefficients.
        :return: (V, 3) m, head frame.
        :raises UserError: the model has another number of coefficients.
        """
        counts = (len(shape), len(expression))
        if counts != self.counts:
            raise UserError(f'data: {name} has {counts[0]} + {counts[1]} coefficients, the '
                            f"network's head model {self.counts[0]} + {self.counts[1]}; prepare "
                            'the data with the head model of the network')
        coefficients = np.concatenate([shape, expression])
        return self._mean + (coefficients @ self._basis).reshape(-1, 3)


def project_vertices(vertices: Array, rotation: Array, placement: Placement) -> Array:
    """
    Project vertices by weak perspective.

    :param vertices: (V, 3) m, head frame.
    :param rotation: (3, 3) head frame → camera optical frame.
    :param placement: scale and translation.
    :return: (V, 3) x, y px and depth px (0 at the model's origin).
    """
    posed = np.exp(placement.log_scale) * vertices @ rotation.T
    posed[:, :2] += placement.translation
    return posed


def true_mesh(mesh: HeadMesh, sample: Sample) -> Array | None:
    """
    Return the true vertices of a sample.

    :param mesh: the head model.
    :param sample: the face.
    :return: (V, 3) px with depth; None where the sample does not state its mesh.
    :raises UserError: see `HeadMesh.vertices`.
    """
    if any(part is None for part in (sample.shape, sample.expression, sample.rotation,
                                     sample.placement)):
        return None
    vertices = mesh.vertices(sample.name, sample.shape, sample.expression)
    return project_vertices(vertices, sample.rotation, sample.placement)


def predicted_mesh(mesh: HeadMesh, prediction: Alignment) -> Array:
    """Return the predicted vertices (V, 3) px with depth."""
    vertices = mesh.vertices('the prediction', prediction.shape, prediction.expression)
    return project_vertices(vertices, prediction.rotation, prediction.placement)


def compute_mesh_errors(
    mesh: HeadMesh, predicted: Array, true: Array, box_size: float,
) -> dict[str, float]:
    """
    Compute the errors of a mesh against the true one of the same topology.

    `dense_percent` and `dense_head_percent`: mean 2D distance of the face's and of all vertices
    over √(w h) of the true landmark box; `reconstruction_percent`: mean 3D distance of the face's
    vertices after a similarity, over the true 3D distance of the outer eye corners; `z5` (share,
    all vertices) and `chamfer`: see `z_accuracy` and `chamfer`.

    :param mesh: the head model.
    :param predicted: (V, 3) px with depth.
    :param true: (V, 3) px with depth.
    :param box_size: √(w h) px of the true landmark box.
    :return: errors by name.
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
    Return how often a vertex is correctly in front of or behind its nearest neighbours, 0…1.

    Z_n of DAD-3DHeads (Martyniuk et al., CVPR 2022).

    :param predicted_depth: (V,) of the same vertices as `true`, in any unit.
    :param true: (V, 3).
    :param count: number of neighbours.
    :return: share of the pairs.
    """
    # The nearest vertex to each is itself.
    neighbours = cKDTree(true).query(true, k=count + 1)[1][:, 1:]
    behind = true[:, None, 2] >= true[neighbours, 2]
    return float((behind == (predicted_depth[:, None] >= predicted_depth[neighbours])).mean())


def chamfer(predicted: Array, true_face: Array, predicted_68: Array, true_68: Array) -> float:
    """
    Return the mean squared distance from true vertices to the nearest predicted one.

    As in the benchmark of DAD-3DHeads: the true head is scaled so that its inner eye corners are
    `INNER_EYE_DISTANCE` apart, and the predicted one is aligned by a similarity of seven landmarks.

    :param predicted: (V, 3).
    :param true_face: (F, 3), of any topology.
    :param predicted_68: (68, 3) in the frame of `predicted`.
    :param true_68: (68, 3) in the frame of `true_face`.
    :return: squared units in which the inner eye corners are `INNER_EYE_DISTANCE` apart.
    """
    unit = INNER_EYE_DISTANCE / np.linalg.norm(np.subtract(*true_68[INNER_EYE_CORNERS]))
    align = fit_similarity(predicted_68[ALIGNMENT_LANDMARKS], unit * true_68[ALIGNMENT_LANDMARKS])
    return float((cKDTree(align(predicted)).query(unit * true_face)[0] ** 2).mean())
