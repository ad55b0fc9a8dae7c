"""The camera of received images, from the latest CameraInfo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sensor_msgs.msg import CameraInfo

from trans3dhead_ros.bags.camera_info_reading import CameraReading, read_camera_info
from trans3dhead_ros.camera import Camera
from trans3dhead_ros.ros.throttled_logger import ONCE, ThrottledLogger

_NO_CAMERA_INFO = 'no camera_info yet: distances assume a default field of view'


class Calibration:
    """
    Caches the camera of a CameraInfo until the CameraInfo, the image size or rectification changes.

    An invalid CameraInfo leaves the previous camera in use.

    :param throttled_log: gets the warnings.
    :param reject: called with the reason, once for each invalid content.

    Example::

        calibration = Calibration(ThrottledLogger(node.get_logger()), rejected.append)
        calibration.message = camera_info  # whenever one is received
        camera = calibration.camera((640, 480), rectified=False)
    """

    def __init__(self, throttled_log: ThrottledLogger, reject: Callable[[str], None]) -> None:
        self.message: CameraInfo | None = None
        """Latest CameraInfo; replaced as a whole by another thread, so no lock is needed."""
        self.state = _NO_CAMERA_INFO
        """One line for the diagnostics."""
        self._throttled_log = throttled_log
        self._reject = reject
        self._last_message: CameraInfo | None = None
        self._content: tuple[Any, ...] = ()
        self._size = (0, 0)
        self._reading = CameraReading(None)

    def camera(self, size: tuple[int, int], rectified: bool) -> Camera | None:
        """
        Find the intrinsics of an image.

        :param size: (width, height) px.
        :param rectified: whether the image is rectified, see `read_camera_info`.
        :return: the camera, None where it is unknown.
        """
        message = self.message
        if message is None:
            self._throttled_log.warn('calibration', _NO_CAMERA_INFO, ONCE)
            return None
        if message is self._last_message and self._content[-2:] == (size, rectified):
            return self._reading.camera
        content = (*_content(message), size, rectified)
        if content != self._content:
            self._read(message, size, rectified)
        self._last_message, self._content, self._size = message, content, size
        return self._reading.camera

    def _read(self, message: CameraInfo, size: tuple[int, int], rectified: bool) -> None:
        before = self._reading
        try:
            self._reading = read_camera_info(message, size, rectified)
            note = self._reading.note
        except ValueError as error:
            # The previous camera does not fit images of another size.
            self._reading = CameraReading(before.camera if size == self._size else None)
            note = f'camera_info: {error}'
            self._reject(str(error))
        else:
            if note and note != before.note:
                self._throttled_log.warn('calibration ' + note, note)
        self.state = note or ('rectified' if rectified else self._reading.camera.model)


def _content(message: CameraInfo) -> tuple[Any, ...]:
    """Return everything but the header, as bytes because NaN is not equal to itself."""
    roi = message.roi
    return (message.width, message.height, message.distortion_model, bytes(message.d),
            message.k.tobytes(), message.p.tobytes(), message.binning_x, message.binning_y,
            roi.x_offset, roi.y_offset, roi.width, roi.height)
