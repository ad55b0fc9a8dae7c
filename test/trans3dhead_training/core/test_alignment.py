"""Fits of points to points find the transform that moved them."""

import numpy as np
import pytest
import torch

from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_training.core.alignment import fit_similarity, fit_weak_perspective


def test_a_similarity_is_found_and_never_mirrors():
    points = np.random.default_rng(0).normal(size=(30, 3))
    rotation = rotation_from_euler(np.array([100.0, 20.0, -40.0]))
    moved = 2.5 * points @ rotation.T + [1, 2, 3]
    found = fit_similarity(points, moved)
    np.testing.assert_allclose(found(points), moved)
    np.testing.assert_allclose(found.rotation, rotation)
    np.testing.assert_allclose(found.translation, [1, 2, 3])
    assert found.scale == pytest.approx(2.5)
    mirrored = fit_similarity(points, points * [1, 1, -1])
    assert np.linalg.det(mirrored.rotation) == pytest.approx(1)


def test_weak_perspective_is_found_by_numpy_and_torch_alike():
    points = np.random.default_rng(0).normal(size=(3, 20, 2))
    scale, translation = np.array([2.0, 300.0, 0.5]), np.array([[1.0, -4], [0, 9], [80, 60]])
    image = scale[:, None, None] * points + translation[:, None]
    found = fit_weak_perspective(points, image)
    np.testing.assert_allclose(found[0], scale)
    np.testing.assert_allclose(found[1], translation, atol=1e-9)
    one = fit_weak_perspective(points[1], image[1])
    assert one[0] == pytest.approx(300) and one[1].shape == (2,)
    for of_numpy, of_torch in zip(
            found, fit_weak_perspective(torch.from_numpy(points), torch.from_numpy(image)),
            strict=True):
        np.testing.assert_allclose(of_torch.numpy(), of_numpy, atol=1e-9)
