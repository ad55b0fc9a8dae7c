"""Bags of a camera, written and read without ROS."""

import functools
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer

from trans3dhead_ros.bags.bag_writer import BagWriter
from trans3dhead_ros.bags.message_types import common_types
from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import rotation_from_euler

SIZE = (320, 240)
CAMERA = Camera.from_fov(SIZE, 60.0)
FRAME = 'some_camera_optical_frame'
FIRST = 1_700_000_000_000_000_000  # ns
PERIOD = 40_000_000  # ns
LATENCY = 7_000_000  # ns from a stamp to its recording
IMAGES = '/cam/image_raw'


def stamp_of(index: int) -> int:
    return FIRST + index * PERIOD


def recorded_at(index: int) -> int:
    return stamp_of(index) + LATENCY


@functools.cache
def types():
    return common_types()


def message(kind: str, **fields) -> bytes:
    """Return a serialized message."""
    return bytes(types().serialize_cdr(types().types[kind](**fields), kind))


def header(stamp: int):
    known = types().types
    time = known['builtin_interfaces/msg/Time'](*divmod(stamp, 10 ** 9))
    return known['std_msgs/msg/Header'](time, FRAME)


def raw_image(stamp: int, image: np.ndarray) -> bytes:
    height, width, _ = image.shape
    return message('sensor_msgs/msg/Image', header=header(stamp), height=height, width=width,
                   encoding='bgr8', is_bigendian=0, step=3 * width, data=image.ravel())


def compressed_image(stamp: int, data: bytes, kind: str) -> bytes:
    return message('sensor_msgs/msg/CompressedImage', header=header(stamp), format=kind,
                   data=np.frombuffer(data, np.uint8))


def calibration(stamp: int, camera: Camera = CAMERA) -> bytes:
    K = camera.K
    return message(
        'sensor_msgs/msg/CameraInfo', header=header(stamp), height=SIZE[1], width=SIZE[0],
        distortion_model='plumb_bob', d=np.zeros(5), k=K.ravel(), r=np.eye(3).ravel(),
        p=np.hstack([K, np.zeros((3, 1))]).ravel(), binning_x=0, binning_y=0,
        roi=types().types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False))


def write_bag(path: Path, images, storage='mcap', topic=IMAGES, calibrated=True,
              compressed=False) -> Path:
    """Write images, each followed by its calibration, as recorders often do."""
    with BagWriter(path, storage) as bag:
        for index, image in enumerate(images):
            stamp, recorded = stamp_of(index), recorded_at(index)
            if compressed:
                data = cv2.imencode('.png', image)[1].tobytes()
                bag.write(f'{topic}/compressed', 'sensor_msgs/msg/CompressedImage', recorded,
                          compressed_image(stamp, data, 'png'))
            else:
                bag.write(topic, 'sensor_msgs/msg/Image', recorded, raw_image(stamp, image))
            if calibrated:
                bag.write(f'{topic.rpartition("/")[0]}/camera_info', 'sensor_msgs/msg/CameraInfo',
                          recorded + 1000, calibration(stamp))
    return path


def recompress(bag: Path, path: Path, mode=CompressionMode.STORAGE) -> Path:
    """Copy a bag with zstd: its chunks (as rosbag2 does by default), its file or its messages."""
    writer = Writer(path, version=8, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with Reader(bag) as reader, writer:
        added = {c.id: writer.add_connection(c.topic, c.msgtype, typestore=types())
                 for c in reader.connections}
        for connection, stamp, data in reader.messages():
            writer.write(added[connection.id], stamp, data)
    return path


def file_of(folder: Path) -> Path:
    """Return the file with the messages of a bag."""
    return next(path for path in folder.iterdir() if path.suffix in ('.mcap', '.db3'))


def messages_of(path: Path) -> list[tuple[str, int, bytes]]:
    """Return topic, time of recording and bytes of every message."""
    with Reader(path) as reader:
        return [(connection.topic, stamp, bytes(data))
                for connection, stamp, data in reader.messages()]


def heads_of(path: Path) -> list:
    """Return the HeadArray messages of a bag."""
    return [types().deserialize_cdr(data, 'trans3dhead/msg/HeadArray')
            for topic, _, data in messages_of(path) if topic.endswith('heads')]


def stamp_ns(message) -> int:
    """Return the stamp of a message's header."""
    return message.header.stamp.sec * 10 ** 9 + message.header.stamp.nanosec


@functools.cache
def turning_heads(count: int = 14) -> tuple[np.ndarray, ...]:
    """Render a head that turns by a degree an image; the third image is empty."""
    from trans3dhead_ros.network.checkpoint import load_head_model
    from trans3dhead_training.synthesis.preview.head_renderer import HeadRenderer

    renderer = HeadRenderer.from_model(load_head_model())
    wall = np.full((*SIZE[::-1], 3), 120, np.uint8)
    return tuple(
        wall if index == 2 else renderer.render(
            wall, CAMERA, rotation_from_euler(np.array([index - 6.0, -3.0, 0.0])),
            np.array([0.001 * index, 0.0, 0.45]))
        for index in range(count))
