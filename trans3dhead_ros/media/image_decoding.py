"""
Decode image messages to (H, W, 3) BGR uint8 arrays.

Received messages are untrusted input: an inconsistent one raises `UserError` that names the field,
never anything else. Where the message already contains BGR, the array is a view of it and must not
be written to. An image with more pixels than allowed is not decoded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.bit_depth import BitDepth
from trans3dhead_ros.media.picture_header import picture_size
from trans3dhead_ros.types import Image

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage
    from sensor_msgs.msg import Image as ImageMessage

MAX_PIXELS = 4096 * 4096
"""Default limit of the size of an image, pixels."""

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

# Not of sensor_msgs, but what drivers of such cameras publish: samples in the lower bits of 16.
_STATED_BITS = re.compile(r'(mono|(?:rgb|bgr)a?|bayer_[rgb]{4})(10|12|14)')
_DEPTHS = ('16uc1', '16sc1', '32fc1', '64fc1')

# A plane of luma, followed by a plane of interleaved chroma at half the resolution.
_SEMI_PLANAR = {'nv12': cv2.COLOR_YUV2BGR_NV12, 'nv21': cv2.COLOR_YUV2BGR_NV21}


def decode_image(
    message: ImageMessage, max_pixels: int = MAX_PIXELS, depth: BitDepth | None = None,
) -> Image:
    """
    Decode a raw image; samples of 16 bits keep the upper eight of their significant bits.

    :param message: the raw image.
    :param max_pixels: limit of its size.
    :param depth: of 16-bit samples, the same for all images of a camera; None infers it from the
        encoding, such as mono12, or from the image.
    :return: (H, W, 3) BGR.
    :raises UserError: for an unknown encoding, a depth image, an image that is empty or has more
        than `max_pixels`, a `step` shorter than a row, or `data` of a length other than height x
        step.
    """
    encoding, bits = message.encoding.strip().lower(), 0
    if match := _STATED_BITS.fullmatch(encoding):
        encoding, bits = f'{match[1]}16', int(match[2])
    if encoding in _DEPTHS:
        if encoding != '16uc1' or depth is None or not depth.fixed:
            mend = '; for a grey image set the parameter significant_bits'
            raise UserError(f'encoding: {message.encoding} is a depth image, but a colour or grey '
                            f'image is needed{mend if encoding == "16uc1" else ""}')
        encoding = 'mono16'
    if message.width == 0 or message.height == 0:
        raise UserError(f'width, height: the image is empty ({message.width} x {message.height})')
    if encoding in _SEMI_PLANAR:
        return _decode_semi_planar(message, _SEMI_PLANAR[encoding], max_pixels)
    if encoding not in _PACKED:
        _check_pixels(message.width, message.height, max_pixels)
        return _decode_by_cv_bridge(message)
    channels, size, conversion = _PACKED[encoding]
    if conversion in (cv2.COLOR_YUV2BGR_UYVY, cv2.COLOR_YUV2BGR_YUY2) and message.width % 2:
        raise UserError(f'width: {message.encoding} stores pixels in pairs, got {message.width}')
    if encoding.startswith('bayer'):
        _check_mosaic(message.width, message.height)
    samples = _samples(message, message.height, channels, size)
    _check_pixels(message.width, message.height, max_pixels)
    if size == 2:
        samples = (depth or BitDepth()).to_8_bits(samples, bits)
    return samples if conversion is None else cv2.cvtColor(samples, conversion)


def decode_compressed(
    message: CompressedImage, max_pixels: int = MAX_PIXELS, depth: BitDepth | None = None,
) -> Image:
    """
    Decode a compressed image (JPEG or PNG).

    The size is read from the header first, because a small file can decode to a huge image.

    `format` is parsed as image_transport writes it, `<encoding>; <codec> compressed <colours>`: the
    colours may be stored as RGB, and PNG may contain a Bayer mosaic.

    :param message: the compressed image.
    :param max_pixels: limit of its size.
    :param depth: as for `decode_image`.
    :return: (H, W, 3) BGR.
    :raises UserError: for data that are empty, truncated, not an image or of more than
        `max_pixels`, and for depth images.
    """
    encoding, _, stored = (part.strip() for part in message.format.lower().partition(';'))
    if 'compresseddepth' in message.format.lower() or (
            encoding in _DEPTHS and not (encoding == '16uc1' and depth and depth.fixed)):
        raise UserError(
            f'format: {message.format[:100]!r} is a depth image, a colour image is needed')
    data = np.frombuffer(message.data, np.uint8)
    if data.size == 0:
        raise UserError('data: the compressed image is empty')
    width, height = picture_size(data.tobytes())
    _check_pixels(width, height, max_pixels)
    mosaic = encoding.startswith('bayer_') and encoding in _PACKED and stored.endswith('compressed')
    # CameraInfo describes the image as stored: an EXIF orientation must not rotate it.
    flags = cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_ANYDEPTH | (
        cv2.IMREAD_GRAYSCALE if mosaic else cv2.IMREAD_COLOR)
    try:
        image = cv2.imdecode(data, flags)
    except cv2.error as error:
        raise UserError(f'data: the compressed image cannot be decoded ({error.err})') from None
    if image is None:
        raise UserError(f'data: {data.size} bytes with format {message.format[:100]!r} are not an '
                        'image')
    if image.dtype == np.uint16:
        match = _STATED_BITS.fullmatch(encoding)
        image = (depth or BitDepth()).to_8_bits(image, int(match[2]) if match else 0)
    if mosaic:
        _check_mosaic(width, height)
        return cv2.cvtColor(image, _PACKED[encoding][2])
    if 'compressed rgb' in stored:
        return cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return image


def _samples(message: ImageMessage, rows: int, channels: int, size: int) -> NDArray:
    """Return the samples (rows, W[, channels]) as a view of the message, without its padding."""
    row = message.width * channels * size
    if message.step < row:
        raise UserError(f'step: {message.step} bytes, but a row of {message.width} pixels in '
                        f'{message.encoding} takes {row}')
    if len(message.data) != rows * message.step:
        raise UserError(f'data: {len(message.data)} bytes, but {rows} rows of step '
                        f'{message.step} take {rows * message.step}')
    kind = np.dtype(np.uint8 if size == 1 else ('>u2' if message.is_bigendian else '<u2'))
    shape, strides = (rows, message.width), (message.step, channels * size)
    if channels > 1:
        shape, strides = (*shape, channels), (*strides, size)
    return np.ndarray(shape, kind, np.frombuffer(message.data, np.uint8), strides=strides)


def _decode_semi_planar(message: ImageMessage, conversion: int, max_pixels: int) -> Image:
    if message.width % 2 or message.height % 2:
        raise UserError(f'width, height: {message.encoding} needs even numbers, got '
                        f'{message.width} x {message.height}')
    planes = _samples(message, message.height * 3 // 2, 1, 1)
    _check_pixels(message.width, message.height, max_pixels)
    return cv2.cvtColor(np.ascontiguousarray(planes), conversion)


def _decode_by_cv_bridge(message: ImageMessage) -> Image:
    unsupported = UserError(f'encoding: {message.encoding[:100]!r} is not supported; publish '
                            'bgr8, rgb8, mono8, Bayer, yuv422, yuv422_yuy2 or nv12')
    # A broken installation fails in many ways (NumPy ABI, a missing library), not only at import.
    try:
        from cv_bridge import CvBridge
        image = CvBridge().imgmsg_to_cv2(message, 'bgr8')
    except Exception:
        raise unsupported from None
    if image.dtype != np.uint8 or image.shape != (message.height, message.width, 3):
        raise unsupported
    return image


def _check_pixels(width: int, height: int, limit: int) -> None:
    if width * height > limit:
        raise UserError(f'width, height: {width} x {height} are more pixels than the {limit} that '
                        'max_image_pixels allows')


def _check_mosaic(width: int, height: int) -> None:
    if width < 4 or height < 4:
        raise UserError(f'width, height: {width} x {height} is too small for a Bayer pattern')
