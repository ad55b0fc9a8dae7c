"""sensor_msgs/CameraInfo <-> Camera, for the image that was actually received."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.errors import UserError

_MODELS = {
    '': 'plumb_bob',
    'plumb_bob': 'plumb_bob',
    'rational_polynomial': 'rational_polynomial',
    'equidistant': 'equidistant',
    'fisheye': 'equidistant',
}

# Pixels of the larger picture: sizes that differ by rounding only, as when 1279 columns are
# halved, still are the same picture. A crop is not.
_ROUNDING = 1.0
# Focal lengths, in image widths or heights; beyond them numbers are mistakes and not lenses.
_SHORTEST, _LONGEST = 0.01, 1000.0
# The principal point of a region of interest may lie outside it, but not everywhere.
_FARTHEST_CENTRE = 100.0


@dataclass(frozen=True)
class CameraReading:
    """What a CameraInfo says about one image."""

    #: None where the camera is not calibrated or its calibration does not fit the image.
    camera: Camera | None
    #: One line for the log where something was assumed or ignored, else empty.
    note: str = ''


def read_camera_info(message: CameraInfo, size: tuple[int, int], rectified: bool) -> CameraReading:
    """
    Return the camera of an image, with binning, region of interest and scaling worked in.

    K and P are those of the full sensor; `binning` and `roi` say which of its pixels the image has
    (`do_rectify` only tells how a rectifying node made its window, the pixels are the same). An
    image that has the expected size times one factor in both directions counts as scaled, whatever
    the factor, and gets a note. Any other size cannot be the same picture: no camera.

    :param size: (width, height) px of the image that came with it.
    :param rectified: the image was rectified: P describes it and there is no distortion. Which one
        it is cannot be told from the messages.
    :raises ValueError: for numbers that make no camera (NaN, wrong count, unknown distortion); the
        message names the field.
    """
    if message.k[0] == 0.0:
        return CameraReading(None, 'camera_info: K is zero, the camera is not calibrated')
    K = np.array(message.k, float).reshape(3, 3)
    D, model = (), 'plumb_bob'
    if not rectified:
        D, model = _distortion(message)
    elif message.p[0] != 0.0:
        K = np.array(message.p, float).reshape(3, 4)[:, :3].copy()
    # The matrices are those of the full sensor. Checked first: NaN would pass the steps below.
    K = np.array(Camera(K, D, None, model).K)

    roi = message.roi
    full = np.array([message.width, message.height], float)
    window = np.array([roi.width or message.width, roi.height or message.height], float)
    offset = np.array([roi.x_offset, roi.y_offset], float)
    binning = np.array([max(message.binning_x, 1), max(message.binning_y, 1)], float)
    if not full.all():
        # Some drivers leave the size out; then the matrices can only mean the image itself.
        _check_plausible(K, size)
        return CameraReading(Camera(K, D, size, model))
    if (offset + window > full).any():
        raise UserError(f'roi: {roi.width} x {roi.height} at ({roi.x_offset}, {roi.y_offset}) '
                         f'leaves the image of {message.width} x {message.height}')
    K[:2, 2] -= offset
    expected = window / binning
    scale = np.array(size, float) / expected
    # What each side is off when both are scaled by the factor of the other one.
    off = np.abs(np.array(size) - expected * scale[::-1])
    if (off > _ROUNDING * np.maximum(scale[::-1], 1.0)).any():
        return CameraReading(None, (
            f'camera_info: it is for {expected[0]:.0f} x {expected[1]:.0f} pixels and the image '
            f'has {size[0]} x {size[1]}; the calibration is ignored'))
    note = ''
    if np.abs(np.array(size) - expected).max() >= 1.0:
        note = (f'camera_info: it is for {expected[0]:.0f} x {expected[1]:.0f} pixels and the '
                f'image has {size[0]} x {size[1]}; the intrinsics are scaled')
    factor = scale / binning
    K[[0, 1], [0, 1]] *= factor
    # Pixel centres lie at integers, so edges lie at halves, and edges are what scales.
    K[:2, 2] = (K[:2, 2] + 0.5) * factor - 0.5
    _check_plausible(K, size)
    return CameraReading(Camera(K, D, size, model), note)


def camera_info(camera: Camera) -> CameraInfo:
    """
    Return the message of a camera for an unrectified image; its header is left empty.

    :raises ValueError: when the size of the camera is not known.
    """
    if camera.size is None:
        raise UserError('camera: its size must be known to be published')
    message = CameraInfo(width=camera.size[0], height=camera.size[1], distortion_model=camera.model)
    message.k = camera.K.ravel().tolist()
    message.d = camera.D.tolist() or [0.0] * (4 if camera.model == 'equidistant' else 5)
    if camera.model == 'rational_polynomial' and not camera.D.size:
        message.d = [0.0] * 8
    message.r = np.eye(3).ravel().tolist()
    message.p = np.hstack([camera.K, np.zeros((3, 1))]).ravel().tolist()
    return message


def _check_plausible(K: NDArray[np.float64], size: tuple[int, int]) -> None:
    focal, centre = K[[0, 1], [0, 1]] / size, K[:2, 2] / size
    if (focal < _SHORTEST).any() or (focal > _LONGEST).any() \
            or (np.abs(centre) > _FARTHEST_CENTRE).any():
        raise UserError(f'K: a focal length of {K[0, 0]:g}, {K[1, 1]:g} px and a principal point '
                         f'of ({K[0, 2]:g}, {K[1, 2]:g}) px are no lens of a camera with images of '
                         f'{size[0]} x {size[1]}')


def _distortion(message: CameraInfo) -> tuple[tuple[float, ...], str]:
    if message.distortion_model not in _MODELS:
        raise UserError(f'distortion_model: {message.distortion_model[:100]!r} is unknown; use '
                         'one of ' + ', '.join(filter(None, _MODELS)))
    model, D = _MODELS[message.distortion_model], tuple(message.d)
    # Drivers often name the family and mean the length.
    if model == 'plumb_bob' and len(D) in (8, 12, 14):
        model = 'rational_polynomial'
    elif model == 'rational_polynomial' and len(D) in (4, 5):
        model = 'plumb_bob'
    return D, model
