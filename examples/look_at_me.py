#!/usr/bin/env python3
"""
Turn a robot's neck towards whoever looks at its camera.

Reads `heads` (trans3dhead/HeadArray) and /tf, and publishes `neck_command`
(sensor_msgs/JointState): pan, positive to the left, and tilt, positive down, in radians, that point
the x axis of `neck_frame` at the head. Needs a transform from `neck_frame` to the camera.
"""

import math
from contextlib import suppress

import rclpy
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.node import Node
from rclpy.time import Time
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState
from tf2_ros import Buffer, TransformException, TransformListener
from trans3dhead.msg import Head, HeadArray


def looks_at_camera(head: Head, largest_angle: float) -> bool:
    """Return whether the face points at the camera, within an angle in degrees."""
    q, p = head.pose.pose.orientation, head.pose.pose.position
    out_of_the_face = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()[:, 0]
    cosine = -(out_of_the_face @ [p.x, p.y, p.z]) / math.hypot(p.x, p.y, p.z)
    return head.face_visible and cosine > math.cos(math.radians(largest_angle))


class LookAtMe(Node):
    """Turns to the first head that looks at the camera; the principal head is the first of all."""

    def __init__(self) -> None:
        super().__init__('look_at_me')
        self.neck_frame = self.declare_parameter('neck_frame', 'base_link').value
        self.head_frame_prefix = self.declare_parameter('head_frame_prefix', 'tracked_head_').value
        self.largest_angle = self.declare_parameter('largest_angle', 15.0).value  # degrees
        self.buffer = Buffer()
        self.listener = TransformListener(self.buffer, self)
        self.commands = self.create_publisher(JointState, 'neck_command', 10)
        self.create_subscription(HeadArray, 'heads', self.on_heads, 1)

    def on_heads(self, message: HeadArray) -> None:
        """Command the neck, unless nobody looks."""
        head = next((head for head in message.heads
                     if looks_at_camera(head, self.largest_angle)), None)
        if head is None:
            return
        try:
            transform = self.buffer.lookup_transform(
                self.neck_frame, f'{self.head_frame_prefix}{head.id}',
                Time.from_msg(message.header.stamp), Duration(seconds=0.1))
        except TransformException as error:
            self.get_logger().warning(str(error), throttle_duration_sec=5.0)
            return
        place = transform.transform.translation
        pan = math.atan2(place.y, place.x)
        tilt = math.atan2(-place.z, math.hypot(place.x, place.y))
        self.commands.publish(JointState(
            header=transform.header, name=['pan', 'tilt'], position=[pan, tilt]))


if __name__ == '__main__':
    rclpy.init()
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        # The second thread hears /tf while the first one waits for a transform.
        rclpy.spin(LookAtMe(), MultiThreadedExecutor(2))
