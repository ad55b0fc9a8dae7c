"""Conversion of a `Camera` to sensor_msgs/CameraInfo."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import CameraInfo

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.errors import UserError


def camera_info(camera: Camera) -> CameraInfo:
    """
    Convert a camera of unrectified images to a message.

    :param camera: with a known size.
    :return: the message, with an empty header.
    :raises UserError: when the size of the camera is unknown.
    """
    if camera.size is None:
        raise UserError('camera: expected a camera with a size')
    message = CameraInfo(width=camera.size[0], height=camera.size[1], distortion_model=camera.model)
    message.k = camera.K.ravel().tolist()
    message.d = camera.D.tolist() or [0.0] * (4 if camera.model == 'equidistant' else 5)
    if camera.model == 'rational_polynomial' and not camera.D.size:
        message.d = [0.0] * 8
    message.r = np.eye(3).ravel().tolist()
    message.p = np.hstack([camera.K, np.zeros((3, 1))]).ravel().tolist()
    return message
