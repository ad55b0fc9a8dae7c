"""The demo: three processes over DDS, from a source to the files of the recorder."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import rclpy
import ros_graph
from rclpy.time import Time
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import Image
from std_msgs.msg import String
from synthetic import write_turning_head

from trans3dhead_ros.bags.message_types import common_types
from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.network.checkpoint import load_head_model
from trans3dhead_ros.ros.demo.image_publisher import FRAMES_QOS, FRAMES_TOPIC
from trans3dhead_training.synthesis.preview.head_renderer import HeadRenderer


@pytest.fixture(scope='module', autouse=True)
def ros():
    ros_graph.start_ros()
    yield
    rclpy.try_shutdown()


def demo(*arguments, timeout=240):
    return subprocess.run([sys.executable, '-m', 'trans3dhead_ros.ros.demo.demo', *map(str, arguments)],
                          capture_output=True, text=True, timeout=timeout)


@pytest.mark.parametrize('name', ['image_publisher', 'recorder'])
def test_what_only_sends_or_records_does_not_load_pytorch(name):
    run = subprocess.run(
        [sys.executable, '-c', f'import sys, trans3dhead_ros.ros.{name}\n'
         'sys.exit("torch" in sys.modules)'])
    assert run.returncode == 0


def children_of(parent):
    # The fourth field, behind the name in brackets, is the parent.
    children = []
    for path in Path('/proc').glob('[0-9]*/stat'):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            stat = path.read_text()
            if int(stat.rpartition(')')[2].split()[1]) == parent:
                children.append(int(stat.split()[0]))
    return children


def rows_of(folder):
    return [json.loads(line) for line in (folder / 'heads.jsonl').read_text().splitlines()]


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    """A folder of four pictures; the second one is empty."""
    folder = tmp_path_factory.mktemp('pictures')
    renderer, camera = HeadRenderer.from_model(load_head_model()), Camera.from_fov((480, 360), 60.0)
    wall = np.full((360, 480, 3), 120, np.uint8)
    for index, yaw in enumerate([0.0, None, 4.0, 8.0]):
        image = wall if yaw is None else renderer.render(
            wall, camera, rotation_from_euler(np.array([yaw, -3.0, 0.0])), np.array([0, 0, 0.5]))
        cv2.imwrite(str(folder / f'{index}.png'), image)
    return folder


@pytest.fixture(scope='module')
def result(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp('result')
    return folder, demo('--source', pictures, '--output', folder)


def test_demo_has_one_row_per_frame_also_without_a_head(result):
    folder, run = result
    assert run.returncode == 0, run.stderr
    rows = rows_of(folder)
    assert [row['frame'] for row in rows] == [0, 1, 2, 3]
    assert [row['stamp'] for row in rows] == [0.0, 0.1, 0.2, 0.3]
    assert [len(row['heads']) for row in rows] == [1, 0, 1, 1]
    head = rows[0]['heads'][0]
    assert set(head) == {'id', 'score', 'box', 'euler_deg', 'position', 'quaternion', 'landmarks'}
    assert np.shape(head['landmarks']) == (68, 3)


def test_demo_leaves_a_video_and_a_picture(result, pictures):
    folder, _ = result
    capture = cv2.VideoCapture(str(folder / 'overlay.mp4'))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    assert len(frames) == 4
    source = cv2.imread(str(pictures / '0.png'))
    picture = cv2.imread(str(folder / 'overlay.png'))
    assert picture.shape == frames[0].shape == source.shape
    # Something is drawn into it, but most of it is the source.
    changed = np.abs(frames[0].astype(int) - source).max(axis=-1) > 40
    assert 0.005 < changed.mean() < 0.5


def test_demo_leaves_a_bag_of_what_was_said(result):
    folder, _ = result
    types = common_types()
    with Reader(folder / 'bag') as bag:
        counts = {c.topic: c.msgcount for c in bag.connections}
        heads = [types.deserialize_cdr(data, c.msgtype) for c, _, data in bag.messages()
                 if c.topic == '/heads']
        images = [types.deserialize_cdr(data, c.msgtype) for c, _, data in bag.messages()
                  if c.topic == '/image_raw/compressed']
    assert counts['/heads'] == counts['/image_raw/compressed'] == 4
    assert counts['/head_pose'] == counts['/tf'] == 3
    assert [len(message.heads) for message in heads] == [1, 0, 1, 1]
    assert [m.header.stamp for m in heads] == [m.header.stamp for m in images]


def test_demo_prints_its_summary(result):
    _, run = result
    assert run.stderr == ''
    for part in ('frames: 4, with a head: 3, drops: 0', 'fps: ', 'latency: p50 ', 'pose range'):
        assert part in run.stdout
    assert 'pose error' not in run.stdout


def test_demo_in_real_time_knows_the_truth_and_counts_drops(tmp_path):
    clip = write_turning_head(tmp_path / 'clip', load_head_model(), frames=25)
    run = demo('--source', clip, '--pace', 'realtime', '--output', tmp_path / 'out')
    assert run.returncode == 0, run.stderr
    rows = rows_of(tmp_path / 'out')
    assert [row['frame'] for row in rows] == list(range(25))
    assert 'pose error: ' in run.stdout and 'drops: ' in run.stdout
    with Reader(tmp_path / 'out' / 'bag') as bag:
        # The camera of a rendered clip is known.
        assert any(c.topic == '/camera_info' for c in bag.connections)


def test_a_source_is_repeated_with_stamps_that_go_on(pictures):
    node = rclpy.create_node('listener')
    images, told = [], []
    node.create_subscription(Image, 'again/image_raw', images.append, 10)
    node.create_subscription(String, f'again/{FRAMES_TOPIC}', told.append, FRAMES_QOS)
    process = subprocess.Popen(
        [sys.executable, '-m', 'trans3dhead_ros.ros.demo.image_publisher', '--ros-args', '-r',
         '__ns:=/again', '-p', f'source:={pictures}', '-p', 'pace:=realtime', '-p', 'repeat:=true'])
    try:
        deadline = time.monotonic() + 60.0
        while len(images) < 7 and time.monotonic() < deadline:
            rclpy.spin_once(node, timeout_sec=0.1)
        process.send_signal(signal.SIGINT)
        while not told and time.monotonic() < deadline:
            rclpy.spin_once(node, timeout_sec=0.1)
        assert process.wait(30) == 0
    finally:
        process.kill()
        node.destroy_node()
    stamps = np.array([Time.from_msg(image.header.stamp).nanoseconds for image in images]) * 1e-9
    # A slow machine may lose one on the way.
    places = np.round((stamps - stamps[0]) / 0.1).astype(int)
    np.testing.assert_allclose(stamps - stamps[0], 0.1 * places, atol=1e-5)
    assert (np.diff(places) > 0).all() and places[-1] >= 4
    seen = [{bytes(image.data) for image, at in zip(images, places, strict=True) if at % 4 == place}
            for place in range(4)]
    assert all(len(pictures_of_place) <= 1 for pictures_of_place in seen)
    assert len(set.union(*seen)) > 1
    # Of the last round only: a source that is repeated for days must not fill the memory.
    assert len(json.loads(told[0].data)['frames']) <= 4


@pytest.mark.parametrize(('arguments', 'word'), [
    (['--source', '/no/such/clip.mp4'], 'clip.mp4'),
    (['--source', __file__], 'cannot be read'),
    (['--pace', 'slow'], 'slow'),
    (['--sauce', 'x'], '--sauce'),
])
def test_user_mistakes_are_one_line_and_code_two(arguments, word, tmp_path):
    run = demo(*arguments, '--output', tmp_path)
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1 and word in run.stderr
    assert not (tmp_path / 'heads.jsonl').exists()


@pytest.mark.parametrize('name', ['bag', 'log'])
def test_what_is_not_of_a_demo_is_not_replaced(name, pictures, tmp_path):
    (tmp_path / name).mkdir()
    (tmp_path / name / 'dear.txt').write_text('to somebody')
    run = demo('--source', pictures, '--output', tmp_path)
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1 and 'output: ' in run.stderr
    assert (tmp_path / name / 'dear.txt').exists()


def test_a_stream_is_stamped_when_it_arrives(tmp_path):
    # Opened as a stream for its name; whoever listens comes seconds later.
    clip = write_turning_head(tmp_path / 'clip', load_head_model(), frames=25)
    process = subprocess.Popen(
        [sys.executable, '-m', 'trans3dhead_ros.ros.demo.image_publisher', '--ros-args', '-r',
         '__ns:=/stream', '-p', f'source:=file://{clip}', '-p', 'pace:=realtime'])
    node = None
    try:
        time.sleep(4.0)
        node = rclpy.create_node('listener')
        ages = []
        node.create_subscription(Image, 'stream/image_raw', lambda message: ages.append(
            (node.get_clock().now() - Time.from_msg(message.header.stamp)).nanoseconds * 1e-9), 50)
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
    # They come at once, and are too many to be kept for a slow listener.
    assert ages
    assert min(ages) > -0.05
    assert max(ages) < 1.5


def test_failing_process_ends_the_demo_with_its_reason(pictures, tmp_path):
    run = demo('--source', pictures, '--output', tmp_path, '--model', '/no/such.safetensors')
    assert run.returncode == 1
    assert len(run.stderr.splitlines()) == 1 and 'no such checkpoint' in run.stderr


def test_interrupted_demo_leaves_no_process(pictures, tmp_path):
    process = subprocess.Popen(
        [sys.executable, '-m', 'trans3dhead_ros.ros.demo.demo', '--source', str(pictures), '--output',
         str(tmp_path)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while len(children := children_of(process.pid)) < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert 'Traceback' not in process.stderr.read()
    for pid in children:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
