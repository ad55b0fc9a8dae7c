"""Show the topics of a running tracker in Rerun."""

from __future__ import annotations

import argparse

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.exceptions import InvalidNamespaceException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import UInt32MultiArray
from trans3dhead.msg import HeadArray

from trans3dhead_ros.bags.image_topics import (
    COMPRESSED_SUFFIX,
    camera_info_topic_beside,
    resolve_topic,
)
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.ros.node_process import ShutdownRequest, spin_node
from trans3dhead_ros.viewer.viewer_recording import check_destination, open_recording
from trans3dhead_ros.viewer.viewer_scene import Scene

_RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                      durability=DurabilityPolicy.TRANSIENT_LOCAL)
# Compatible with every publisher.
_BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


class ViewerNode(Node):
    """
    Subscribes to a camera and its tracker and passes the messages on to a scene.

    :param scene: shows the messages.
    :param namespace: of the tracker.
    :param images: topic of the images, relative to the namespace; /compressed at its end selects
        compressed images.
    :raises UserError: for a wrong namespace.
    """

    def __init__(self, scene: Scene, namespace: str, images: str) -> None:
        try:
            super().__init__('trans3dhead_view', namespace=namespace)
        except InvalidNamespaceException:
            raise UserError(f'namespace: {namespace!r} is not a namespace of ROS') from None
        compressed = images.endswith(COMPRESSED_SUFFIX)
        images = self.resolve_topic_name(images)
        for kind, topic, receive, qos in (
                (CompressedImage if compressed else Image, images, scene.image, _BEST_EFFORT),
                (CameraInfo, camera_info_topic_beside(images), scene.camera_info, _BEST_EFFORT),
                (HeadArray, 'heads', scene.heads, _RELIABLE),
                (UInt32MultiArray, 'head_mesh/triangles', scene.triangles, _LATCHED),
                (PointCloud2, 'head_mesh', scene.mesh, _RELIABLE),
                (DiagnosticArray, '/diagnostics', scene.diagnostics, _BEST_EFFORT)):
            self.create_subscription(kind, topic, receive, qos)
        self.get_logger().info(f'listening to {images} and {self.resolve_topic_name("heads")}')


def view_live(options: argparse.Namespace) -> int:
    """
    Show live topics until a signal, or for a while; see `trans3dhead view --help`.

    :param options: of the command line.
    :return: exit code.
    :raises UserError: for a wrong option.
    """
    check_destination(options)
    namespace = resolve_topic(options.namespace, '').rstrip('/')
    with open_recording(options, live=True, diagnostics=True) as recording:
        def make(shutdown: ShutdownRequest) -> ViewerNode:
            node = ViewerNode(Scene(recording, namespace), namespace, options.image or 'image_raw')
            if options.duration is not None:
                node.create_timer(options.duration, lambda: shutdown(0))
            return node
        return spin_node(make, [])
