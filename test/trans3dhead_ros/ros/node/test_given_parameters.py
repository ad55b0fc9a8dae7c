"""Parameter files and remappings take effect, or the node says why they cannot."""

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from ros_graph import (
    BEST_EFFORT,
    LATCHED,
    RELIABLE,
    SMALL_OUTPUTS,
    Client,
    TrackerProcess,
    values_of,
)
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.ros import image_headers
from trans3dhead_ros.ros.camera_info import camera_info
from trans3dhead_ros.ros.messages import bgr_image
from trans3dhead_ros.ros.outputs import HeadsOutput

pytestmark = pytest.mark.ros

PARAMETERS = """
/**:
  ros__parameters:
    autostart: true
    max_rat: 3.0
    frobnicate: true
    qos_overrides:
      /heads: {publisher: {reliability: best_effort, depth: 3}}
      /head_pose: {publisher: {durability: transient_local}}
      /haeds: {publisher: {depth: 3}}
"""


@pytest.fixture(scope='module')
def process(ros, tmp_path_factory):
    folder = tmp_path_factory.mktemp('given')
    (folder / 'given.yaml').write_text(PARAMETERS)
    process = TrackerProcess(
        folder / 'log.txt', '--params-file', str(folder / 'given.yaml'),
        '-r', 'image_raw:=/eye/image_raw')
    yield process
    assert process.stop() == 0, process.text()
    assert 'Traceback' not in process.text()


@pytest.fixture(scope='module')
def eye(process):
    """Return a client of the camera /eye, which subscribes to heads with best effort."""
    client = Client(topic='/eye/image_raw', outputs={
        name: kind for name, kind in SMALL_OUTPUTS.items() if name != 'heads'})
    client.listen('heads', SMALL_OUTPUTS['heads'], BEST_EFFORT)
    client.wait_for_tracker()
    yield client
    client.close()


def status_while_sending(client, picture, frame='camera', stamp=None) -> DiagnosticStatus:
    """Send a picture again and again until a report is not OK, and return that."""
    received = client.received['/diagnostics']
    received.clear()
    for _ in range(100):
        header = client.header()
        header.frame_id, header.stamp = frame, stamp or header.stamp
        client.images.publish(bgr_image(header, picture))
        client.spin_for(0.1)
        for message in received:
            if message.status[0].level != DiagnosticStatus.OK:
                return message.status[0]
    raise AssertionError(received[-1:])


def test_unknown_parameters_are_named_in_one_warning_with_the_nearest_known(eye, process):
    line, = (line for line in process.text().splitlines() if 'max_rat' in line)
    assert line.endswith("this node does not have are ignored: 'frobnicate', "
                         "'max_rat' (did you mean 'max_rate'?)")
    line, = (line for line in process.text().splitlines() if '/haeds' in line)
    assert "(did you mean 'qos_overrides./heads.publisher.depth'?)" in line


def test_outputs_offer_the_qos_that_is_given(eye, picture):
    def offered(topic):
        end, = eye.get_publishers_info_by_topic(topic)
        return end.qos_profile
    assert offered('/heads').reliability == ReliabilityPolicy.BEST_EFFORT
    assert offered('/head_landmarks').reliability == ReliabilityPolicy.RELIABLE
    assert offered('/head_pose').durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert eye.ask(picture).heads
    # Whoever comes late gets the last pose.
    late = []
    subscription = eye.create_subscription(PoseStamped, 'head_pose', late.append, LATCHED)
    assert eye.spin_until(lambda: late, 10.0)
    eye.destroy_subscription(subscription)


def test_an_impossible_qos_is_a_user_error(ros):
    for value in ('reliability:=sometimes', 'depth:=many', 'depth:=0'):
        node = LifecycleNode('of_qos', cli_args=[
            '--ros-args', '-p', f'qos_overrides./heads.publisher.{value}'])
        try:
            with pytest.raises(UserError, match='qos_overrides.heads.publisher'):
                HeadsOutput(node, '')
        finally:
            node.destroy_node()


