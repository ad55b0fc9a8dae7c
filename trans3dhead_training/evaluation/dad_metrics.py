"""
The metrics of the DAD-3DHeads benchmark (Martyniuk et al., CVPR 2022).

* **Pose error** `dad_pose`: ‖I − R R_gtᵀ‖ (Frobenius) against the rotation in the camera frame, as
  published; a sample's rotation has the viewing ray divided out, this one has not.
* **Reprojection NME** `dad_nme_percent`: mean 2D distance of 68 landmarks over √(w h) of the
  dataset's head box, as published.
* **Chamfer** `dad_chamfer`: `chamfer` from the true face to our vertices, as published.
* **Z5** is defined for meshes of FLAME's topology only. `dad_z5_by_nearest` takes for each true
  head vertex the depth of our nearest vertex after the alignment of the Chamfer distance: similar
  to the published metric, but not comparable with it.

All but the first need the vertices of FLAME that are landmarks, face and head. Those tables have
their own licence; users provide them as one .npz (`read_topology`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.landmarks import COUNT
from trans3dhead_ros.types import Array, IndexArray
from trans3dhead_training.core import metrics
from trans3dhead_training.core.alignment import fit_similarity
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.evaluation.mesh_errors import (
    ALIGNMENT_LANDMARKS,
    INNER_EYE_CORNERS,
    INNER_EYE_DISTANCE,
    chamfer,
    z_accuracy,
)
from trans3dhead_training.formats.dad_3dheads import VERTEX_COUNT
from trans3dhead_training.predictors import Alignment

SOURCE = 'dad_3dheads'
"""`Sample.source` of this dataset."""

_TO_OPTICAL = np.diag([1.0, -1.0, -1.0])
_FROM_OUR_HEAD = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])


@dataclass(frozen=True, eq=False)
class FlameTopology:
    """Which vertices of FLAME are landmarks, face and head."""

    landmarks: IndexArray
    """(68, 3) the three vertices around each landmark, iBUG order."""
    weights: Array
    """(68, 3) their barycentric weights."""
    face: IndexArray
    """(F,) vertices."""
    head: IndexArray
    """(H,) vertices."""

    def landmark_points(self, vertices: Array) -> Array:
        """Return the landmarks (68, D) of vertices (5023, D)."""
        return (vertices[self.landmarks] * self.weights[..., None]).sum(axis=1)


def read_topology(path: Path) -> FlameTopology:
    """
    Read `landmarks` (68, 3), `weights` (68, 3), `face` and `head` from an .npz.

    :param path: the file.
    :return: the topology.
    :raises UserError: the file is missing, or its content is not as described.
    """
    try:
        with np.load(path) as content:
            arrays = {name: content[name] for name in ('landmarks', 'weights', 'face', 'head')}
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f'flame: {path} is not an .npz file with landmarks, weights, face and '
                        f'head ({error})') from error
    shapes = [arrays[name].shape for name in ('landmarks', 'weights')]
    indices = [arrays[name] for name in ('landmarks', 'face', 'head')]
    if shapes != [(COUNT, 3)] * 2 or not all(
            part.size and part.dtype.kind in 'iu' and 0 <= part.min() <= part.max() < VERTEX_COUNT
            for part in indices):
        raise UserError(f'flame: {path} needs landmarks and weights of shape ({COUNT}, 3), and '
                        f'indices below {VERTEX_COUNT}')
    return FlameTopology(arrays['landmarks'].astype(int), arrays['weights'].astype(float),
                         arrays['face'].astype(int), arrays['head'].astype(int))


@dataclass(frozen=True, eq=False)
class DadAnnotation:
    """The labels of one head."""

    vertices: Array
    """(5023, 3) in the camera optical frame, in the dataset's unit."""
    pixels: Array
    """(5023, 2) px."""
    rotation: Array
    """(3, 3) our head frame → camera optical frame."""
    box_size: float
    """√(w h) px of the dataset's head box."""


def read_head_boxes(subset: Path) -> dict[str, tuple[float, float]]:
    """
    Read the sizes of the head boxes from `<subset>/<subset>.json`.

    :param subset: folder.
    :return: width and height px by item.
    :raises UserError: the file is missing or malformed.
    """
    path = subset / f'{subset.name}.json'
    try:
        return {str(item['item_id']): (float(item['bbox'][2]), float(item['bbox'][3]))
                for item in json.loads(path.read_text(encoding='utf-8'))}
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
        raise UserError(f'data: {path} is not a list of entries with item_id and bbox '
                        f'[x, y, w, h] ({error})') from error


def read_annotation(sample: Sample, height: int, box: tuple[float, float]) -> DadAnnotation:
    """
    Read the labels that the benchmark needs and a sample does not hold.

    :param sample: as the dataset's reader returns it.
    :param height: px of the image.
    :param box: width and height px, of `read_head_boxes`.
    :return: the labels.
    """
    # The reader has checked this file and its matrices already.
    path = sample.picture.parents[1] / 'annotations' / f'{sample.name}.json'
    content = json.loads(path.read_text(encoding='utf-8'))
    vertices, model_view, projection = (np.array(content[name], float) for name in (
        'vertices', 'model_view_matrix', 'projection_matrix'))
    camera = vertices @ model_view[:3, :3].T + model_view[:3, 3]
    clip = camera @ projection[:, :3].T + projection[:, 3]
    pixels = clip[:, :2] / clip[:, 3:]
    pixels[:, 1] = height - pixels[:, 1]
    # A uniform scale is divided out, as in the reader.
    scale = np.cbrt(np.linalg.det(model_view[:3, :3]))
    return DadAnnotation(
        vertices=camera @ _TO_OPTICAL, pixels=pixels,
        rotation=_TO_OPTICAL @ (model_view[:3, :3] / scale) @ _FROM_OUR_HEAD,
        box_size=float(np.sqrt(box[0] * box[1])))


def compute_dad_metrics(
    annotation: DadAnnotation, topology: FlameTopology | None, prediction: Alignment,
    mesh: Array | None, mesh_68: Array | None,
) -> dict[str, float]:
    """
    Compute the metrics of the benchmark that a prediction allows.

    :param annotation: the labels.
    :param topology: None computes the pose error only.
    :param prediction: for one head.
    :param mesh: (V, 3) px with depth, the predicted vertices; None where there are none.
    :param mesh_68: (68, 3), their landmarks.
    :return: metrics by the names that the module's docstring states.
    """
    figures = {}
    if prediction.rotation is not None:
        figures['dad_pose'] = float(
            metrics.rotation_frobenius(prediction.rotation, annotation.rotation))
    if topology is None:
        return figures
    true_points = topology.landmark_points(annotation.pixels)
    figures['dad_nme_percent'] = 100 * float(
        metrics.mean_point_error(prediction.landmarks, true_points)) / annotation.box_size
    if mesh is None:
        return figures
    true_68 = topology.landmark_points(annotation.vertices)
    figures['dad_chamfer'] = chamfer(mesh, annotation.vertices[topology.face], mesh_68, true_68)
    unit = INNER_EYE_DISTANCE / np.linalg.norm(np.subtract(*true_68[INNER_EYE_CORNERS]))
    head = unit * annotation.vertices[topology.head]
    align = fit_similarity(mesh_68[ALIGNMENT_LANDMARKS], unit * true_68[ALIGNMENT_LANDMARKS])
    nearest = cKDTree(align(mesh)).query(head)[1]
    figures['dad_z5_by_nearest'] = z_accuracy(mesh[nearest, 2], head)
    return figures
