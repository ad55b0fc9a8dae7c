#!/usr/bin/env python3
"""
Tell a nod from a shake of the head, from the poses of the principal head.

Reads `head_pose` (geometry_msgs/PoseStamped) and publishes `gesture` (std_msgs/String): `nod` or
`shake`, once when it is seen.
"""

from collections import deque
from contextlib import suppress

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from scipy.spatial.transform import Rotation
from std_msgs.msg import String

WINDOW = 1.5
"""How long a gesture may take, s."""
SWINGS = 3
"""How often the head turns back and forth in a gesture."""
SMALLEST_SWING, LARGEST_SWING = 5.0, 50.0
"""A smaller turn is noise, a larger one is looking around; degrees."""
FARTHEST_MOVE = 0.15
"""A head that is farther from where it was in the image before is another one, m."""


def swings(angles: np.ndarray) -> int:
    """Count the turns in alternating directions, (N,) degrees."""
    count, direction, extreme = 0, 0.0, angles[0]
    for angle in angles:
        if direction * (angle - extreme) > 0:
            extreme = angle
        elif abs(angle - extreme) >= SMALLEST_SWING:
            count, direction, extreme = count + 1, np.sign(angle - extreme), angle
    return count


class NodAndShake(Node):
    """Keeps where the face has pointed lately, and looks for turns back and forth."""

    def __init__(self) -> None:
        super().__init__('nod_and_shake')
        self.seen = deque()  # stamp in s, position in m, (sideways, upwards) in degrees
        self.gestures = self.create_publisher(String, 'gesture', 10)
        self.create_subscription(PoseStamped, 'head_pose', self.on_pose, 10)

    def on_pose(self, message: PoseStamped) -> None:
        """Add a pose, and publish the gesture that it completes."""
        stamp = message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec
        p, q = message.pose.position, message.pose.orientation
        position = np.array([p.x, p.y, p.z])
        # The optical frame of the camera: x right, y down, z forward.
        right, down, forward = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()[:, 0]
        angles = np.degrees([np.arctan2(right, -forward), np.arcsin(np.clip(-down, -1, 1))])
        if self.seen and not (0 < stamp - self.seen[-1][0] < 0.5 and np.linalg.norm(
                position - self.seen[-1][1]) < FARTHEST_MOVE):
            self.seen.clear()
        self.seen.append((stamp, position, angles))
        while stamp - self.seen[0][0] > WINDOW:
            self.seen.popleft()
        path = np.array([angles for *_, angles in self.seen])
        axis = int(np.argmax(np.ptp(path, axis=0)))
        if np.ptp(path[:, axis]) < LARGEST_SWING and swings(path[:, axis]) >= SWINGS:
            self.gestures.publish(String(data=('shake', 'nod')[axis]))
            self.seen.clear()


if __name__ == '__main__':
    rclpy.init()
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(NodAndShake())
