"""The example nodes react to what the tracker finds in clips, over DDS."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from clips import clip
from geometry_msgs.msg import PoseStamped, TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_graph import FRAME, HEADS, Client, TrackerProcess
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState
from std_msgs.msg import Int32MultiArray, String
from tf2_msgs.msg import TFMessage

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import (
    FACING_CAMERA,
    quaternion_from_rotation,
    rotation_from_euler,
    viewing_ray_rotation,
)
from trans3dhead_ros.model_files.model_pair import open_model
from trans3dhead_ros.ros.camera_info import camera_info
from trans3dhead_ros.ros.messages import bgr_image

pytestmark = [pytest.mark.ros, pytest.mark.slow]

EXAMPLES = Path(__file__).resolve().parents[3] / 'examples'
FILES = sorted(EXAMPLES.glob('*.py'))
OUTPUTS = {'gesture': String, 'smiling': Int32MultiArray, 'neck_command': JointState}
CAMERA = Camera.from_fov((320, 240), 60.0)


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_an_example_is_short_and_can_be_run(path):
    assert len(path.read_text().splitlines()) <= 80 and os.access(path, os.X_OK)


def test_the_page_names_the_expressions_of_the_bundled_model():
    section = (EXAMPLES.parent / 'docs' / 'examples.md').read_text().split('## Expressions')[1]
    rows = re.findall(r'^\| [^|]+ \| (`.*`) \|$', section, re.MULTILINE)
    assert sorted(re.findall(r'`(\w+)`', ' '.join(rows))) == sorted(
        open_model().metadata['expression_names'])


@pytest.fixture(scope='module')
def audience(ros, tmp_path_factory):
    """Return a client that subscribes to the examples, which run beside a tracker."""
    folder = tmp_path_factory.mktemp('examples')
    tracker = TrackerProcess(folder / 'tracker.txt', '-p', 'autostart:=true')
    examples = [path for path in FILES if path.stem != 'look_at_me' or find_spec('tf2_ros')]
    logs = [folder / f'{path.stem}.txt' for path in examples]
    processes = [subprocess.Popen([sys.executable, str(path)], stderr=log.open('w'))
                 for path, log in zip(examples, logs, strict=True)]
    client = Client(outputs={**HEADS, 'head_pose': PoseStamped, **OUTPUTS})
    client.wait_for_tracker()
    assert client.spin_until(lambda: {path.stem for path in examples} <= {*client.get_node_names()})
    yield client
    client.close()
    for process in (*processes, tracker.popen):
        process.terminate()
    assert [process.wait(30) for process in (*processes, tracker.popen)] == [0] * (
        len(processes) + 1)
    assert not ''.join(log.read_text() for log in logs)


@pytest.fixture
def show(audience):
    """Return a function that sends a clip and returns what the examples published, by topic."""
    def show(frames, fps, camera=None):
        audience.header(period=10.0)  # nobody remembers the clip before
        audience.forget()
        for frame in frames:
            header = audience.header(1 / fps)
            if camera is not None:
                message = camera_info(camera)
                message.header = header
                audience.infos.publish(message)
            audience.images.publish(bgr_image(header, frame))
            audience.answer(header)
        audience.spin_for(0.5)
        return {topic: [*audience.received[topic]] for topic in (*OUTPUTS, 'heads')}
    return show


@pytest.fixture(scope='module')
def gesture(render):
    """Return a function that draws 1.5 s of a head turning back and forth, 16 images a second."""
    def gesture(axis):
        angles = np.zeros((8, 3))
        angles[:, axis] = 9.0 * np.sin(np.linspace(0.0, 2 * np.pi, 8, endpoint=False))
        return 3 * [render(CAMERA, (rotation_from_euler(euler), (0.0, 0.0, 0.5)))
                    for euler in angles]
    return gesture


@pytest.mark.parametrize(('axis', 'name'), [(0, 'shake'), (1, 'nod')])
def test_a_nod_and_a_shake_are_distinguished(show, gesture, axis, name):
    assert {message.data for message in show(gesture(axis), 16)['gesture']} == {name}


def test_a_man_who_smiles_into_the_camera_neither_nods_nor_shakes(show):
    heard = show(clip('head-pose-face-detection-male')[:30], 12.5)
    (principal,) = {array.heads[0].id for array in heard['heads']}
    assert [message.data.tolist() for message in heard['smiling']] == [[principal]]
    assert not heard['gesture']


def test_a_woman_who_looks_around_neither_smiles_nor_shakes_her_head(show):
    heard = show(clip('head-pose-face-detection-female'), 12.5)
    assert not heard['gesture'] and not [m for m in heard['smiling'] if m.data]


def test_the_neck_turns_to_a_head_that_looks_at_the_camera_only(show, audience, render):
    pytest.importorskip('tf2_ros', reason='tf2_ros is not installed')
    # The neck lies 0.2 m below and 0.1 m behind the camera, which looks along its x axis.
    rotation = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    offset = np.array([0.1, 0.0, 0.2])
    mount = TransformStamped(child_frame_id=FRAME)
    mount.header.frame_id = 'base_link'
    for part, values in ((mount.transform.translation, offset),
                         (mount.transform.rotation, quaternion_from_rotation(rotation))):
        for axis, value in zip('xyzw', values, strict=False):
            setattr(part, axis, float(value))
    static = audience.create_publisher(TFMessage, '/tf_static', QoSProfile(
        depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    static.publish(TFMessage(transforms=[mount]))
    place = np.array([0.08, -0.03, 0.5])
    ahead = viewing_ray_rotation(place) @ FACING_CAMERA
    aside = ahead @ Rotation.from_euler('z', 40, degrees=True).as_matrix()
    commands = show(4 * [render(CAMERA, (ahead, place))], 16, CAMERA)['neck_command']
    x, y, z = rotation @ place + offset
    assert commands
    for command in commands:
        assert command.name == ['pan', 'tilt']
        np.testing.assert_allclose(
            command.position, [np.arctan2(y, x), np.arctan2(-z, np.hypot(x, y))], atol=0.03)
    assert not show(4 * [render(CAMERA, (aside, place))], 16, CAMERA)['neck_command']
