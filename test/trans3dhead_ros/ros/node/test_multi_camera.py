"""Two cameras in one process: one model, and nothing else in common."""

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import ros_graph
from diagnostic_msgs.msg import DiagnosticStatus
from ros_graph import Client, values_of
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import Trigger

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.ros.camera_info import camera_info
from trans3dhead_ros.ros.messages import bgr_image
from trans3dhead_ros.ros.stamps import stamp_nanoseconds

# Different sizes, lenses, frames and transports.
RAW = Camera.from_fov((480, 360), 60.0)
PACKED = Camera.from_fov((640, 400), 85.0)
PLACES = {'raw': (0.05, -0.02, 0.5), 'packed': (-0.08, 0.03, 0.42)}


pytestmark = pytest.mark.ros


@pytest.fixture(scope='module')
def pictures(render):
    rotation = rotation_from_euler(np.array([6.0, -3.0, 2.0]))
    return {name: render(camera, (rotation, PLACES[name]))
            for name, camera in (('raw', RAW), ('packed', PACKED))}


@pytest.fixture
def raw(ros, two_camera_tracker):
    client = Client(camera='raw', frame='raw_optical_frame')
    client.wait_for_tracker()
    client.call(Trigger, 'head_tracker/reset', Trigger.Request())
    yield client
    client.close()


@pytest.fixture
def packed(ros, two_camera_tracker):
    client = Client(camera='packed', frame='packed_optical_frame', topic='image_raw/compressed',
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


def test_each_camera_answers_on_its_topics_with_its_frame_and_calibration(raw, packed, pictures):
    sent = {'raw': send_calibrated(raw, RAW, pictures['raw']),
            'packed': send_calibrated(packed, PACKED, pictures['packed'])}
    identities = []
    for name, client in (('raw', raw), ('packed', packed)):
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
        assert (picture.width, picture.height) == (RAW if name == 'raw' else PACKED).size
        assert client.received['head_mesh/triangles']
    assert len(set(identities)) == 2
    # Both hear the same /tf.

    def frames():
        return {t.child_frame_id: t.header.frame_id
                for message in packed.received['/tf'] for t in message.transforms}
    assert packed.spin_until(lambda: frames() == {
        f'tracked_head_{identities[0]}': 'raw_optical_frame',
        f'tracked_head_{identities[1]}': 'packed_optical_frame'}), frames()


def test_a_fast_camera_does_not_starve_a_slow_one(raw, packed, pictures):
    packed_sent, raw_sent = [], []
    for turn in range(24):
        raw_sent.append(raw.send(pictures['raw']))
        if turn % 6 == 0:
            header = packed.header(0.24)
            send(packed, header, pictures['packed'])
            packed_sent.append(header)
        raw.spin_for(0.01)
    for header in (packed_sent[-1], raw_sent[-1]):
        client = packed if header.frame_id.startswith('packed') else raw
        assert client.answer(header).header == header
    assert {m.header.frame_id for m in raw.received['heads']} == {'raw_optical_frame'}
    stamps = [stamp_nanoseconds(m.header.stamp) for m in packed.received['heads']]
    assert stamps == sorted(stamps)
    ids = [{head.id for m in client.received['heads'] for head in m.heads}
           for client in (raw, packed)]
    assert [len(i) for i in ids] == [1, 1] and not ids[0] & ids[1]


def test_a_camera_that_dies_is_reported_and_the_other_continues(raw, packed, pictures):
    raw.set_tracker_parameters(no_image_warning=1.5)
    assert raw.answer(raw.send(pictures['raw'])).heads
    packed.destroy_publisher(packed.images)

    def dead():
        raw.send(pictures['raw'])
        return any(status.name == 'head_tracker: packed' and status.level == DiagnosticStatus.WARN
                   for m in packed.received['/diagnostics'] for status in m.status)
    assert packed.spin_until(lambda: raw.spin_for(0.1) or dead(), 30.0)
    silent = packed.status(lambda status: status.level == DiagnosticStatus.WARN)
    assert 'no image' in silent.message and '/packed/image_raw/compressed' in silent.message
    lively = raw.status(lambda status: status.level == DiagnosticStatus.OK) \
        if raw.send(pictures['raw']) else None
    assert values_of(lively)['image topic'] == '/raw/image_raw'
    assert int(values_of(lively)['images processed']) > 0
    assert raw.answer(raw.send(pictures['raw'])).heads
    # And it comes back.
    packed.images = packed.create_publisher(CompressedImage, 'packed/image_raw/compressed',
                                            ros_graph.RELIABLE)
    assert packed.spin_until(packed.images.get_subscription_count)
    header = packed.header()
    send(packed, header, pictures['packed'])
    assert packed.answer(header).heads
    raw.set_tracker_parameters(no_image_warning=5.0)


def test_a_loaded_model_is_used_for_both_cameras(raw, packed, pictures):
    response = raw.load_model('')
    assert response.success, response.message
    header = packed.header()
    send(packed, header, pictures['packed'])
    assert raw.answer(raw.send(pictures['raw'])).model == response.version
    assert packed.answer(header).model == response.version
