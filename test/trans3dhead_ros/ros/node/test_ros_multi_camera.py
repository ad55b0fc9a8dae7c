"""Two cameras in one process: one model, and nothing else in common."""

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import rclpy
import ros_graph
from diagnostic_msgs.msg import DiagnosticStatus
from ros_graph import Client, TrackerProcess, values_of
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import Trigger
from trans3dhead.srv import LoadModel

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.network.checkpoint import load_head_model
from trans3dhead_ros.ros.camera_info import camera_info
from trans3dhead_ros.ros.messages import bgr_image
from trans3dhead_training.synthesis.preview.head_renderer import HeadRenderer

# Different sizes, lenses, frames and transports.
FRONT = Camera.from_fov((480, 360), 60.0)
REAR = Camera.from_fov((640, 400), 85.0)
PLACES = {'front': (0.05, -0.02, 0.5), 'rear': (-0.08, 0.03, 0.42)}


@pytest.fixture(scope='module', autouse=True)
def ros():
    ros_graph.start_ros()
    yield
    rclpy.try_shutdown()


@pytest.fixture(scope='module')
def pictures():
    renderer = HeadRenderer.from_model(load_head_model())
    rotation = rotation_from_euler(np.array([6.0, -3.0, 2.0]))

    def picture(camera, place):
        wall = np.full((camera.size[1], camera.size[0], 3), (120, 128, 122), np.uint8)
        return renderer.render(wall, camera, rotation, np.array(place))
    return {'front': picture(FRONT, PLACES['front']), 'rear': picture(REAR, PLACES['rear'])}


@pytest.fixture(scope='module')
def tracker(tmp_path_factory):
    process = TrackerProcess(
        tmp_path_factory.mktemp('cameras') / 'log.txt', '-p', 'autostart:=true',
        '-p', 'cameras:=[front, rear]', '-p', 'rear.image_transport:=compressed',
        '-p', 'no_image_warning:=1.5')
    yield process
    assert process.stop() == 0, process.text()
    assert 'Traceback' not in process.text()


@pytest.fixture
def front(tracker):
    client = Client(camera='front', frame='front_optical_frame')
    client.wait_for_tracker()
    client.call(Trigger, 'head_tracker/reset', Trigger.Request())
    yield client
    client.close()


@pytest.fixture
def rear(tracker):
    client = Client(camera='rear', frame='rear_optical_frame', topic='image_raw/compressed',
                    kind=CompressedImage)
    client.wait_for_tracker()
    yield client
    client.close()


def send_calibrated(client, camera, image):
    """Send a calibration and, once it has had time to arrive, an image; return its header."""
    info, header = camera_info(camera), client.header()
    info.header = header
    client.infos.publish(info)
    client.spin_for(0.2)
    send(client, header, image)
    return header


def send(client, header, image):
    if client.images.msg_type is CompressedImage:
        data = cv2.imencode('.png', image)[1].tobytes()
        client.images.publish(ros_graph.compressed(header, data))
    else:
        client.images.publish(bgr_image(header, image))


def test_each_camera_answers_on_its_topics_with_its_frame_and_calibration(front, rear, pictures):
    sent = {'front': send_calibrated(front, FRONT, pictures['front']),
            'rear': send_calibrated(rear, REAR, pictures['rear'])}
    identities = []
    for name, client in (('front', front), ('rear', rear)):
        answer = client.answer(sent[name])
        assert answer.header == sent[name]
        assert answer.header.frame_id == f'{name}_optical_frame'
        head, = answer.heads
        identities.append(head.id)
        assert head.metric
        at = head.pose.pose.position
        np.testing.assert_allclose([at.x, at.y, at.z], PLACES[name], atol=0.05)
        for topic in ('head_pose', 'head_landmarks', 'head_mesh', 'overlay'):
            assert client.of(topic, sent[name]).header == sent[name]
        picture = client.of('overlay', sent[name])
        assert (picture.width, picture.height) == (FRONT if name == 'front' else REAR).size
        assert client.received['head_mesh/triangles']
    assert len(set(identities)) == 2
    # Both hear the same /tf.
    def frames():
        return {t.child_frame_id: t.header.frame_id
                for message in rear.received['/tf'] for t in message.transforms}
    assert rear.spin_until(lambda: frames() == {
        f'tracked_head_{identities[0]}': 'front_optical_frame',
        f'tracked_head_{identities[1]}': 'rear_optical_frame'}), frames()


def test_a_fast_camera_does_not_starve_a_slow_one(front, rear, pictures):
    rear_sent, front_sent = [], []
    for turn in range(24):
        front_sent.append(front.send(pictures['front']))
        if turn % 6 == 0:
            header = rear.header(0.24)
            send(rear, header, pictures['rear'])
            rear_sent.append(header)
        front.spin_for(0.01)
    for header in (rear_sent[-1], front_sent[-1]):
        client = rear if header.frame_id.startswith('rear') else front
        assert client.answer(header).header == header
    assert {m.header.frame_id for m in front.received['heads']} == {'front_optical_frame'}
    stamps = [m.header.stamp.sec * 10 ** 9 + m.header.stamp.nanosec
              for m in rear.received['heads']]
    assert stamps == sorted(stamps)
    ids = [{head.id for m in client.received['heads'] for head in m.heads}
           for client in (front, rear)]
    assert [len(i) for i in ids] == [1, 1] and not ids[0] & ids[1]


def test_a_camera_that_dies_is_reported_and_the_other_goes_on(front, rear, tracker, pictures):
    assert front.answer(front.send(pictures['front'])).heads
    rear.destroy_publisher(rear.images)

    def dead():
        front.send(pictures['front'])
        return any(status.name == 'head_tracker: rear' and status.level == DiagnosticStatus.WARN
                   for m in rear.received['/diagnostics'] for status in m.status)
    assert rear.spin_until(lambda: front.spin_for(0.1) or dead(), 30.0)
    silent = rear.status(lambda status: status.level == DiagnosticStatus.WARN)
    assert 'no image' in silent.message and '/rear/image_raw/compressed' in silent.message
    lively = front.status(lambda status: status.level == DiagnosticStatus.OK) \
        if front.send(pictures['front']) else None
    assert values_of(lively)['image topic'] == '/front/image_raw'
    assert int(values_of(lively)['images answered']) > 0
    assert front.answer(front.send(pictures['front'])).heads
    # And it comes back.
    rear.images = rear.create_publisher(CompressedImage, 'rear/image_raw/compressed',
                                        ros_graph.RELIABLE)
    assert rear.spin_until(rear.images.get_subscription_count)
    header = rear.header()
    send(rear, header, pictures['rear'])
    assert rear.answer(header).heads


def test_a_loaded_model_serves_both(front, rear, pictures):
    response = front.call(LoadModel, 'head_tracker/load_model', LoadModel.Request())
    assert response.success, response.message
    header = rear.header()
    send(rear, header, pictures['rear'])
    assert front.answer(front.send(pictures['front'])).model == response.version
    assert rear.answer(header).model == response.version
