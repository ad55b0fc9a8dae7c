"""Malformed messages, derived at random from valid ones."""

from __future__ import annotations

import functools
import struct
import zlib

import cv2
import numpy as np
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.ros.camera_info import camera_info
from trans3dhead_ros.ros.messages import bgr_image

_SIZES = (0, 1, 2, 3, 31, 32, 4096, 65536, 2 ** 31, 2 ** 32 - 1)
_ENCODINGS = (
    '', 'bgr8', 'rgb8', 'mono8', 'mono16', 'bgra8', 'rgba16', 'bayer_rggb8', 'bayer_gbrg16',
    'yuv422', 'yuyv', 'nv12', 'nv21', '8UC1', '16UC1', '32FC1', '64FC4', '8UC99', 'rainbow', ' ',
    'bgr8\n', 'BGR8', 'ü' * 50, 'x' * 5000)
_FORMATS = ('', 'jpeg', 'png', 'tiff', 'bgr8; jpeg compressed bgr8', 'rgb8; png compressed ',
            'bayer_rggb8; png compressed bayer_rggb8', 'mono16; png compressed ',
            '16UC1; compressedDepth png', '32FC1; compressedDepth rvl', ';;;;', 'y' * 5000)
_NUMBERS = (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-300, 1e300, 1e6, -500.0, 0.5, 320.0)
_MODELS = ('', 'plumb_bob', 'rational_polynomial', 'equidistant', 'fisheye', 'thin_prism', 'none',
           'Ω' * 20, 'z' * 5000)


class Malformed:
    """
    An endless supply of malformed messages.

    :param seed: of the random choices.
    :param picture: (H, W, 3) BGR image of the valid messages that they are derived from.
    """

    def __init__(self, seed: int, picture: np.ndarray) -> None:
        self._random = np.random.default_rng(seed)
        self._picture = picture
        self._files = [cv2.imencode(ending, picture)[1].tobytes() for ending in (
            '.jpg', '.png', '.bmp', '.tiff', '.webp')]

    def image(self, header: Header) -> Image | bytes:
        """Return a raw image with some wrong fields, or with damaged bytes."""
        message = bgr_image(header, self._picture)
        changes = (self._stamp, self._step, self._extent, self._encoding, self._data)
        for index in self._random.choice(len(changes), self._random.integers(1, 4), False):
            changes[index](message)
        message.is_bigendian = int(self._random.choice([0, 0, 1, 255]))
        return self._perhaps_damaged(message)

    def compressed(self, header: Header) -> CompressedImage | bytes:
        """Return a compressed image that is truncated, damaged, a bomb, or not an image."""
        message = CompressedImage(header=header, format=str(self._pick(_FORMATS)))
        kind = self._random.integers(10)
        if kind == 0:
            message.data = b''
        elif kind == 1:
            message.data = self._random.bytes(self._random.integers(1, 5000))
        elif kind == 2:
            message.data = self._pick(_bombs())
        elif kind == 3:
            # The right beginning, and nothing behind that makes sense.
            start = self._pick([b'\xff\xd8\xff\xe0', b'\xff\xd8\xff\xda', b'\x89PNG\r\n\x1a\n'])
            message.data = start + self._random.bytes(self._random.integers(0, 500))
        elif kind == 4:
            file = self._pick(self._files)
            message.data = file[:self._random.integers(0, len(file))]
        else:
            message.data = self._damaged(self._pick(self._files))
        if self._random.random() < 0.1:
            self._stamp(message)
        return self._perhaps_damaged(message)

    def camera_info(self, header: Header, size: tuple[int, int]) -> CameraInfo | bytes:
        """Return a calibration for an image of this size with some wrong fields."""
        message = camera_info(Camera.from_fov(size, 60.0))
        message.header = header
        random = self._random
        for field in random.choice(8, random.integers(1, 4), False):
            if field == 0:
                message.distortion_model = str(self._pick(_MODELS))
            elif field == 1:
                count = int(random.choice([0, 1, 4, 5, 8, 12, 14, 20, 3000]))
                message.d = random.choice([random.normal(0, 1), *_NUMBERS], count).tolist()
            elif field in (2, 3):
                matrix = np.array(message.k if field == 2 else message.p)
                matrix[random.integers(len(matrix), size=random.integers(1, 4))] = \
                    self._pick(_NUMBERS)
                setattr(message, 'k' if field == 2 else 'p', matrix)
            elif field == 4:
                message.width, message.height = int(self._pick(_SIZES)), int(self._pick(_SIZES))
            elif field == 5:
                # A negative offset is a huge one in the message's unsigned numbers.
                for name in ('x_offset', 'y_offset', 'width', 'height'):
                    setattr(message.roi, name, int(self._pick(_SIZES)))
            elif field == 6:
                message.binning_x, message.binning_y = (int(self._pick(_SIZES)) for _ in 'xy')
            else:
                message.d = (10.0 ** random.uniform(-3, 6) * random.normal(
                    size=len(message.d))).tolist()
        return self._perhaps_damaged(message)

    def _pick(self, values: object) -> object:
        return values[self._random.integers(len(values))]

    def _stamp(self, message: Image | CompressedImage) -> None:
        message.header.stamp.sec = int(self._pick([-5, -2 ** 31, 2 ** 31 - 1]))
        message.header.stamp.nanosec = int(self._pick([0, 999_999_999, 2 ** 32 - 1]))

    def _step(self, message: Image) -> None:
        message.step = int(self._pick([*_SIZES, message.step - 1, message.step + 1]))

    def _extent(self, message: Image) -> None:
        message.width, message.height = int(self._pick(_SIZES)), int(self._pick(_SIZES))

    def _encoding(self, message: Image) -> None:
        message.encoding = str(self._pick(_ENCODINGS))

    def _data(self, message: Image) -> None:
        length = int(self._pick([0, 1, len(message.data) - 1, len(message.data) + 1, 100_000]))
        message.data = self._random.bytes(length)

    def _damaged(self, data: bytes) -> bytes:
        data = bytearray(data)
        for at in self._random.integers(len(data), size=self._random.integers(1, 20)):
            data[at] = self._random.integers(256)
        return bytes(data)

    def _perhaps_damaged(self, message: Image | CompressedImage | CameraInfo) -> object:
        """Return the message, now and then as bytes that are not quite its own any more."""
        if self._random.random() > 0.1:
            return message
        data = serialize_message(message)
        if self._random.random() < 0.5:
            # The four bytes in front say in which way the others are written.
            return bytes(data[:self._random.integers(4, len(data))])
        return data[:4] + self._damaged(data[4:200]) + data[200:]


@functools.cache
def _bombs() -> list[bytes]:
    """Return small files that claim, or unpack to, far more pixels than any camera has."""
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + name + data + struct.pack(
            '>I', zlib.crc32(name + data))

    def png(width: int, height: int, rows: int) -> bytes:
        packer = zlib.compressobj(9)
        row = bytes(width + 1)
        pixels = b''.join(packer.compress(row) for _ in range(rows)) + packer.flush()
        return b'\x89PNG\r\n\x1a\n' + chunk(
            b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)) + chunk(
            b'IDAT', pixels) + chunk(b'IEND', b'')

    jpeg = bytearray(cv2.imencode('.jpg', np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    at = jpeg.find(b'\xff\xc0')
    jpeg[at + 5:at + 9] = b'\xff\xff\xff\xff'
    # The last one is within what is allowed, and most of it is missing.
    return [bytes(jpeg), png(20000, 20000, 20000), png(2 ** 31 - 1, 2 ** 31 - 1, 1),
            png(65536, 65536, 10), png(2000, 2000, 5)]
