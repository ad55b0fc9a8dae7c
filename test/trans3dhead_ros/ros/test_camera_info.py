"""CameraInfo becomes the camera of the image that was received."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip('sensor_msgs', reason='ROS 2 is not installed')

from sensor_msgs.msg import CameraInfo, RegionOfInterest

from trans3dhead_ros import HeadPipeline
from trans3dhead_ros.bags.camera_info_reading import read_camera_info
from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import geodesic_distance_deg, nearest_rotation, rotation_from_euler
from trans3dhead_ros.ros.calibration import Calibration
from trans3dhead_ros.ros.camera_info import camera_info
from trans3dhead_ros.ros.throttled_logger import ThrottledLogger

pytestmark = pytest.mark.ros

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


def test_rectified_image_with_p_alone_is_calibrated():
    camera = read_camera_info(info(k=[0.0] * 9), SIZE, rectified=True).camera
    np.testing.assert_allclose(camera.K[0], [480.0, 0.0, 310.0])


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


@pytest.mark.parametrize(('name', 'zeros', 'model'), [
    ('none', 5, 'plumb_bob'), ('pinhole', 0, 'plumb_bob'), ('Pinhole', 3, 'plumb_bob'),
    ('PLUMB_BOB', 12, 'plumb_bob'), ('Rational_Polynomial', 6, 'rational_polynomial'),
    ('EQUIDISTANT', 5, 'equidistant'),
])
def test_names_of_drivers_and_any_number_of_zeros_are_no_distortion(name, zeros, model):
    camera = read_camera_info(info(distortion_model=name, d=[0.0] * zeros), SIZE, False).camera
    assert (camera.model, camera.D.size) == (model, 0)


def test_the_case_of_a_model_does_not_change_its_coefficients():
    camera = read_camera_info(info(distortion_model='Plumb_Bob'), SIZE, False).camera
    np.testing.assert_allclose(camera.D, D)


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
def test_numbers_that_are_not_a_camera_name_the_field(broken, field):
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


@pytest.mark.parametrize('size', [(620, 470), (640, 470), (638, 480)])
def test_a_crop_is_not_taken_for_a_scaled_image(size):
    # 1936 x 1216 and 1920 x 1200, say: nearly one aspect, and other pixels.
    reading = read_camera_info(info(), size, rectified=False)
    assert reading.camera is None and 'ignored' in reading.note


def test_a_side_that_was_rounded_still_is_the_same_picture():
    full = info(width=1279, height=961, d=[0.0] * 5)
    camera = read_camera_info(full, (639, 480), rectified=False).camera
    assert camera.K[0, 0] == pytest.approx(K[0] / 2, rel=2e-3)


def test_do_rectify_does_not_change_which_pixels_the_image_has():
    rois = [RegionOfInterest(x_offset=64, y_offset=32, width=320, height=240, do_rectify=value)
            for value in (False, True)]
    cameras = [read_camera_info(info(roi=roi), (320, 240), rectified=True).camera for roi in rois]
    np.testing.assert_array_equal(cameras[0].K, cameras[1].K)
    np.testing.assert_allclose(cameras[0].K[:2, 2], [P[2] - 64, P[6] - 32])


@pytest.mark.parametrize('changed', [{0: 1e-3, 4: 1e-3}, {0: 1e9, 4: 1e9}, {2: 1e12}, {5: -1e12}])
def test_focal_lengths_of_no_lens_are_refused(changed):
    numbers = [changed.get(i, value) for i, value in enumerate(K)]
    with pytest.raises(ValueError, match='^K: a focal length'):
        read_camera_info(info(k=numbers), SIZE, rectified=False)


class Log:
    """A logger that keeps what is logged."""

    def __init__(self):
        self.lines = []

    def warning(self, line):
        self.lines.append(line)


@pytest.fixture
def calibration():
    log, rejected = Log(), []
    calibration = Calibration(ThrottledLogger(log), rejected.append)
    calibration.log, calibration.rejected = log, rejected
    return calibration


def test_missing_camera_info_is_logged_once(calibration):
    for _ in range(3):
        assert calibration.camera(SIZE, False) is None
    assert len(calibration.log.lines) == 1


def test_a_changed_calibration_is_used_from_the_next_image_on(calibration):
    calibration.message = info()
    first = calibration.camera(SIZE, False)
    calibration.message = info()
    assert calibration.camera(SIZE, False) is first
    calibration.message = info(k=[600.0, *K[1:4], 600.0, *K[5:]])
    assert calibration.camera(SIZE, False).K[0, 0] == 600.0
    calibration.message = CameraInfo(width=640, height=480)
    assert calibration.camera(SIZE, False) is None
    assert 'not calibrated' in calibration.state and len(calibration.log.lines) == 1


def test_the_camera_follows_the_images_size_and_kind(calibration):
    calibration.message = info()
    assert calibration.camera(SIZE, False).K[0, 0] == K[0]
    assert calibration.camera(SIZE, True).K[0, 0] == P[0]
    assert calibration.camera((320, 240), False).K[0, 0] == K[0] / 2
    assert calibration.camera((320, 200), False) is None
    assert calibration.camera(SIZE, False).K[0, 0] == K[0]


def test_bad_numbers_keep_the_previous_camera_and_count_once(calibration):
    calibration.message = info()
    good = calibration.camera(SIZE, False)
    for _ in range(5):
        # A driver repeats it with every image.
        calibration.message = info(k=[float('nan'), *K[1:]])
        assert calibration.camera(SIZE, False) is good
    assert len(calibration.rejected) == 1 and calibration.state.startswith('camera_info: K')
    assert calibration.camera((320, 240), False) is None
    calibration.message = info()
    assert calibration.camera(SIZE, False).K[0, 0] == K[0]


ROTATION = rotation_from_euler(np.array([12.0, -5.0, 4.0]))
PLACE = np.array([0.17, 0.08, 0.45])
FULL = (800, 600)
PINHOLE = np.array([[480.0, 0, 399.5], [0, 480.0, 299.5], [0, 0, 1]])
GREY = (120, 128, 122)


def lens(coefficients=(), model='plumb_bob'):
    return Camera(PINHOLE, coefficients, FULL, model)


def half(image):
    return cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def whole(image):
    return image


BENT = lens([-0.28, 0.09, 0.002, -0.001, -0.01])
ROI = RegionOfInterest(x_offset=380, y_offset=140, width=420, height=440)


def window(image):
    return image[140:580, 380:800]


# The lens, what the sensor does with its picture, and what CameraInfo says about that.
VIEWS = {
    'plumb_bob': (BENT, whole, {}),
    'rational': (lens([2.1, 0.6, 1e-3, -1e-3, 0.03, 2.4, 1.1, 0.1], 'rational_polynomial'), whole,
                 {}),
    'fisheye': (lens([-0.02, 0.004, -0.002, 0.0], 'equidistant'), whole, {}),
    'binned': (BENT, half, {'binning_x': 2, 'binning_y': 2}),
    'window': (BENT, window, {'roi': ROI}),
    'window, binned': (BENT, lambda image: half(window(image)), {
        'roi': ROI, 'binning_x': 2, 'binning_y': 2}),
    'scaled': (BENT, half, {}),
}


@pytest.fixture(scope='module')
def pipeline():
    return HeadPipeline.load(device='cpu')


SIGNS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))


@pytest.fixture(scope='module')
def posed(pipeline, render):
    """Return a function: the pose of the same head, seen by a lens and a sensor."""
    # A pinhole with more pixels on the head than any of the lenses, to draw them from.
    sharp = Camera(np.array([[560.0, 0, 449.5], [0, 560.0, 349.5], [0, 0, 1]]), size=(900, 700))
    drawn = render(sharp, (ROTATION, PLACE))
    head = pipeline.aligner.head_model
    points = head.mean.astype(np.float64) @ ROTATION.T + PLACE

    def draw(camera):
        image = np.full((camera.size[1], camera.size[0], 3), GREY, np.uint8)
        seen = camera.project(points)
        (x0, y0), (x1, y1) = (seen.min(0) - 30).astype(int), (seen.max(0) + 30).astype(int)
        x0, y0 = max(x0, 0), max(y0, 0)
        pixels = np.stack(np.meshgrid(np.arange(x0, min(x1, camera.size[0])),
                                      np.arange(y0, min(y1, camera.size[1]))), -1)
        source = camera.rays(pixels.astype(float)) * sharp.K[[0, 1], [0, 1]] + sharp.K[:2, 2]
        image[pixels[..., 1], pixels[..., 0]] = cv2.remap(
            drawn, np.nan_to_num(source, nan=-1.0).astype(np.float32), None, cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE)
        return image

    def posed(camera, sensor, fields):
        image = np.ascontiguousarray(sensor(draw(camera)))
        message = camera_info(camera)
        for name, value in fields.items():
            setattr(message, name, value)
        reading = read_camera_info(message, (image.shape[1], image.shape[0]), rectified=False)
        pixels = reading.camera.project(points[pipeline.landmark_indices])
        box = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
        # The mean of several crops: the camera is tested here, not how a crop changes an answer.
        step = 0.03 * (box[2:] - box[:2])
        boxes = [box + np.tile(step * sign, 2) for sign in SIGNS]
        heads = pipeline.align(image, boxes, camera=reading.camera)
        return SimpleNamespace(
            translation=np.mean([head.translation for head in heads], axis=0),
            rotation=nearest_rotation(np.mean([head.rotation for head in heads], axis=0)))
    return posed


@pytest.fixture(scope='module')
def plain(posed):
    return posed(lens(), whole, {})


@pytest.mark.parametrize('view', VIEWS)
def test_a_head_has_one_pose_whatever_the_lens_and_the_region_of_interest(posed, plain, view):
    head = posed(*VIEWS[view])
    np.testing.assert_allclose(head.translation, plain.translation, atol=0.005)
    assert geodesic_distance_deg(head.rotation, plain.rotation) < 3.0
    np.testing.assert_allclose(plain.translation, PLACE, atol=0.04)


def test_a_lens_that_is_ignored_moves_the_head(posed, plain):
    ignored = posed(BENT, whole, {'d': [0.0] * 5})
    assert np.linalg.norm(ignored.translation - plain.translation) > 0.03
