"""For `launch_test`: the launch file starts the tracker, which finds heads in a clip."""

import time
import unittest
from pathlib import Path

import launch_testing.asserts
import rclpy
from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_testing.actions import ReadyToTest
from trans3dhead.msg import HeadArray

from trans3dhead_ros.media.clip_truth import bundled_clip


def generate_test_description() -> LaunchDescription:
    share = Path(get_package_share_directory('trans3dhead'))
    return LaunchDescription([
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(share / 'launch' / 'head_tracking.launch.py')),
            launch_arguments={'camera': 'file', 'source': str(bundled_clip()), 'repeat': 'true',
                              'device': 'cpu'}.items()),
        ReadyToTest()])


class TestHeads(unittest.TestCase):
    """While everything is running."""

    def test_heads_are_published(self):
        rclpy.init()
        node = rclpy.create_node('listener')
        received = []
        node.create_subscription(HeadArray, 'heads', received.append, 10)
        deadline = time.monotonic() + 120.0
        while not any(message.heads for message in received) and time.monotonic() < deadline:
            rclpy.spin_once(node, timeout_sec=0.1)
        node.destroy_node()
        rclpy.shutdown()
        self.assertTrue(any(message.heads for message in received))


@launch_testing.post_shutdown_test()
class TestEnd(unittest.TestCase):
    """After the launch has ended."""

    def test_every_process_ends_cleanly(self, proc_info):
        launch_testing.asserts.assertExitCodes(proc_info)
