"""Registration of the MakeHuman base head to the parametric head by feature points."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from trans3dhead_ros.mesh import vertex_normals
from trans3dhead_ros.types import Array, BoolArray, IndexArray
from trans3dhead_training.core.surface_points import closest_points, triangle_normals

# Corresponding points of the left half, picked in frontal renderings: (x, y) cm on the parametric
# head's source and (x, y) dm on the MakeHuman base, both x left, y up.
FRONT_FEATURES = np.array([
    (1.78, 3.27, 0.165, 7.275), (2.30, 3.70, 0.232, 7.312), (2.78, 3.97, 0.278, 7.327),
    (3.30, 4.04, 0.330, 7.334), (3.87, 3.91, 0.385, 7.329), (4.52, 3.43, 0.444, 7.288),
    (2.73, 3.05, 0.265, 7.242), (3.30, 2.98, 0.325, 7.237), (3.86, 3.04, 0.390, 7.247),
    (3.30, 4.42, 0.330, 7.363), (0.00, 4.30, 0.000, 7.320), (0.00, 2.12, 0.000, 7.108),
    (0.00, 0.20, 0.000, 6.920), (0.00, -1.00, 0.000, 6.800), (0.00, -1.50, 0.000, 6.765),
    (1.82, -0.30, 0.166, 6.910), (1.35, -0.95, 0.125, 6.845), (1.00, -0.30, 0.100, 6.873),
    (2.60, -3.55, 0.262, 6.612), (0.73, -2.42, 0.085, 6.698), (0.00, -2.48, 0.000, 6.680),
    (1.70, -2.78, 0.175, 6.665), (0.00, -3.28, 0.000, 6.613), (1.00, -3.24, 0.100, 6.617),
    (0.00, -3.44, 0.000, 6.601), (1.07, -3.44, 0.100, 6.601), (1.03, -4.30, 0.100, 6.503),
    (0.00, -4.38, 0.000, 6.490), (1.80, -4.06, 0.190, 6.535), (0.00, -5.34, 0.000, 6.410),
    (0.00, -6.30, 0.000, 6.320), (0.00, -7.57, 0.000, 6.180),
])
# The same of the left ear in a rendering from the left: (z, y).
SIDE_FEATURES = np.array([
    (-0.10, 3.50, 0.500, 7.335), (-1.58, 1.60, 0.360, 7.160), (-1.00, -0.50, 0.415, 6.960),
    (1.20, -1.90, 0.580, 6.833), (-0.20, 0.00, 0.470, 7.050), (-1.10, 2.80, 0.415, 7.280),
])


def pick_surface_points(
    vertices: Array, triangles: IndexArray, at: Array, axes: tuple[int, int], depth: int
) -> Array:
    """
    Return the surface points seen at image positions in an orthographic view along an axis.

    :param vertices: (V, 3).
    :param triangles: (T, 3).
    :param at: (P, 2) positions.
    :param axes: the two coordinates that `at` gives.
    :param depth: the axis that points towards the viewer.
    :return: (P, V) weights of the vertices; rows sum to 1.
    """
    corners = vertices[triangles]
    weights = np.zeros((len(at), len(vertices)))
    flat = corners[:, :, list(axes)]
    ab, ac = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    area = np.where(np.abs(area) < 1e-15, 1e-15, area)
    for row, point in enumerate(at):
        ap = point - flat[:, 0]
        v = (ap[:, 0] * ac[:, 1] - ap[:, 1] * ac[:, 0]) / area
        w = (ab[:, 0] * ap[:, 1] - ab[:, 1] * ap[:, 0]) / area
        inside = np.flatnonzero((v >= 0) & (w >= 0) & (v + w <= 1))
        if len(inside):
            share = np.stack([1 - v - w, v, w], -1)[inside]
            nearness = (corners[inside, :, depth] * share).sum(1)
            best = nearness.argmax()
            weights[row, triangles[inside[best]]] += share[best]
        else:
            # Beside an edge, such as a lid's: the nearest vertex, the outermost of several.
            used = np.unique(triangles)
            gap = np.linalg.norm(vertices[used][:, list(axes)] - point, axis=1)
            near = used[gap < gap.min() + 0.02 * np.ptp(vertices[:, axes[0]])]
            gap = np.linalg.norm(vertices[near][:, list(axes)] - point, axis=1)
            weights[row, near[(gap - 0.1 * vertices[near, depth]).argmin()]] = 1.0
    return weights


def feature_point_weights(
    source: Array, source_triangles: IndexArray, base: Array, base_triangles: IndexArray,
) -> tuple[Array, Array]:
    """
    Return the feature points as weights of vertices.

    :param source: (S, 3) cm, the parametric head; x left, y up, z out of the face.
    :param source_triangles: (T, 3) of the parametric head.
    :param base: (B, 3) dm, the MakeHuman base; the same axes.
    :param base_triangles: (U, 3) of the MakeHuman base.
    :return: (F, S) and (F, B).
    """
    mirror = np.array([-1.0, 1.0])
    beside = FRONT_FEATURES[:, 0] > 0
    rows_source, rows_base = [], []
    for vertices, triangles, columns, rows in (
            (source, source_triangles, slice(0, 2), rows_source),
            (base, base_triangles, slice(2, 4), rows_base)):
        front = FRONT_FEATURES[:, columns]
        rows.append(pick_surface_points(vertices, triangles, front, (0, 1), 2))
        rows.append(pick_surface_points(vertices, triangles, front[beside] * mirror, (0, 1), 2))
        side = SIDE_FEATURES[:, columns]
        rows.append(pick_surface_points(vertices, triangles, side, (2, 1), 0))
        mirrored = vertices * [-1.0, 1.0, 1.0]
        rows.append(pick_surface_points(mirrored, triangles, side, (2, 1), 0))
    return np.concatenate(rows_source), np.concatenate(rows_base)


def graph_laplacian(count: int, triangles: IndexArray) -> sparse.csr_matrix:
    """Return the (V, V) uniform graph Laplacian, rows divided by the number of neighbours."""
    i = triangles[:, [0, 1, 2, 1, 2, 0]].ravel()
    j = triangles[:, [1, 2, 0, 0, 1, 2]].ravel()
    graph = sparse.csr_matrix((np.ones(len(i)), (i, j)), (count, count))
    graph.data[:] = 1.0
    degree = np.maximum(np.asarray(graph.sum(1)).ravel(), 1)
    return sparse.eye(count, format='csr') - sparse.diags(1 / degree) @ graph


def register_nonrigid(
    moving: Array, triangles: IndexArray, outer: BoolArray, target: Array,
    target_triangles: IndexArray, points_moving: Array, points_target: Array,
    stiffness: tuple[float, ...] = (300, 100, 30, 30, 10, 10, 3, 3, 1, 1, 0.5, 0.5),
) -> Array:
    """
    Deform a mesh onto a target, smoothly and with feature points on feature points.

    Non-rigid iterative closest points: correspondences and a bilaplacian penalty of the
    displacement alternate, with decreasing stiffness.

    :param moving: (M, 3) m, vertices to deform.
    :param triangles: (T, 3) of the moving mesh.
    :param outer: (M,) vertices that lie on a surface which the target has too.
    :param target: (N, 3) m, vertices of the target.
    :param target_triangles: (U, 3) of the target.
    :param points_moving: (F, M) weights of the feature points.
    :param points_target: (F, 3) m, where they belong.
    :param stiffness: weight of the penalty in each iteration.
    :return: (M, 3) m, deformed vertices.
    :raises ValueError: the shapes do not fit.
    """
    if points_moving.shape != (len(points_target), len(moving)):
        raise ValueError(f'points_moving: expected {(len(points_target), len(moving))}, '
                         f'got {points_moving.shape}')
    smooth = graph_laplacian(len(moving), triangles)
    smooth = (smooth.T @ smooth).tocsr()
    pins = sparse.csr_matrix(points_moving)
    normals_target = triangle_normals(target, target_triangles)
    bent = moving.copy()
    for step, stiff in enumerate(stiffness):
        pull = np.zeros(len(moving))
        aim = np.zeros_like(moving)
        if step > 0:
            normals = vertex_normals(bent, triangles)
            found = closest_points(bent, target, target_triangles, normals)
            aim = found.interpolate(target, target_triangles)
            agree = (normals * normals_target[found.triangle]).sum(1)
            pull = np.where(outer & (agree > 0.5) & (found.distance < 0.02), 1.0, 0.0)
        weight = 20.0
        system = stiff * smooth + sparse.diags(pull + 1e-6) + weight * (pins.T @ pins)
        right = pull[:, None] * (aim - moving) + weight * pins.T @ (
            points_target - points_moving @ moving)
        bent = moving + splu(system.tocsc()).solve(right)
    return bent
