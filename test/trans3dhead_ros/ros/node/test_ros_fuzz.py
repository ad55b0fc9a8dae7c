"""The short form of the malformed messages of `make soak`."""

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import rclpy
import ros_graph

from tools.soak.fuzz import fuzz
from tools.soak.stage import Stage
from tools.soak.watch import Outcome


@pytest.fixture(scope='module', autouse=True)
def ros():
    ros_graph.start_ros()
    yield
    rclpy.try_shutdown()


def test_every_good_image_between_malformed_ones_is_answered(tmp_path):
    stage, end = Stage(tmp_path), Outcome('end')
    try:
        outcome = fuzz(stage, 240)
    finally:
        stage.close(end)
    assert not outcome.violations + end.violations
    assert outcome.figures['bad images, raw'] > 30 and outcome.figures['bad images, packed'] > 30
    assert outcome.figures['bad camera_info, raw'] > 20
