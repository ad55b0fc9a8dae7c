"""Normals of triangle meshes."""

import numpy as np
import pytest

from trans3dhead_ros.mesh import vertex_normals

# A tetrahedron, counter-clockwise seen from outside, and a vertex that no triangle uses.
VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [5, 5, 5]], float)
TRIANGLES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def test_normals_point_outwards_and_have_unit_length():
    normals = vertex_normals(VERTICES, TRIANGLES)
    outwards = VERTICES[:4] - VERTICES[:4].mean(axis=0)
    assert (np.einsum('vi,vi->v', normals[:4], outwards) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(normals[:4], axis=1), 1.0)
    np.testing.assert_allclose(normals[0], -np.ones(3) / np.sqrt(3))


def test_large_triangles_weigh_more():
    vertices = np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0], [0, 0, 1]], float)
    # Areas 8 (normal z) and 2 (normal x) meet at the origin.
    normals = vertex_normals(vertices, np.array([[0, 1, 2], [0, 2, 3]]))
    np.testing.assert_allclose(normals[0], np.array([2.0, 0.0, 8.0]) / np.sqrt(68.0))


def test_a_vertex_without_triangle_has_a_zero_normal():
    degenerate = np.concatenate([TRIANGLES, [[4, 4, 4]]])
    np.testing.assert_array_equal(vertex_normals(VERTICES, degenerate)[4], 0.0)


def test_several_meshes_of_one_topology_are_processed_at_once():
    meshes = np.stack([VERTICES, 2.0 * VERTICES, VERTICES[:, [0, 2, 1]]])[None]
    normals = vertex_normals(meshes, TRIANGLES)
    assert normals.shape == meshes.shape
    for mesh, own in zip(meshes[0], normals[0], strict=True):
        np.testing.assert_allclose(own, vertex_normals(mesh, TRIANGLES))


@pytest.mark.parametrize(('vertices', 'triangles', 'name'), [
    (np.zeros((4, 2)), TRIANGLES, 'vertices'), (np.zeros(3), TRIANGLES, 'vertices'),
    (VERTICES, np.zeros((2, 4), int), 'triangles')])
def test_other_shapes_are_refused(vertices, triangles, name):
    with pytest.raises(ValueError, match=name):
        vertex_normals(vertices, triangles)
