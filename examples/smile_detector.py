#!/usr/bin/env python3
"""
Tell who smiles, from the expression of every head.

Reads `heads` (trans3dhead/HeadArray) and publishes `smiling` (std_msgs/Int32MultiArray): the ids of
the heads that smile, whenever they change. The parameters `start` and `stop` are a hysteresis: a
smile begins above the one and ends below the other.
"""

from contextlib import suppress

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Int32MultiArray
from trans3dhead.msg import HeadArray

NAMES = ('mouthSmile_L', 'mouthSmile_R')
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class SmileDetector(Node):
    """Remembers who smiled in the image before."""

    def __init__(self) -> None:
        super().__init__('smile_detector')
        self.start = self.declare_parameter('start', 0.4).value
        self.stop = self.declare_parameter('stop', 0.25).value
        self.smiling = set()
        self.publisher = self.create_publisher(Int32MultiArray, 'smiling', LATCHED)
        self.create_subscription(HeadArray, 'heads', self.on_heads, 10)

    def on_heads(self, message: HeadArray) -> None:
        """Compare every visible face with the threshold for the state that it is in."""
        places = [message.expression_names.index(name) for name in NAMES]
        smiling = set()
        for head in message.heads:
            smile = sum(head.expression[place] for place in places) / len(places)
            threshold = self.stop if head.id in self.smiling else self.start
            if head.face_visible and smile > threshold:
                smiling.add(head.id)
        if smiling != self.smiling:
            self.smiling = smiling
            self.publisher.publish(Int32MultiArray(data=sorted(smiling)))


if __name__ == '__main__':
    rclpy.init()
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(SmileDetector())
