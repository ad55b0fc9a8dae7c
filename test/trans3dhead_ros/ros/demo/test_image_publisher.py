"""image_publisher repeats a source with increasing stamps, and stamps a stream as it arrives."""

import json
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import rclpy
import ros_graph
from bags import stamp_ns
from sensor_msgs.msg import Image
from std_msgs.msg import String
from synthetic import write_turning_head

from trans3dhead_ros.network.checkpoint import load_head_model
from trans3dhead_ros.ros.demo.image_publisher import FRAMES_QOS, FRAMES_TOPIC

pytestmark = [pytest.mark.ros, pytest.mark.alone]


@pytest.fixture(scope='module', autouse=True)
def ros():
    ros_graph.start_ros()
    yield
    rclpy.try_shutdown()


def publisher(namespace, *parameters):
    words = [word for parameter in parameters for word in ('-p', parameter)]
    return subprocess.Popen(
        [sys.executable, '-m', 'trans3dhead_ros.ros.demo.image_publisher', '--ros-args', '-r',
         f'__ns:=/{namespace}', *words])


def test_a_source_is_repeated_with_increasing_stamps(tmp_path):
    for index in range(4):
        cv2.imwrite(str(tmp_path / f'{index}.png'), np.full((48, 64, 3), 50 * index, np.uint8))
    node = rclpy.create_node('listener')
    images, frames = [], []
    node.create_subscription(Image, 'again/image_raw', images.append, 10)
    node.create_subscription(String, f'again/{FRAMES_TOPIC}', frames.append, FRAMES_QOS)
    process = publisher('again', f'source:={tmp_path}', 'pace:=realtime', 'repeat:=true')
    try:
        deadline = time.monotonic() + 60.0
        while len(images) < 7 and time.monotonic() < deadline:
            rclpy.spin_once(node, timeout_sec=0.1)
        process.send_signal(signal.SIGINT)
        while not frames and time.monotonic() < deadline:
            rclpy.spin_once(node, timeout_sec=0.1)
        assert process.wait(30) == 0
    finally:
        process.kill()
        node.destroy_node()
    stamps = np.array([stamp_ns(image) for image in images]) * 1e-9
    # A slow machine may lose one on the way.
    places = np.round((stamps - stamps[0]) / 0.1).astype(int)
    np.testing.assert_allclose(stamps - stamps[0], 0.1 * places, atol=1e-5)
    assert (np.diff(places) > 0).all() and places[-1] >= 4
    seen = [{bytes(image.data) for image, at in zip(images, places, strict=True) if at % 4 == place}
            for place in range(4)]
    assert all(len(images_of_place) <= 1 for images_of_place in seen)
    assert len(set.union(*seen)) > 1
    # Of the last round only: a source that is repeated for days must not fill the memory.
    assert len(json.loads(frames[0].data)['frames']) <= 4


def test_a_stream_is_stamped_when_it_arrives(tmp_path):
    # Opened as a stream because of its URL; the subscriber comes seconds later.
    clip = write_turning_head(tmp_path / 'clip', load_head_model(), frames=25)
    process = publisher('stream', f'source:=file://{clip}', 'pace:=realtime')
    node = None
    try:
        time.sleep(4.0)
        node = rclpy.create_node('listener')
        ages = []
        node.create_subscription(Image, 'stream/image_raw', lambda message: ages.append(
            (node.get_clock().now().nanoseconds - stamp_ns(message)) * 1e-9), 50)
        deadline = time.monotonic() + 60.0
        while process.poll() is None and time.monotonic() < deadline:
            rclpy.spin_once(node, timeout_sec=0.1)
        # What has arrived is still to be taken.
        for _ in range(50):
            rclpy.spin_once(node, timeout_sec=0.02)
        assert process.returncode == 0
    finally:
        process.kill()
        if node is not None:
            node.destroy_node()
    # They come at once, and are too many to be kept for a slow subscriber.
    assert ages
    assert min(ages) > -0.05
    assert max(ages) < 1.5
