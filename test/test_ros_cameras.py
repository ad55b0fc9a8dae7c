"""CameraInfo becomes the camera of the image that was received."""

import numpy as np
import pytest

pytest.importorskip('sensor_msgs', reason='ROS 2 is not installed')

from sensor_msgs.msg import CameraInfo, RegionOfInterest

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.ros.cameras import camera_info, read_camera_info

K = [500.0, 0.0, 319.5, 0.0, 505.0, 239.5, 0.0, 0.0, 1.0]
D = [0.1, -0.05, 0.001, 0.002, 0.0]
P = [480.0, 0.0, 310.0, -30.0, 0.0, 480.0, 245.0, 0.0, 0.0, 0.0, 1.0, 0.0]
SIZE = (640, 480)


def info(**fields):
    defaults = {'width': 640, 'height': 480, 'k': K, 'd': D, 'p': P,
                'distortion_model': 'plumb_bob'}
    return CameraInfo(**{**defaults, **fields})


def test_raw_image_gets_k_and_d():
    reading = read_camera_info(info(), SIZE, rectified=False)
    np.testing.assert_allclose(reading.camera.K.ravel(), K)
    np.testing.assert_allclose(reading.camera.D, D)
    assert reading.camera.size == SIZE
    assert reading.note == ''


def test_rectified_image_gets_p_and_no_distortion():
    camera = read_camera_info(info(), SIZE, rectified=True).camera
    np.testing.assert_allclose(camera.K, np.array(P).reshape(3, 4)[:, :3])
    assert camera.D.size == 0


def test_zero_focal_length_means_uncalibrated():
    reading = read_camera_info(CameraInfo(width=640, height=480), SIZE, rectified=False)
    assert reading.camera is None
    assert 'not calibrated' in reading.note


@pytest.mark.parametrize(('name', 'count', 'model'), [
    ('plumb_bob', 5, 'plumb_bob'), ('plumb_bob', 8, 'rational_polynomial'),
    ('rational_polynomial', 8, 'rational_polynomial'), ('rational_polynomial', 5, 'plumb_bob'),
    ('equidistant', 4, 'equidistant'), ('fisheye', 4, 'equidistant'), ('', 0, 'plumb_bob'),
])
def test_distortion_models_are_understood_by_name_and_length(name, count, model):
    message = info(distortion_model=name, d=[0.01] * count)
    assert read_camera_info(message, SIZE, rectified=False).camera.model == model


def same_point(camera, full, pixel_of_full):
    """Project one point by both cameras: (pixel of the image, expected pixel)."""
    point = np.array([0.1, -0.05, 0.9])
    return camera.project(point), pixel_of_full(full.project(point))


def test_binning_and_region_describe_the_received_pixels():
    full = Camera(np.array(K).reshape(3, 3), size=SIZE)
    roi = RegionOfInterest(x_offset=100, y_offset=60, width=400, height=300)
    message = info(d=[0.0] * 5, binning_x=2, binning_y=2, roi=roi)
    reading = read_camera_info(message, (200, 150), rectified=False)
    # Two columns become one whose centre lies between them.
    pixel, expected = same_point(reading.camera, full, lambda p: (p - [100, 60] - 0.5) / 2)
    np.testing.assert_allclose(pixel, expected, atol=1e-9)
    assert reading.note == ''


def test_scaled_image_scales_the_intrinsics_and_says_so():
    full = Camera(np.array(K).reshape(3, 3), D, SIZE)
    reading = read_camera_info(info(), (320, 240), rectified=False)
    pixel, expected = same_point(reading.camera, full, lambda p: (p - 0.5) / 2)
    np.testing.assert_allclose(pixel, expected, atol=1e-9)
    assert '320 x 240' in reading.note and 'scaled' in reading.note


def test_image_of_another_shape_ignores_the_calibration_and_says_so():
    reading = read_camera_info(info(), (640, 360), rectified=False)
    assert reading.camera is None
    assert 'ignored' in reading.note


@pytest.mark.parametrize(('broken', 'field'), [
    (info(k=[float('nan'), *K[1:]]), 'K'),
    (info(k=[float('inf'), *K[1:]]), 'K'),
    (info(k=[-1.0, *K[1:]]), 'K'),
    (info(d=[float('nan')] * 5), 'D'),
    (info(d=[0.1] * 3), 'D'),
    (info(distortion_model='spline'), 'distortion_model'),
    (info(roi=RegionOfInterest(x_offset=600, width=100, height=100)), 'roi'),
])
def test_numbers_that_make_no_camera_name_the_field(broken, field):
    with pytest.raises(ValueError, match=f'^{field}: '):
        read_camera_info(broken, SIZE, rectified=False)


@pytest.mark.parametrize(('model', 'coefficients'), [
    ('plumb_bob', D), ('plumb_bob', []), ('equidistant', []), ('rational_polynomial', []),
    ('rational_polynomial', [0.1] * 8),
])
def test_camera_survives_the_round_trip(model, coefficients):
    camera = Camera(np.array(K).reshape(3, 3), coefficients, SIZE, model)
    again = read_camera_info(camera_info(camera), SIZE, rectified=False).camera
    pixels = np.array([[20.0, 30.0], [400.0, 300.0]])
    np.testing.assert_allclose(again.rays(pixels), camera.rays(pixels))
    assert again.model == model
