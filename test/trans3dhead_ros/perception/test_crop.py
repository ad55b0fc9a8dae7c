"""Square crops: a pixel of the crop shows the pixel of the image that the map says."""

import numpy as np
import pytest

from trans3dhead_ros.perception.crop import (
    crop_roll,
    crop_square,
    crop_window,
    landmark_box,
    roll_matrix,
    to_crop_units,
    to_pixels,
    upright_box,
)


def ramps(height: int, width: int) -> np.ndarray:
    """Return an image whose first two channels are x / 4 and y / 4."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x / 4, y / 4, 0 * x], -1).round().astype(np.uint8)


@pytest.mark.parametrize('centre', [(300.3, 250.7), (401.5, 298.25)])
@pytest.mark.parametrize(('side', 'size'), [
    (100, 128), (128, 128), (200, 128), (230, 64), (450, 64)])
def test_a_crop_agrees_with_its_coordinate_map(centre, side, size):
    crop = crop_square(ramps(700, 900), np.array(centre), side, size)
    assert crop.shape == (size, size, 3) and crop.dtype == np.uint8
    units = (2 * np.arange(size) + 1) / size - 1
    pixels = to_pixels(np.stack([units, units], -1), centre, side)
    np.testing.assert_allclose(crop[size // 2, :, 0], pixels[:, 0] / 4, atol=0.9)
    np.testing.assert_allclose(crop[:, size // 2, 1], pixels[:, 1] / 4, atol=0.9)


@pytest.mark.parametrize('roll', [60.0, 90.0, 180.0, -120.0])
@pytest.mark.parametrize(('side', 'size'), [(100, 128), (230, 64), (400, 64)])
def test_a_turned_crop_shows_the_image_turned_about_its_centre(side, size, roll):
    centre = np.array([401.5, 298.25])
    crop = crop_square(ramps(700, 900), centre, side, size, roll)
    units = (2 * np.arange(size) + 1) / size - 1
    across = np.stack([units, np.full(size, 1 / size)], -1)
    pixels = to_pixels(across @ roll_matrix(roll).T, centre, side)
    np.testing.assert_allclose(crop[size // 2, :, :2], pixels / 4, atol=1.1)


def test_crops_rotate_with_strongly_tilted_heads_and_do_not_flip_back_and_forth():
    leaning = np.array([0.0, 39.0, -41.0, 90.0, 179.0, -179.0])
    np.testing.assert_allclose(crop_roll(leaning), [0, 0, -60, 120, 180, -180])
    assert crop_roll(np.array([25.0]), np.array([60.0])) == 60.0
    assert crop_roll(np.array([15.0]), np.array([60.0])) == 0.0
    assert crop_roll(np.array([-170.0]), np.array([180.0])) == 180.0


def test_the_box_of_a_turned_crop_holds_the_points_upright():
    points = np.random.default_rng(0).normal(size=(2, 68, 2)) * [30.0, 10.0] + [200.0, 100.0]
    rolls = np.array([0.0, 90.0])
    tight, turned = upright_box(points, rolls)
    np.testing.assert_array_equal(tight, landmark_box(points[0]))
    x0, y0, x1, y1 = landmark_box(points[1])
    np.testing.assert_allclose(0.5 * (turned[:2] + turned[2:]), [(x0 + x1) / 2, (y0 + y1) / 2])
    np.testing.assert_allclose(turned[2:] - turned[:2], [y1 - y0, x1 - x0])


def test_outside_the_image_is_black():
    white = np.full((80, 80, 3), 255, np.uint8)
    crop = crop_square(white, np.array([0.0, 40.0]), 60.0, 64)
    assert (crop[:, :31] == 0).all() and (crop[:, 33:] == 255).all()
    assert (crop_square(white, np.array([500.0, 500.0]), 60.0, 64) == 0).all()
    assert (crop_square(white, np.array([5000.0, 40.0]), 600.0, 64) == 0).all()


@pytest.mark.parametrize('side', [160.0, 248.0, 256.0, 512.0])
def test_shrinking_averages_instead_of_skipping_pixels(side):
    checks = np.zeros((512, 512, 3), np.uint8)
    checks[::2, ::2] = checks[1::2, 1::2] = 255
    crop = crop_square(checks, np.array([255.5, 255.5]), side, 64)
    assert np.abs(crop[4:-4, 4:-4].astype(int) - 128).max() <= 2


def test_crop_units_and_pixels_are_inverse():
    points = np.random.default_rng(0).normal(size=(5, 68, 2))
    pixels = to_pixels(points, (120.0, 80.5), 64.0)
    np.testing.assert_allclose(to_crop_units(pixels, (120.0, 80.5), 64.0), points, atol=1e-12)
    np.testing.assert_allclose(to_pixels(np.array([-1.0, 1.0]), (10.0, 20.0), 8.0), [6.0, 24.0])


def test_the_window_follows_the_longer_side_of_the_box():
    centre, side = crop_window(np.array([10.0, 20.0, 50.0, 100.0]), 1.5)
    np.testing.assert_allclose(centre, [30.0, 60.0])
    assert side == 120.0


def test_the_landmark_box_is_tight_and_ignores_depth():
    points = np.array([[[3.0, 4.0, -99.0], [5.0, 1.0, 99.0]]])
    np.testing.assert_allclose(landmark_box(points), [[3.0, 1.0, 5.0, 4.0]])
