"""Closest points and baked texels lie on their triangles."""


import numpy as np
import pytest

from trans3dhead_training.core.surface_points import closest_points, rasterize_uv


def test_the_closest_point_lies_on_the_triangle():
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    triangles = np.array([[0, 1, 2]])
    found = closest_points(np.array([[0.25, 0.25, 0.3]]), vertices, triangles)
    assert np.allclose(found.interpolate(vertices, triangles), [[0.25, 0.25, 0]])
    assert found.distance[0] == pytest.approx(0.3)


def test_closest_points_prefer_the_surface_that_faces_alike():
    square = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0.1], [1, 0, 0.1], [0, 1, 0.1]])
    triangles = np.array([[0, 1, 2], [3, 5, 4]])
    point = np.array([[0.2, 0.2, 0.06]])
    assert closest_points(point, square, triangles).triangle[0] == 1
    up = closest_points(point, square, triangles, np.array([[0, 0, 1.0]]), turned_away_cost=0.1)
    assert up.triangle[0] == 0
    assert up.distance[0] == pytest.approx(0.06)


def test_every_covered_texel_lies_on_its_triangle():
    uv = np.array([[[0.1, 0.1], [0.9, 0.1], [0.1, 0.9]]])
    texels = rasterize_uv(uv, (20, 10))
    at = texels.points.interpolate(uv[0], np.array([[0, 1, 2]]))
    assert np.allclose(at[:, 0] * 20 - 0.5, texels.column, atol=1e-5)
    assert np.allclose(at[:, 1] * 10 - 0.5, texels.row, atol=1e-5)
