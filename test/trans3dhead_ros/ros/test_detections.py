"""Heads as detections of vision_msgs, received over DDS."""

import sys

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from ros_graph import HEADS, Client, TrackerProcess

from trans3dhead_ros.ros.detections import load_vision_messages

pytestmark = pytest.mark.ros


def test_missing_messages_are_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'vision_msgs.msg', None)
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')
    with pytest.raises(ValueError, match='parameter detections: vision_msgs .*ros-jazzy-vision'):
        load_vision_messages()


def test_detections_are_the_heads_of_the_image(ros, tmp_path, picture):
    kinds = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is not installed')
    process = TrackerProcess(tmp_path / 'log.txt', '-p', 'autostart:=true', '-p',
                             'detections:=true', '-p', 'cameras:=[eye]')
    client = Client(camera='eye', outputs={**HEADS, 'detections': kinds.Detection2DArray})
    try:
        client.wait_for_tracker()
        header = client.send(picture)
        (head,) = client.answer(header).heads
        array = client.of('detections', header)
        (detection,) = array.detections
        (result,) = detection.results
        assert array.header == detection.header == header
        assert (detection.id, result.hypothesis.class_id) == (str(head.id), 'head')
        assert result.hypothesis.score == pytest.approx(head.score)
        assert result.pose == head.pose
        box, centre = detection.bbox, detection.bbox.center.position
        half = 0.5 * np.array([box.size_x, box.size_y])
        np.testing.assert_allclose([*(np.array([centre.x, centre.y]) - half),
                                    *(np.array([centre.x, centre.y]) + half)], head.box, rtol=1e-6)
        client.send(np.full_like(picture, 128))
        assert client.spin_until(lambda: not client.received['detections'][-1].detections)
        assert process.stop() == 0
    finally:
        process.stop()
        client.close()
