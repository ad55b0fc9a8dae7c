"""The camera of an image, from a sensor_msgs/CameraInfo; works without ROS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.types import Array

# By the name in lower case, as drivers write it.
_DISTORTION_MODELS = {
    '': 'plumb_bob',
    'plumb_bob': 'plumb_bob',
    'none': 'plumb_bob',
    'pinhole': 'plumb_bob',
    'rational_polynomial': 'rational_polynomial',
    'equidistant': 'equidistant',
    'fisheye': 'equidistant',
}

# Tolerance of sizes, in pixels of the larger image: rounding, as when 1279 columns are halved, does
# not make another image, but cropping does.
_ROUNDING = 1.0
# Plausible focal lengths and distances of the principal point, in image widths or heights. The
# principal point of a region of interest may lie outside it.
_MIN_FOCAL, _MAX_FOCAL = 0.01, 1000.0
_MAX_CENTRE = 100.0


@dataclass(frozen=True)
class CameraReading:
    """What a CameraInfo tells about one image."""

    camera: Camera | None
    """None where the camera is not calibrated or its calibration does not fit the image."""
    note: str = ''
    """One line for the log where something was assumed or ignored, else empty."""


def read_camera_info(message: Any, size: tuple[int, int], rectified: bool) -> CameraReading:
    """
    Read the camera of an image, adjusted for binning, region of interest and scaling.

    K and P describe the full sensor; `binning` and `roi` tell which of its pixels the image has
    (`do_rectify` only tells how a rectifying node chose its window, the pixels are the same). An
    image whose size is the expected one times one factor in both directions counts as scaled, and
    gets a note. With any other size the calibration is ignored.

    :param message: a sensor_msgs/CameraInfo, of rclpy or of rosbags.
    :param size: (width, height) px of the received image.
    :param rectified: whether the image is rectified, so that P describes it, without distortion;
        messages do not tell.
    :return: the camera, and what was assumed or ignored.
    :raises UserError: for values that describe no camera (NaN, wrong count, unknown distortion);
        the message names the field.
    """
    K = np.array(message.k, float).reshape(3, 3)
    D, model = (), 'plumb_bob'
    if rectified and message.p[0] != 0.0:
        K = np.array(message.p, float).reshape(3, 4)[:, :3].copy()
    if K[0, 0] == 0.0:
        return CameraReading(None, 'camera_info: K is zero, the camera is not calibrated')
    if not rectified:
        D, model = _distortion(message)
    # Checked first, because NaN would pass the steps below.
    K = np.array(Camera(K, D, None, model).K)

    roi = message.roi
    full = np.array([message.width, message.height], float)
    window = np.array([roi.width or message.width, roi.height or message.height], float)
    offset = np.array([roi.x_offset, roi.y_offset], float)
    binning = np.array([max(message.binning_x, 1), max(message.binning_y, 1)], float)
    if not full.all():
        # Some drivers leave out the size; then the matrices can only refer to the image itself.
        _check_plausible(K, size)
        return CameraReading(Camera(K, D, size, model))
    if (offset + window > full).any():
        raise UserError(f'roi: {roi.width} x {roi.height} at ({roi.x_offset}, {roi.y_offset}) '
                        f'exceeds the image of {message.width} x {message.height}')
    K[:2, 2] -= offset
    expected = window / binning
    scale = np.array(size, float) / expected
    # Deviation of each side when it is scaled by the factor of the other one.
    deviation = np.abs(np.array(size) - expected * scale[::-1])
    if (deviation > _ROUNDING * np.maximum(scale[::-1], 1.0)).any():
        return CameraReading(None, (
            f'camera_info: made for {expected[0]:.0f} x {expected[1]:.0f} pixels, but the image '
            f'has {size[0]} x {size[1]}; the calibration is ignored'))
    note = ''
    if np.abs(np.array(size) - expected).max() >= 1.0:
        note = (f'camera_info: made for {expected[0]:.0f} x {expected[1]:.0f} pixels, but the '
                f'image has {size[0]} x {size[1]}; the intrinsics are scaled')
    factor = scale / binning
    K[[0, 1], [0, 1]] *= factor
    # Pixel centres lie at integers, edges at halves, and scaling keeps the edges.
    K[:2, 2] = (K[:2, 2] + 0.5) * factor - 0.5
    _check_plausible(K, size)
    return CameraReading(Camera(K, D, size, model), note)


def _check_plausible(K: Array, size: tuple[int, int]) -> None:
    focal, centre = K[[0, 1], [0, 1]] / size, K[:2, 2] / size
    if (focal < _MIN_FOCAL).any() or (focal > _MAX_FOCAL).any() \
            or (np.abs(centre) > _MAX_CENTRE).any():
        raise UserError(f'K: a focal length of {K[0, 0]:g}, {K[1, 1]:g} px and a principal point '
                        f'of ({K[0, 2]:g}, {K[1, 2]:g}) px are not plausible for an image of '
                        f'{size[0]} x {size[1]}')


def _distortion(message: Any) -> tuple[tuple[float, ...], str]:
    name, D = message.distortion_model.strip().lower(), tuple(message.d)
    if name not in _DISTORTION_MODELS:
        raise UserError(f'distortion_model: {message.distortion_model[:100]!r} is unknown; use '
                        'one of ' + ', '.join(filter(None, _DISTORTION_MODELS)))
    model = _DISTORTION_MODELS[name]
    # Some drivers list any number of zeros. Without its coefficients, a fisheye remains one.
    if not any(D):
        return (), model
    # Drivers often name the family; the number of coefficients tells the model.
    if model == 'plumb_bob' and len(D) in (8, 12, 14):
        model = 'rational_polynomial'
    elif model == 'rational_polynomial' and len(D) in (4, 5):
        model = 'plumb_bob'
    return D, model
