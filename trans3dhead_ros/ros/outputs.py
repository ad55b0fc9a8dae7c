"""Everything that the node publishes about an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header, UInt32MultiArray
from tf2_msgs.msg import TFMessage
from trans3dhead.msg import HeadArray, LandmarkArray
from visualization_msgs.msg import MarkerArray

from trans3dhead_ros.perception.draw import draw_heads
from trans3dhead_ros.perception.head import Head
from trans3dhead_ros.ros import markers, messages
from trans3dhead_ros.ros.parameters import Settings

_RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
_LARGE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                      durability=DurabilityPolicy.TRANSIENT_LOCAL)
# As the TF libraries have it.
_TF = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)


class Outputs:
    """
    The publishers of the node.

    They are created when it is configured and silent until it is active.

    :param triangles: (T, 3) of the head model.
    :param landmark_indices: (68,) vertices of the landmarks.
    """

    def __init__(
        self, node: LifecycleNode, model: str, expression_names: Sequence[str],
        triangles: NDArray[np.integer], landmark_indices: NDArray[np.integer],
    ) -> None:
        self._node = node
        create = node.create_lifecycle_publisher
        self._tf = create(TFMessage, '/tf', _TF)
        self._heads = create(HeadArray, 'heads', _RELIABLE)
        self._pose = create(PoseStamped, 'head_pose', _RELIABLE)
        self._landmarks = create(LandmarkArray, 'head_landmarks', _RELIABLE)
        self._markers = create(MarkerArray, 'head_markers', _LARGE)
        self._mesh = create(PointCloud2, 'head_mesh', _LARGE)
        # Not managed: who subscribes later than activation must get it as well.
        self._triangles = node.create_publisher(UInt32MultiArray, 'head_mesh/triangles', _LATCHED)
        self._overlay = create(Image, 'overlay', _LARGE)
        self._marked: set[int] = set()
        self._header = Header()
        self.describe(model, expression_names, triangles, landmark_indices)

    def describe(
        self, model: str, expression_names: Sequence[str], triangles: NDArray[np.integer],
        landmark_indices: NDArray[np.integer],
    ) -> None:
        """Take over what belongs to the model, when that is another one."""
        self._model = model
        self._expression_names = list(expression_names)
        self._mesh_triangles = triangles
        self._landmark_indices = landmark_indices
        self._triangles.publish(messages.triangle_array(triangles))

    def publish(
        self, header: Header, heads: Sequence[Head], image: NDArray[np.uint8], settings: Settings,
    ) -> None:
        """
        Send the answer of one image.

        :param header: of the image; every message carries it.
        :param heads: the principal one first.
        """
        self._header = header
        # Before the topics, so that whoever gets those can look the frame up. TF has no place for a
        # pose without a frame.
        if heads and settings.publish_tf and header.frame_id:
            self._tf.publish(messages.transforms(header, heads, settings.head_frame_prefix))
        self._heads.publish(messages.head_array(
            header, heads, self._model, self._expression_names, self._landmark_indices))
        if heads:
            self._pose.publish(messages.pose_stamped(header, heads[0]))
        self._landmarks.publish(messages.landmark_array(header, heads, self._landmark_indices))
        self._publish_markers(header, heads, settings.publish_markers)
        if settings.publish_mesh and _is_read(self._mesh):
            self._mesh.publish(messages.mesh_cloud(header, heads))
        if settings.publish_overlay and _is_read(self._overlay):
            drawn = draw_heads(image, heads, self._mesh_triangles)
            self._overlay.publish(messages.bgr_image(header, drawn))

    def clear(self) -> None:
        """Take the markers away, before the node falls silent."""
        if self._marked and _is_read(self._markers):
            self._markers.publish(markers.remove_all(self._header))
        self._marked = set()

    def destroy(self) -> None:
        """Remove all publishers."""
        for publisher in (self._tf, self._heads, self._pose, self._landmarks, self._markers,
                          self._mesh, self._overlay):
            self._node.destroy_lifecycle_publisher(publisher)
        self._node.destroy_publisher(self._triangles)

    def _publish_markers(self, header: Header, heads: Sequence[Head], enabled: bool) -> None:
        if not enabled or not _is_read(self._markers):
            self.clear()
            return
        present = {messages.track_id(head) for head in heads}
        lost = sorted(self._marked - present)
        if heads or lost:
            array = markers.marker_array(header, heads, self._landmark_indices, lost)
            self._markers.publish(
                markers.serialized_with_meshes(array, heads, self._mesh_triangles))
        self._marked = present


def _is_read(publisher: object) -> bool:
    return publisher.get_subscription_count() > 0
