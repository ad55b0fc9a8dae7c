"""Cameras: the map between metres and pixels, and the errors of a wrong calibration."""

import cv2
import numpy as np
import pytest

from trans3dhead_ros import Camera

K = np.array([[610.0, 0.0, 322.5], [0.0, 605.0, 241.0], [0.0, 0.0, 1.0]])
SIZE = (640, 480)
LENSES = [
    ('plumb_bob', ()),
    ('plumb_bob', (-0.28, 0.09, 0.001, -0.0005, -0.01)),
    ('rational_polynomial', (0.2, -0.4, 0.0005, 0.0003, 0.1, 0.3, -0.35, 0.05)),
    ('equidistant', (0.02, -0.01, 0.004, -0.001)),
    ('equidistant', ()),
]


@pytest.mark.parametrize(('model', 'coefficients'), LENSES)
def test_unprojecting_a_projection_returns_the_point(model, coefficients):
    camera = Camera(K, coefficients, size=SIZE, model=model)
    rng = np.random.default_rng(3)
    points = np.concatenate([rng.uniform(-0.4, 0.4, (5, 20, 2)), np.ones((5, 20, 1))], -1)
    points *= rng.uniform(0.3, 4.0, (5, 20, 1))
    pixels = camera.project(points)
    assert pixels.shape == (5, 20, 2)
    np.testing.assert_allclose(camera.unproject(pixels, points[..., 2]), points, atol=1e-6)


def test_a_pinhole_projects_by_similar_triangles():
    camera = Camera(K, size=SIZE)
    np.testing.assert_allclose(camera.project([0.2, -0.1, 2.0]), [322.5 + 61.0, 241.0 - 30.25])


def test_distortion_bends_towards_the_centre_for_a_barrel_lens():
    straight = Camera(K, size=SIZE).project([0.4, 0.3, 1.0])
    barrel = Camera(K, (-0.2, 0, 0, 0), size=SIZE).project([0.4, 0.3, 1.0])
    assert np.linalg.norm(barrel - K[:2, 2]) < np.linalg.norm(straight - K[:2, 2]) - 5.0
    np.testing.assert_allclose(
        Camera(K, (-0.2, 0, 0, 0), size=SIZE).undistort(barrel), straight, atol=1e-4)


def test_the_equidistant_model_is_the_one_of_opencv_fisheye():
    coefficients = np.array([0.02, -0.01, 0.004, -0.001])
    points = np.array([[0.8, 0.1, 1.0], [-1.5, 0.7, 1.0]])
    expected, _ = cv2.fisheye.projectPoints(
        points[:, None], np.zeros(3), np.zeros(3), K, coefficients)
    camera = Camera(K, coefficients, size=SIZE, model='equidistant')
    np.testing.assert_allclose(camera.project(points), expected[:, 0])


def test_the_field_of_view_is_the_horizontal_one_between_the_image_edges():
    camera = Camera.from_fov((640, 480), 60.0)
    left, right = camera.rays([[-0.5, 239.5], [639.5, 239.5]])
    np.testing.assert_allclose(np.rad2deg(np.arctan([left[0], right[0]])), [-30.0, 30.0])
    np.testing.assert_allclose(camera.project([0.0, 0.0, 1.0]), [319.5, 239.5])
    assert camera.K[0, 0] == camera.K[1, 1]


def test_a_point_behind_the_camera_has_no_pixel():
    pixels = Camera(K, size=SIZE).project([[0.0, 0.0, -1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert np.isnan(pixels[:2]).all() and np.isfinite(pixels[2]).all()


def test_a_pixel_outside_the_range_of_the_distortion_model_has_no_ray():
    camera = Camera(K, (-0.3, 0, 0, 0), size=SIZE)
    assert np.isnan(camera.rays([4000.0, 3000.0])).all()
    assert np.isfinite(camera.rays([400.0, 300.0])).all()


def test_no_points_give_no_pixels():
    camera = Camera(K, size=SIZE)
    assert camera.project(np.zeros((0, 3))).shape == (0, 2)
    assert camera.rays(np.zeros((0, 2))).shape == (0, 2)


def test_a_camera_cannot_be_changed_through_its_arrays():
    matrix = K.copy()
    camera = Camera(matrix, size=SIZE)
    matrix[0, 0] = 1.0
    assert camera.K[0, 0] == 610.0
    with pytest.raises(ValueError, match='read-only'):
        camera.K[0, 0] = 1.0


def changed(row, column, value):
    matrix = K.copy()
    matrix[row, column] = value
    return matrix


@pytest.mark.parametrize(('arguments', 'named'), [
    ({'K': changed(0, 0, np.nan)}, '^K: .*finite'),
    ({'K': changed(1, 2, np.inf)}, '^K: .*finite'),
    ({'K': changed(0, 0, 0.0)}, '^K: .*not calibrated'),
    ({'K': changed(1, 1, -5.0)}, '^K: .*positive'),
    ({'K': changed(0, 1, 12.0)}, '^K: expected'),
    ({'K': np.eye(4)}, '^K: .*shape'),
    ({'K': K.ravel()}, '^K: .*shape'),
    ({'K': 'calibration.yaml'}, '^K: expected numbers'),
    ({'D': (0.1, 0.2, 0.3)}, '^D: plumb_bob takes'),
    ({'D': (0.1, np.nan, 0.0, 0.0)}, '^D: .*finite'),
    ({'D': (0.1,) * 5, 'model': 'equidistant'}, '^D: equidistant takes'),
    ({'D': (0.1,) * 5, 'model': 'rational_polynomial'}, '^D: rational_polynomial takes'),
    ({'size': (640, 0)}, '^size'),
    ({'size': (640.5, 480)}, '^size'),
    ({'size': 640}, '^size'),
    ({'size': (640, np.nan)}, '^size'),
    ({'model': 'pinhole'}, '^model: .*plumb_bob'),
])
def test_a_wrong_calibration_is_named(arguments, named):
    with pytest.raises(ValueError, match=named):
        Camera(**{'K': K, 'size': SIZE, **arguments})


@pytest.mark.parametrize('degrees', [0.0, 180.0, -20.0, np.nan, None, 'wide'])
def test_an_impossible_field_of_view_is_named(degrees):
    with pytest.raises(ValueError, match='^degrees'):
        Camera.from_fov(SIZE, degrees)


def test_points_of_a_wrong_shape_are_named():
    with pytest.raises(ValueError, match='^points'):
        Camera(K, size=SIZE).project(np.zeros((4, 2)))
    with pytest.raises(ValueError, match='^pixels'):
        Camera(K, size=SIZE).rays(np.zeros(3))