def test_the_calibration_beside_the_images_is_used(eye, picture, camera):
    infos = eye.create_publisher(CameraInfo, '/eye/camera_info', RELIABLE)
    assert eye.spin_until(infos.get_subscription_count, 10.0)

    def calibrated():
        infos.publish(camera_info(camera))
        return any(head.metric for head in eye.ask(picture).heads)
    assert eye.spin_until(calibrated, 10.0)
    assert eye.diagnostics()['camera_info topic'] == '/eye/camera_info'
    eye.destroy_publisher(infos)


def test_a_slash_before_the_frame_is_removed_from_every_output(eye, process, picture):
    header = eye.header()
    eye.images.publish(bgr_image(Header(stamp=header.stamp, frame_id='/camera'), picture))
    assert eye.answer(header).header.frame_id == 'camera'
    for topic in ('head_pose', 'head_landmarks'):
        assert eye.of(topic, header).header.frame_id == 'camera'
    assert eye.of('/tf', header).transforms[0].header.frame_id == 'camera'
    status = status_while_sending(eye, picture, frame='/camera')
    assert status.level == DiagnosticStatus.WARN
    assert "frame_id: '/camera' begins with a slash" in status.message
    assert process.text().count('begins with a slash') == 1


@pytest.mark.parametrize(('stamp', 'kind'), [
    (Time(), image_headers.ZERO), (Time(sec=2000), image_headers.EQUAL),
    (Time(sec=3), image_headers.BACKWARD), (Time(sec=2 ** 31 - 1), image_headers.FUTURE)],
    ids=['zero', 'equal', 'backward', 'future'])
def test_an_implausible_stamp_raises_the_level_of_the_diagnostics(
        eye, process, picture, stamp, kind):
    assert eye.ask(picture).heads
    status = status_while_sending(eye, picture, stamp=stamp)
    assert status.level == DiagnosticStatus.WARN
    assert kind in status.message and kind in process.text()
    # It goes back once the stamps are right.
    eye.ask(picture)
    eye.status(lambda status: status.level == DiagnosticStatus.OK)


def test_the_subscription_to_a_silent_publisher_is_renewed_and_its_next_image_is_processed_once(
        eye, picture):
    eye.ask(picture)
    before = eye.diagnostics()
    eye.set_tracker_parameters(no_image_warning=1.0)
    try:
        status = eye.status(lambda status: values_of(status)['resubscriptions']
                            > before['resubscriptions'])
        assert status.level == DiagnosticStatus.WARN and status.message.startswith('no image')
        assert eye.ask(picture).heads
        after = eye.diagnostics(lambda v: v['images processed'] > before['images processed'])
        # Both subscriptions are there for a moment.
        assert int(after['images received']) == int(before['images received']) + 1
    finally:
        eye.set_tracker_parameters(no_image_warning=5.0)


def test_a_publisher_that_stays_silent_is_subscribed_to_by_another_participant(eye, picture):
    """If DDS delivers nothing after a crash, a new subscription of the same one does not help."""
    eye.ask(picture)
    before = eye.diagnostics()
    eye.set_tracker_parameters(no_image_warning=1.0)
    try:
        eye.status(lambda status: int(values_of(status)['resubscriptions'])
                   >= int(before['resubscriptions']) + 2)
        assert '_head_tracker_images' in eye.get_node_names()
        eye.set_tracker_parameters(no_image_warning=60.0)
        # The last subscription may not be matched yet: a camera goes on sending.
        sent = (eye.send(picture) for _ in range(10))
        assert any(eye.spin_until(lambda header=header: eye.all_of('heads', header), 3.0)
                   for header in sent)
        eye.spin_for(2.0)
        before = eye.diagnostics()
        for count in (1, 2):
            assert eye.ask(picture).heads
            after = eye.diagnostics(lambda values, count=count: int(
                values['images processed']) >= int(before['images processed']) + count)
            assert int(after['images received']) == int(before['images received']) + count
    finally:
        eye.set_tracker_parameters(no_image_warning=5.0)
