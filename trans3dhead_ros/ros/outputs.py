"""
What is published about an image: one small class per topic, created by `make_outputs`.

Messages are built only while somebody subscribes to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image as ImageMessage
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header, UInt32MultiArray
from tf2_msgs.msg import TFMessage
from trans3dhead.msg import HeadArray, LandmarkArray
from visualization_msgs.msg import MarkerArray

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.media.overlay import draw_heads
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.perception.head import Head
from trans3dhead_ros.ros import markers, messages
from trans3dhead_ros.ros.qos_overrides import create_overridable
from trans3dhead_ros.ros.tracker_parameters import TrackerParameters
from trans3dhead_ros.types import Image, IndexArray

RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
LARGE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)
# The profile of the TF libraries.
TF = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)

_MAX_NAME_LENGTH = 200


@dataclass(frozen=True, eq=False)
class ModelInfo:
    """What messages contain about the model."""

    name: str
    """Name and version of the checkpoint."""
    expression_names: tuple[str, ...]
    """Names of the expression coefficients, in order."""
    triangles: IndexArray
    """(T, 3) vertex indices."""

    @staticmethod
    def of(aligner: HeadAligner) -> ModelInfo:
        """Return the information about a loaded model."""
        return ModelInfo(model_name(aligner), aligner.expression_names, aligner.triangles)


@dataclass(frozen=True, eq=False)
class FrameResult:
    """The heads in one image of one camera, and what they were computed from."""

    header: Header
    """Header of the image; every message carries it."""
    heads: Sequence[Head]
    """All heads, the principal one first."""
    image: Image
    """The decoded image; may be a view of the message."""
    camera: Camera | None
    """Intrinsics; None for an uncalibrated image."""
    model: ModelInfo
    """The model that found the heads."""
    parameters: TrackerParameters
    """Parameters of the camera at that moment."""


class Output:
    """
    One publisher of results; subclasses create their topics with `_create`.

    All methods but `destroy` are called from the worker's thread.

    :param node: the node that publishes.
    :param prefix: prefix of the topic names: empty, or the camera's name and a slash.
    """

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        self._node = node
        self._prefix = prefix
        self._publishers: list[Any] = []

    @property
    def topics(self) -> list[str]:
        """Resolved names of the topics that count as subscribed."""
        return [publisher.topic_name for publisher in self._publishers]

    def has_subscribers(self) -> bool:
        """Whether a published result would reach anybody."""
        return any(publisher.get_subscription_count() > 0 for publisher in self._publishers)

    def set_model(self, model: ModelInfo) -> None:
        """Prepare for results of this model."""

    def publish(self, result: FrameResult) -> None:
        """Publish a result; called only while there are subscribers."""
        raise NotImplementedError

    def clear(self) -> None:
        """Remove what stays visible: no result follows for a while, or nobody subscribes."""

    def destroy(self) -> None:
        """Destroy the publishers."""
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)

    def _create(self, kind: type, topic: str, qos: QoSProfile) -> Any:
        """Return a publisher that only publishes while the node is active."""
        name = topic if topic.startswith('/') else self._prefix + topic
        publisher = create_overridable(
            self._node.create_lifecycle_publisher, kind, name, qos)
        self._publishers.append(publisher)
        return publisher


class TransformOutput(Output):
    """TF: image frame -> `<head_frame_prefix><id>`."""

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        super().__init__(node, prefix)
        self._tf = self._create(TFMessage, '/tf', TF)

    def publish(self, result: FrameResult) -> None:
        """Publish the transforms; TF cannot represent a pose without a parent frame."""
        if result.heads and result.parameters.publish_tf and result.header.frame_id:
            self._tf.publish(messages.transforms(
                result.header, result.heads, result.parameters.head_frame_prefix))


class HeadsOutput(Output):
    """`heads`: all heads of one image, also when there are none."""

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        super().__init__(node, prefix)
        self._heads = self._create(HeadArray, 'heads', RELIABLE)

    def publish(self, result: FrameResult) -> None:
        """Publish all heads."""
        model = result.model
        self._heads.publish(messages.head_array(
            result.header, result.heads, model.name, model.expression_names))


class PrincipalPoseOutput(Output):
    """`head_pose`: the pose of the principal head."""

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        super().__init__(node, prefix)
        self._pose = self._create(PoseStamped, 'head_pose', RELIABLE)

    def publish(self, result: FrameResult) -> None:
        """Publish the pose of the first head."""
        if result.heads:
            self._pose.publish(messages.pose_stamped(result.header, result.heads[0]))


class LandmarksOutput(Output):
    """`head_landmarks`: landmarks only, a smaller message than `heads`."""

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        super().__init__(node, prefix)
        self._landmarks = self._create(LandmarkArray, 'head_landmarks', RELIABLE)

    def publish(self, result: FrameResult) -> None:
        """Publish the landmarks of all heads."""
        self._landmarks.publish(messages.landmark_array(result.header, result.heads))


class MarkersOutput(Output):
    """`head_markers`: mesh, landmarks, axes and id of every head, for RViz."""

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        super().__init__(node, prefix)
        self._markers = self._create(MarkerArray, 'head_markers', LARGE)
        self._shown: set[int] = set()
        self._header = Header()

    def publish(self, result: FrameResult) -> None:
        """Add or update the markers of all heads and delete those of lost ones."""
        if not result.parameters.publish_markers:
            self.clear()
            return
        if result.header.frame_id != self._header.frame_id:
            self.clear()
        self._header = result.header
        present = {messages.track_id(head) for head in result.heads}
        lost = sorted(self._shown - present)
        if result.heads or lost:
            array = markers.marker_array(result.header, result.heads, lost)
            self._markers.publish(markers.serialized_with_meshes(
                array, result.heads, result.model.triangles))
        self._shown = present

    def clear(self) -> None:
        """Delete all markers."""
        if self._shown and self.has_subscribers():
            self._markers.publish(markers.delete_all(self._header))
        self._shown = set()


class MeshOutput(Output):
    """`head_mesh`: the vertices; the triangles are latched on `head_mesh/triangles`."""

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        super().__init__(node, prefix)
        self._mesh = self._create(PointCloud2, 'head_mesh', LARGE)
        # Not a lifecycle publisher: subscribers that come after activation must get it as well.
        self._triangles = create_overridable(
            node.create_publisher, UInt32MultiArray, f'{prefix}head_mesh/triangles', LATCHED)

    def set_model(self, model: ModelInfo) -> None:
        """Latch the triangles of the model."""
        self._triangles.publish(messages.triangle_array(model.triangles))

    def publish(self, result: FrameResult) -> None:
        """Publish the vertices of all heads."""
        if result.parameters.publish_mesh:
            self._mesh.publish(messages.mesh_cloud(result.header, result.heads))

    def destroy(self) -> None:
        """Destroy the publishers."""
        super().destroy()
        self._node.destroy_publisher(self._triangles)


class OverlayOutput(Output):
    """`overlay`: the image with the heads drawn into it."""

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        super().__init__(node, prefix)
        self._overlay = self._create(ImageMessage, 'overlay', LARGE)

    def publish(self, result: FrameResult) -> None:
        """Draw the heads and publish the image."""
        if result.parameters.publish_overlay:
            drawn = draw_heads(result.image, result.heads, result.model.triangles)
            self._overlay.publish(messages.bgr_image(result.header, drawn))


def make_outputs(
    node: LifecycleNode, prefix: str,
    transforms: Callable[[LifecycleNode, str], Output] = TransformOutput,
) -> list[Output]:
    """
    Create the outputs of one camera.

    TF comes first, so that whoever receives another topic can look up the frames.

    :param node: the node that publishes.
    :param prefix: prefix of the topic names: empty, or the camera's name and a slash.
    :param transforms: creates the output to TF.
    :return: the outputs in the order in which they publish.
    """
    return [kind(node, prefix) for kind in (
        transforms, HeadsOutput, PrincipalPoseOutput, LandmarksOutput, MarkersOutput, MeshOutput,
        OverlayOutput)]


def model_name(aligner: HeadAligner) -> str:
    """Return name and version of a checkpoint as messages carry them: one short line."""
    name = aligner.metadata.get('name', 'trans3dhead')
    version = aligner.metadata.get('version') or str(aligner.metadata.get('sha256', ''))[:12]
    # The text comes from a file, and ROS strings must be valid UTF-8.
    line = ' '.join(f'{name} {version}'.split())[:_MAX_NAME_LENGTH]
    return line.encode('utf-8', 'replace').decode()
