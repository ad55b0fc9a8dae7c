"""The head model on the project's own vertices and triangles, from a parametric head."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import fast_simplification
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.landmarks import JAW_COUNT, SELLION
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_training.core.surface_points import closest_points

IDENTITY_COUNT = 50
UNDOCUMENTED_EXPRESSIONS = frozenset(
    {'PupilDilate_L', 'PupilDilate_R', 'cheekRaiser_L', 'cheekRaiser_R'})
SKIN_VERTICES = 11248
"""The source's vertices below this index are skin; the others are sockets, teeth and lashes."""
EYEBALL_GROUPS = (('M_ScleraLeft', 'M_IrisLeft'), ('M_ScleraRight', 'M_IrisRight'))
NECK_CUT_CM = -12.5
"""Skin below this height of the source's mean is shoulder, not head."""
CHIN_DOWN_DEG = 1.48
"""Turn of the source's mean that makes its zero pitch the one of 300W-LP (`measure_chin_down`)."""


@dataclass(frozen=True)
class Resampling:
    """The project's vertices as points on a source mesh."""

    corners: np.ndarray
    """(V, 3) source vertices."""
    weights: np.ndarray
    """(V, 3) barycentric weights, rows sum to 1."""
    triangles: np.ndarray
    """(T, 3) of the project's vertices."""

    def apply(self, field: np.ndarray) -> np.ndarray:
        """Interpolate a field (..., source vertices, 3) at the project's vertices (..., V, 3)."""
        return np.einsum('...vkc,vk->...vc', field[..., self.corners, :], self.weights)


def simplify(vertices: np.ndarray, triangles: np.ndarray, target_vertices: int) -> Resampling:
    """Resample a mesh with about `target_vertices` on its surface, by quadric error."""
    used, compact = np.unique(triangles, return_inverse=True)
    compact = compact.reshape(-1, 3)
    reduction = 1.0 - 2.0 * target_vertices / len(compact)
    points, faces = fast_simplification.simplify(
        vertices[used].astype(np.float32), compact.astype(np.int32), reduction)
    found = closest_points(points.astype(float), vertices[used], compact, candidates=24)
    return Resampling(used[compact[found.triangle]], found.weights, faces.astype(np.int64))


