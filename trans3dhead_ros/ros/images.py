"""
Image messages -> (H, W, 3) BGR uint8 arrays.

A message that contradicts itself raises `ValueError` that names the field, never anything else:
what arrives over the network is a user's input. Where the bytes of the message already are BGR the
array is a view of them; read it, do not write into it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

Pixels = NDArray[np.uint8]

# encoding -> (samples a pixel, bytes a sample, cv2 conversion to BGR or None)
_PACKED: dict[str, tuple[int, int, int | None]] = {
    'bgr8': (3, 1, None),
    'rgb8': (3, 1, cv2.COLOR_RGB2BGR),
    'bgra8': (4, 1, cv2.COLOR_BGRA2BGR),
    'rgba8': (4, 1, cv2.COLOR_RGBA2BGR),
    'bgr16': (3, 2, None),
    'rgb16': (3, 2, cv2.COLOR_RGB2BGR),
    'bgra16': (4, 2, cv2.COLOR_BGRA2BGR),
    'rgba16': (4, 2, cv2.COLOR_RGBA2BGR),
    'mono8': (1, 1, cv2.COLOR_GRAY2BGR),
    'mono16': (1, 2, cv2.COLOR_GRAY2BGR),
    '8uc1': (1, 1, cv2.COLOR_GRAY2BGR),
    '8uc3': (3, 1, None),
    '8uc4': (4, 1, cv2.COLOR_BGRA2BGR),
    # OpenCV names a Bayer pattern by its second row, ROS by its first.
    **{f'bayer_{pattern}{8 * size}': (1, size, code)
       for pattern, code in (('rggb', cv2.COLOR_BayerBG2BGR), ('bggr', cv2.COLOR_BayerRG2BGR),
                             ('gbrg', cv2.COLOR_BayerGR2BGR), ('grbg', cv2.COLOR_BayerGB2BGR))
       for size in (1, 2)},
    **dict.fromkeys(('yuv422', 'uyvy'), (2, 1, cv2.COLOR_YUV2BGR_UYVY)),
    **dict.fromkeys(('yuv422_yuy2', 'yuyv', 'yuy2'), (2, 1, cv2.COLOR_YUV2BGR_YUY2)),
}

# A plane of luma and below it, at half the resolution, a plane of interleaved colour.
_SEMI_PLANAR = {'nv12': cv2.COLOR_YUV2BGR_NV12, 'nv21': cv2.COLOR_YUV2BGR_NV21}


def decode_image(message: Image) -> Pixels:
    """
    Return the (H, W, 3) BGR uint8 picture of a raw image; 16-bit samples keep their upper byte.

    :raises ValueError: for an unknown encoding, an empty image, a `step` shorter than a row, or
        `data` of another length than height x step.
    """
    encoding = message.encoding.strip().lower()
    if message.width == 0 or message.height == 0:
        raise ValueError(f'width, height: the image is empty ({message.width} x {message.height})')
    if encoding in _SEMI_PLANAR:
        return _decode_semi_planar(message, _SEMI_PLANAR[encoding])
    if encoding not in _PACKED:
        return _decode_by_cv_bridge(message)
    channels, size, conversion = _PACKED[encoding]
    if conversion in (cv2.COLOR_YUV2BGR_UYVY, cv2.COLOR_YUV2BGR_YUY2) and message.width % 2:
        raise ValueError(f'width: {message.encoding} stores pixels in pairs, got {message.width}')
    if encoding.startswith('bayer') and (message.width < 4 or message.height < 4):
        raise ValueError(
            f'width, height: {message.width} x {message.height} is too small for a Bayer pattern')
    samples = _samples(message, message.height, channels, size)
    if size == 2:
        samples = (samples >> 8).astype(np.uint8)
    return samples if conversion is None else cv2.cvtColor(samples, conversion)


def decode_compressed(message: CompressedImage) -> Pixels:
    """
    Return the (H, W, 3) BGR uint8 picture of a compressed image (JPEG, PNG or what OpenCV reads).

    :raises ValueError: for data that are empty, truncated or no picture, and for depth images.
    """
    layout = message.format.lower()
    if 'compresseddepth' in layout:
        raise ValueError(f'format: {message.format!r} is a depth image, a colour image is needed')
    data = np.frombuffer(message.data, np.uint8)
    if data.size == 0:
        raise ValueError('data: the compressed image is empty')
    # OpenCV fills what is missing of a truncated picture with grey and returns it as if whole.
    if _is_truncated(data.tobytes()):
        raise ValueError(f'data: the compressed image ({data.size} bytes) is truncated')
    try:
        # CameraInfo describes the picture as stored: an EXIF orientation must not turn it.
        image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ValueError(f'data: the compressed image cannot be decoded ({error.err})') from None
    if image is None:
        raise ValueError(f'data: {data.size} bytes with format {message.format!r} are no picture')
    if layout.rstrip().endswith('compressed rgb8'):
        return cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return image


def _samples(message: Image, rows: int, channels: int, size: int) -> NDArray:
    """Return the samples (rows, W[, channels]) as a view of the message, whatever its padding."""
    row = message.width * channels * size
    if message.step < row:
        raise ValueError(f'step: {message.step} bytes, but a row of {message.width} pixels in '
                         f'{message.encoding} takes {row}')
    if len(message.data) != rows * message.step:
        raise ValueError(f'data: {len(message.data)} bytes, but {rows} rows of step '
                         f'{message.step} take {rows * message.step}')
    kind = np.dtype(np.uint8 if size == 1 else ('>u2' if message.is_bigendian else '<u2'))
    shape, strides = (rows, message.width), (message.step, channels * size)
    if channels > 1:
        shape, strides = (*shape, channels), (*strides, size)
    return np.ndarray(shape, kind, np.frombuffer(message.data, np.uint8), strides=strides)


def _decode_semi_planar(message: Image, conversion: int) -> Pixels:
    if message.width % 2 or message.height % 2:
        raise ValueError(f'width, height: {message.encoding} needs even numbers, got '
                         f'{message.width} x {message.height}')
    planes = _samples(message, message.height * 3 // 2, 1, 1)
    return cv2.cvtColor(np.ascontiguousarray(planes), conversion)


def _decode_by_cv_bridge(message: Image) -> Pixels:
    unsupported = ValueError(f'encoding: {message.encoding!r} is not supported; publish one of '
                             'bgr8, rgb8, mono8, Bayer, yuv422, yuv422_yuy2, nv12')
    # A broken installation fails in many ways (NumPy ABI, a missing library), not just at import.
    try:
        from cv_bridge import CvBridge
        image = CvBridge().imgmsg_to_cv2(message, 'bgr8')
    except Exception:
        raise unsupported from None
    if image.dtype != np.uint8 or image.shape != (message.height, message.width, 3):
        raise unsupported
    return image


def _is_truncated(data: bytes) -> bool:
    """True for a JPEG or PNG without its end marker."""
    if data.startswith(b'\xff\xd8'):
        # Behind the start of a scan FF D9 is the end marker and nothing else; before it, it may
        # belong to an embedded thumbnail. Cameras pad behind the end.
        scan = data.rfind(b'\xff\xda')
        return scan < 0 or data.find(b'\xff\xd9', scan) < 0
    if data.startswith(b'\x89PNG'):
        return b'IEND' not in data[-64:]
    return False
