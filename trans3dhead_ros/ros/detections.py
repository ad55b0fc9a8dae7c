"""Heads as detections of vision_msgs, an optional package."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

from rclpy.lifecycle import LifecycleNode

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.ros import messages
from trans3dhead_ros.ros.outputs import RELIABLE, FrameResult, Output

CLASS_ID = 'head'


def load_vision_messages() -> ModuleType:
    """
    Import the messages of vision_msgs.

    :return: `vision_msgs.msg`.
    :raises UserError: when vision_msgs is not installed.
    """
    try:
        return importlib.import_module('vision_msgs.msg')
    except ImportError as error:
        distribution = os.environ.get('ROS_DISTRO', '<distribution>')
        raise UserError(
            f'parameter detections: vision_msgs cannot be imported ({error}); install '
            f'ros-{distribution}-vision-msgs, or build it and source its workspace') from None


class DetectionsOutput(Output):
    """`detections`: box, score, id and pose of every head, as vision_msgs/Detection2DArray."""

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        super().__init__(node, prefix)
        self._messages = load_vision_messages()
        self._detections = self._create(self._messages.Detection2DArray, 'detections', RELIABLE)

    def publish(self, result: FrameResult) -> None:
        """Publish all heads, also when there are none."""
        kinds = self._messages
        array = kinds.Detection2DArray(header=result.header)
        for head in result.heads:
            message = messages.head_message(head)
            hypothesis = kinds.ObjectHypothesisWithPose(pose=message.pose)
            hypothesis.hypothesis.class_id = CLASS_ID
            hypothesis.hypothesis.score = float(head.score)
            detection = kinds.Detection2D(
                header=result.header, results=[hypothesis], id=str(message.id))
            x0, y0, x1, y1 = map(float, head.box)
            detection.bbox.center.position.x = 0.5 * (x0 + x1)
            detection.bbox.center.position.y = 0.5 * (y0 + y1)
            detection.bbox.size_x, detection.bbox.size_y = x1 - x0, y1 - y0
            array.detections.append(detection)
        self._detections.publish(array)