def pin(sampling: Resampling, vertices: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Move the nearest vertex onto each source vertex in `kept`; return the moved vertices."""
    points = sampling.apply(vertices)
    pinned = np.full(len(kept), -1)
    taken: set[int] = set()
    for row, source in enumerate(kept):
        for candidate in np.argsort(np.linalg.norm(points - vertices[source], axis=1)):
            if int(candidate) not in taken:
                break
        taken.add(int(candidate))
        pinned[row] = candidate
        sampling.corners[candidate] = source
        sampling.weights[candidate] = (1.0, 0.0, 0.0)
    return pinned


def measure_chin_down(mean: np.ndarray, landmarks: np.ndarray, reference: np.ndarray) -> float:
    """
    Return the pitch of the similarity that aligns points 17-67 to a reference head.

    :param mean: (N, 3) source mean.
    :param landmarks: (68,) its vertices.
    :param reference: (68, 3) points of a head that defines zero pitch.
    :return: degrees.
    """
    own, other = mean[landmarks[17:]], reference[17:]
    turn, _ = Rotation.align_vectors(other - other.mean(0), own - own.mean(0))
    return float(turn.as_euler('xyz', degrees=True)[0])


def to_head_frame(field_cm: np.ndarray) -> np.ndarray:
    """Convert (..., 3) centimetres (x left, y up, z out) to the head frame in metres."""
    turned = field_cm @ Rotation.from_euler('x', CHIN_DOWN_DEG, degrees=True).as_matrix().T
    return turned[..., [2, 0, 1]] / 100.0


def contour_candidates(
    vertices: np.ndarray, landmarks: np.ndarray, count: int = 8,
) -> np.ndarray:
    """
    Return the vertices over which each jaw point can slide on the visible contour.

    They follow the skin at the height of the jaw point, from it towards the middle of the face.

    :param vertices: (V, 3) mean skin in the head frame.
    :param landmarks: (68,) vertices.
    :param count: candidates of each point.
    :return: (17, count) vertices.
    """
    found = np.empty((JAW_COUNT, count), dtype=np.int64)
    front = np.flatnonzero(vertices[:, 0] > vertices[landmarks[0], 0] - 0.005)
    for row, jaw in enumerate(landmarks[:JAW_COUNT]):
        start = vertices[jaw]
        side = np.sign(start[1]) if row != JAW_COUNT // 2 else 0.0
        level = front[(np.abs(vertices[front, 2] - start[2]) < 0.008)
                      & (vertices[front, 1] * side <= abs(start[1]) + 0.002)
                      & (vertices[front, 1] * side > 0.1 * abs(start[1]))]
        # In polar angle about the vertical, the skin at one height is a curve without folds.
        angle = np.arctan2(np.abs(vertices[level, 1]), vertices[level, 0] + 0.08)
        begin = np.arctan2(abs(start[1]), start[0] + 0.08)
        steps = np.linspace(begin, 0.3 * begin, count)
        found[row, 0] = jaw
        for column in range(1, count):
            if len(level) == 0 or side == 0.0:
                found[row, column] = jaw
                continue
            gap = np.hypot((angle - steps[column]) * 0.08, vertices[level, 2] - start[2])
            found[row, column] = level[gap.argmin()]
    return found


def build_head_model(
    source: Path, skin_vertices: int = 3200, eye_vertices: int = 120,
) -> HeadModule:
    """
    Build the head model from a parametric head.

    :param source: ict_facekit.npz.
    :param skin_vertices: approximate number.
    :param eye_vertices: approximate number for each eyeball.
    :return: the model.
    :raises UserError: the file is missing or incomplete.
    """
    return sample_head(source, skin_vertices, eye_vertices)[0]


def sample_head(
    source: Path, skin_vertices: int = 3200, eye_vertices: int = 120,
) -> tuple[HeadModule, Resampling]:
    """
    Build the head model and return it with its sampling of the source's mesh.

    The sampling, applied to another head of the source's topology, gives that head's vertices in
    the order of the model: exact labels for heads outside the span of its modes.

    :param source: ict_facekit.npz.
    :param skin_vertices: approximate number.
    :param eye_vertices: approximate number for each eyeball.
    :return: the model and the sampling.
    :raises UserError: the file is missing or incomplete.
    """
    if not source.is_file():
        raise UserError(f'head model source: no file {source}; set TRANS3DHEAD_DATA or --source')
    with np.load(source, allow_pickle=False) as archive:
        try:
            data = {key: archive[key] for key in (
                'mean', 'identity', 'expression', 'expression_names', 'triangles',
                'triangle_group', 'group_names', 'landmarks68')}
        except KeyError as error:
            raise UserError(f'head model source: {source} has no array {error}') from None
    mean = data['mean'].astype(float)
    triangles = data['triangles']
    groups = [str(name).removeprefix('usemtl:') for name in data['group_names']]

    skin = triangles[(triangles < SKIN_VERTICES).all(1)]
    skin = skin[(mean[skin, 1] > NECK_CUT_CM).all(1)]
    parts = [simplify(mean, skin, skin_vertices)]
    landmark_indices = pin(parts[0], mean, data['landmarks68'])
    for names in EYEBALL_GROUPS:
        wanted = [groups.index(name) for name in names]
        ball = triangles[np.isin(data['triangle_group'], wanted)]
        parts.append(simplify(mean, ball, eye_vertices))
    offsets = np.cumsum([0] + [len(part.corners) for part in parts[:-1]])
    sampling = Resampling(
        np.concatenate([part.corners for part in parts]),
        np.concatenate([part.weights for part in parts]),
        np.concatenate([part.triangles + offset
                        for part, offset in zip(parts, offsets, strict=True)]))

    names = [str(name) for name in data['expression_names']]
    documented = [i for i, name in enumerate(names) if name not in UNDOCUMENTED_EXPRESSIONS]
    mean_head = to_head_frame(sampling.apply(mean))
    identity = to_head_frame(sampling.apply(data['identity'][:IDENTITY_COUNT].astype(float)))
    expression = to_head_frame(sampling.apply(data['expression'][documented].astype(float)))
    sellion = landmark_indices[SELLION]
    contour = contour_candidates(
        mean_head[:len(parts[0].corners)] - mean_head[sellion], landmark_indices)
    tensors = (mean_head - mean_head[sellion], identity - identity[:, sellion, None], expression)
    model = HeadModule(
        *(torch.from_numpy(array).float() for array in tensors),
        torch.from_numpy(sampling.triangles), torch.from_numpy(landmark_indices).long(),
        torch.from_numpy(contour),
        [names[i] for i in documented])
    return model, sampling


def save_head_model_npz(model: HeadModule, path: Path) -> None:
    """Write the model as .npz, the input of a training; checkpoints contain their own copy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: buffer.numpy() for name, buffer in model.named_buffers()}
    np.savez_compressed(path, expression_names=np.array(model.expression_names), **arrays)


def load_head_model_npz(path: Path) -> HeadModule:
    """
    Read a file of `save_head_model_npz`.

    :param path: the file.
    :return: the model.
    :raises UserError: the file is missing.
    """
    if not Path(path).is_file():
        raise UserError(f'head model: no file {path}; make it with `trans3dhead prepare '
                        'head-model`')
    with np.load(path, allow_pickle=False) as archive:
        state = {key: torch.from_numpy(archive[key])
                 for key in archive.files if key != 'expression_names'}
        names = [str(name) for name in archive['expression_names']]
    return HeadModule.from_state(state, names)
