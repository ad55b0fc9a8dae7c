"""
The measures of the DAD-3DHeads benchmark (Martyniuk et al., CVPR 2022), as far as ours allow.

* **Pose error** `dad_pose`: ‖I − R R_gtᵀ‖ (Frobenius) against the rotation of the camera, exactly;
  the viewing ray is not divided out of it, as it is of a sample's rotation.
* **Reprojection NME** `dad_nme_percent`: mean 2D distance of 68 landmarks over √(w h) of the set's
  box of the head, exactly.
* **Chamfer** `dad_chamfer`: `dense.chamfer` from the true face to our vertices, exactly.
* **Z5** is defined for meshes of FLAME's topology alone. `dad_z5_by_nearest` takes for each true
  vertex of the head the depth of our nearest vertex after the alignment of the Chamfer distance: a
  neighbour of the published figure, not that figure.

All but the first need to know which vertices of FLAME are landmarks, face and head. Those tables
have a licence of their own and are the user's to bring, as one .npz (`read_topology`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.landmarks import COUNT
from trans3dhead_training.core import metrics
from trans3dhead_training.core.alignment import fit_similarity
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.evaluation.dense_errors import (
    INNER_EYE_CORNERS,
    INNER_EYE_DISTANCE,
    SEVEN,
    chamfer,
    z_accuracy,
)
from trans3dhead_training.formats.dad_3dheads import VERTEX_COUNT
from trans3dhead_training.predictors import Alignment

Array = NDArray[np.float64]

SOURCE = 'dad_3dheads'
"""What the reader calls the source of its samples."""

_TO_OPTICAL = np.diag([1.0, -1.0, -1.0])
_FROM_OUR_HEAD = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])


@dataclass(frozen=True, eq=False)
class Topology:
    """
    What the vertices of FLAME are.

    :ivar landmarks: (68, 3) int, three vertices of each landmark, iBUG order, and
    :ivar weights: (68, 3), how much each counts. :ivar face, head: (F,), (H,) int.
    """

    landmarks: NDArray[np.int64]
    weights: Array
    face: NDArray[np.int64]
    head: NDArray[np.int64]

    def points(self, vertices: Array) -> Array:
        """Return the landmarks (68, D) of vertices (5023, D)."""
        return (vertices[self.landmarks] * self.weights[..., None]).sum(axis=1)


def read_topology(path: Path) -> Topology:
    """
    Read `landmarks` (68, 3), `weights` (68, 3), `face` and `head` from an .npz.

    :raises ValueError: it is missing, or is something else.
    """
    try:
        with np.load(path) as content:
            arrays = {name: content[name] for name in ('landmarks', 'weights', 'face', 'head')}
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f'flame: {path} is no .npz with landmarks, weights, face and head '
                         f'({error})') from error
    shapes = [arrays[name].shape for name in ('landmarks', 'weights')]
    indices = [arrays[name] for name in ('landmarks', 'face', 'head')]
    if shapes != [(COUNT, 3)] * 2 or not all(
            part.size and part.dtype.kind in 'iu' and 0 <= part.min() <= part.max() < VERTEX_COUNT
            for part in indices):
        raise UserError(f'flame: {path} needs landmarks and weights of shape ({COUNT}, 3), and '
                         f'indices below {VERTEX_COUNT}')
    return Topology(arrays['landmarks'].astype(int), arrays['weights'].astype(float),
                    arrays['face'].astype(int), arrays['head'].astype(int))


@dataclass(frozen=True, eq=False)
class Annotation:
    """
    What the set says about one head.

    :ivar vertices: (5023, 3) in the camera frame of `geometry`, in the set's unit.
    :ivar pixels: (5023, 2) px. :ivar rotation: (3, 3) of our head frame.
    :ivar box_size: √(w h) px of the set's box of the head.
    """

    vertices: Array
    pixels: Array
    rotation: Array
    box_size: float


def head_boxes(subset: Path) -> dict[str, tuple[float, float]]:
    """
    Return width and height px of the set's boxes by item, from `<subset>/<subset>.json`.

    :raises ValueError: the file is something else.
    """
    path = subset / f'{subset.name}.json'
    try:
        return {str(item['item_id']): (float(item['bbox'][2]), float(item['bbox'][3]))
                for item in json.loads(path.read_text(encoding='utf-8'))}
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
        raise UserError(f'data: {path} is no list of entries with item_id and bbox '
                         f'[x, y, w, h] ({error})') from error


def read_annotation(sample: Sample, height: int, box: tuple[float, float]) -> Annotation:
    """
    Read what the benchmark compares with and a sample does not keep.

    :param height: px of the picture. :param box: width and height px, of `head_boxes`.
    """
    # The reader has found this file whole, and its matrices finite.
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
    return Annotation(
        vertices=camera @ _TO_OPTICAL, pixels=pixels,
        rotation=_TO_OPTICAL @ (model_view[:3, :3] / scale) @ _FROM_OUR_HEAD,
        box_size=float(np.sqrt(box[0] * box[1])))


def benchmark(
    annotation: Annotation, topology: Topology | None, answer: Alignment, mesh: Array | None,
    mesh_68: Array | None,
) -> dict[str, float]:
    """
    Return the benchmark's figures that this answer allows, by the names at the top.

    :param mesh: (V, 3) px with depth, the predicted vertices; None where there are none.
    :param mesh_68: (68, 3), their landmarks.
    """
    figures = {}
    if answer.rotation is not None:
        figures['dad_pose'] = float(
            metrics.rotation_frobenius(answer.rotation, annotation.rotation))
    if topology is None:
        return figures
    true_pixels = topology.points(annotation.pixels)
    figures['dad_nme_percent'] = 100 * float(
        metrics.mean_point_error(answer.landmarks, true_pixels)) / annotation.box_size
    if mesh is None:
        return figures
    true_68 = topology.points(annotation.vertices)
    figures['dad_chamfer'] = chamfer(mesh, annotation.vertices[topology.face], mesh_68, true_68)
    unit = INNER_EYE_DISTANCE / np.linalg.norm(np.subtract(*true_68[INNER_EYE_CORNERS]))
    head = unit * annotation.vertices[topology.head]
    align = fit_similarity(mesh_68[SEVEN], unit * true_68[SEVEN])
    nearest = cKDTree(align(mesh)).query(head)[1]
    figures['dad_z5_by_nearest'] = z_accuracy(mesh[nearest, 2], head)
    return figures
