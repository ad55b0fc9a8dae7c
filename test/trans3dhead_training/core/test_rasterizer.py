"""The z-buffer rasteriser keeps the nearest triangle of every pixel."""

import numpy as np

from trans3dhead_training.core.rasterizer import rasterize


def test_the_nearer_triangle_hides_the_farther_one():
    square = np.array([[10.0, 10], [10, 30], [30, 30], [30, 10]])
    pixels = np.concatenate([square, square + 10])
    depth = np.array([2.0] * 4 + [1.0] * 4)
    triangles = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    for order in (triangles, triangles[::-1]):
        seen = rasterize(pixels, depth, order, (64, 64))
        owner = np.full(64 * 64, -1)
        owner[seen.pixel] = order[seen.triangle, 0] // 4
        owner = owner.reshape(64, 64)
        assert (owner[20:31, 20:31] == 1).all() and (owner[12:19, 12:19] == 0).all()
        assert owner[5, 5] == -1 and seen.outside.all()


def test_values_are_interpolated_over_a_triangle():
    pixels = np.array([[0.0, 0], [0, 40], [40, 0]])
    seen = rasterize(pixels, np.ones(3), np.array([[0, 1, 2]]), (64, 64))
    values = seen.interpolate(pixels.astype(np.float32), np.array([[0, 1, 2]]))
    np.testing.assert_allclose(values[:, 0], seen.pixel % 64, atol=1e-4)
    np.testing.assert_allclose(values[:, 1], seen.pixel // 64, atol=1e-4)
    assert len(values) == 41 * 42 // 2


def test_what_is_behind_the_camera_or_outside_the_image_is_not_drawn():
    pixels = np.array([[-30.0, -30], [-30, 90], [90, -30]])
    triangles = np.array([[0, 1, 2]])
    assert len(rasterize(pixels, np.array([1.0, 1.0, -1.0]), triangles, (8, 8)).pixel) == 0
    assert len(rasterize(pixels - 200, np.ones(3), triangles, (8, 8)).pixel) == 0
    assert len(rasterize(pixels, np.ones(3), triangles, (8, 8)).pixel) == 64
