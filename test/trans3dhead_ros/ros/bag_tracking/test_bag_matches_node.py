"""A bag is processed as a live node processes the same images."""

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import rclpy
import ros_graph
from bags import CAMERA, FRAME, heads_of, messages_of, stamp_of, write_bag
from rclpy.serialization import deserialize_message
from rclpy.time import Time
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker, MarkerArray

from trans3dhead_ros.ros.camera_info import camera_info
from trans3dhead_ros.ros.messages import MESH_POINT, bgr_image

pytestmark = pytest.mark.ros
TOPICS = ('heads', 'head_pose', '/tf', 'head_landmarks', 'head_markers', 'head_mesh')


def header_of(index):
    return Header(stamp=Time(nanoseconds=stamp_of(index)).to_msg(), frame_id=FRAME)


@pytest.fixture
def live(images, tmp_path):
    """Return what a node publishes about the images over DDS, one after the other, by topic."""
    ros_graph.start_ros()
    process = ros_graph.TrackerProcess(tmp_path / 'log.txt', '-p', 'autostart:=true')
    client = ros_graph.Client()
    client.wait_for_tracker()
    # Until the calibration has arrived, too.
    for _ in range(100):
        client.infos.publish(camera_info(CAMERA))
        answer = client.ask(images[0])
        if answer.heads and answer.heads[0].metric:
            break
    client.call(Trigger, 'head_tracker/reset', Trigger.Request())
    for messages in client.received.values():
        messages.clear()
    for index, image in enumerate(images[:7]):
        client.images.publish(bgr_image(header_of(index), image))
        client.answer(header_of(index))
    found = [message for message in client.received['heads'] if message.heads]
    for topic in TOPICS[1:]:
        client.of(topic, found[-1].header)
    # Messages about the image before the first may arrive late.
    received = {topic: [message for index in range(7)
                        for message in client.all_of(topic, header_of(index))]
                for topic in TOPICS}
    client.close()
    assert process.stop() == 0, process.text()
    rclpy.try_shutdown()
    return received


def numbers(message):
    """Return all numbers of a message in order, without ids and texts."""
    if isinstance(message, (bool, int, float)):
        return [float(message)]
    if isinstance(message, (str, bytes)):
        return []
    if hasattr(message, 'get_fields_and_field_types'):
        values = {name: getattr(message, name) for name in message.get_fields_and_field_types()
                  if name not in ('id', 'ids')}
        if isinstance(message, PointCloud2):
            xyz = np.frombuffer(message.data, MESH_POINT)['xyz']
            values['data'] = np.frombuffer(xyz.tobytes(), np.uint8)
        return [n for value in values.values() for n in numbers(value)]
    if isinstance(message, np.ndarray) or hasattr(message, 'typecode'):
        return list(map(float, message))
    return [n for part in message for n in numbers(part)]


def test_a_bag_is_processed_as_a_live_node_does(live, images, tmp_path, track):
    bag = write_bag(tmp_path / 'bag', images[:7])
    assert track(bag, tmp_path / 'out.mcap', '--markers', '--mesh') == 0
    written = {}
    for topic, _, data in messages_of(tmp_path / 'out.mcap'):
        written.setdefault(topic, []).append(data)
    for topic in TOPICS:
        expected = live[topic]
        if topic == 'head_markers':
            # The first one also removes the head before the reset.
            first = [marker for marker in expected[0].markers if marker.action == Marker.ADD]
            expected = [MarkerArray(markers=first), *expected[1:]]
        made = [deserialize_message(data, type(expected[0]))
                for data in written[f'/{topic.strip("/")}']]
        assert len(made) == len(expected), topic
        # The points of markers take long to compare.
        count = 3 if topic == 'head_markers' else len(made)
        for one, other in zip(made[:count], expected[:count], strict=True):
            np.testing.assert_allclose(numbers(one), numbers(other), rtol=1e-5, atol=1e-5)
    heads = heads_of(tmp_path / 'out.mcap')
    first, live_first = heads[0].heads[0].id, live['heads'][0].heads[0].id
    assert [[h.id - first for h in message.heads] for message in heads] \
        == [[h.id - live_first for h in message.heads] for message in live['heads']]
    assert {(h.model, tuple(h.expression_names)) for h in heads} \
        == {(h.model, tuple(h.expression_names)) for h in live['heads']}
