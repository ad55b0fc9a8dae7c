"""
Everything that is published about an image: one small class a topic, made by `make_outputs`.

Each is asked only while somebody reads it, so that nothing is built for nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

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

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.media.overlay import draw_heads
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.perception.head import Head
from trans3dhead_ros.ros import markers, messages
from trans3dhead_ros.ros.parameters import Settings

RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
LARGE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)
# As the TF libraries have it.
TF = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)

_LONGEST_NAME = 200


@dataclass(frozen=True, eq=False)
class ModelFacts:
    """What messages say about the model that answered."""

    #: Name and version of the checkpoint.
    name: str
    expression_names: tuple[str, ...]
    #: (T, 3) vertex indices.
    triangles: NDArray[np.integer]
    #: (68,) vertices of the landmarks.
    landmark_indices: NDArray[np.integer]

    @staticmethod
    def of(aligner: HeadAligner) -> ModelFacts:
        """Return the facts of a loaded model."""
        return ModelFacts(model_name(aligner), aligner.expression_names, aligner.triangles,
                          aligner.landmark_indices)


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer to one image of one camera."""

    #: Of the image; every message carries it.
    header: Header
    #: The principal one first.
    heads: Sequence[Head]
    #: (H, W, 3) BGR; may be a view of the message.
    image: NDArray[np.uint8]
    #: None where the image was not calibrated.
    camera: Camera | None
    model: ModelFacts
    settings: Settings


class Output:
    """
    One way to publish answers; subclasses make their publishers with `_create`.

    All calls but `destroy` come from the thread of the worker.

    :param prefix: of the topics' names: empty, or the camera's name and a slash.
    """

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        self._node = node
        self._prefix = prefix
        self._publishers: list[Any] = []

    def has_readers(self) -> bool:
        """Whether anybody would get an answer."""
        return any(publisher.get_subscription_count() > 0 for publisher in self._publishers)

    def describe(self, model: ModelFacts) -> None:
        """Take note of the model of the answers to come."""

    def publish(self, answer: Answer) -> None:
        """Send an answer; called only while there are readers."""
        raise NotImplementedError

    def clear(self) -> None:
        """Take away what would stay: no answer comes for a while, or nobody reads any."""

    def destroy(self) -> None:
        """Remove the publishers."""
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)

    def _create(self, kind: type, topic: str, qos: QoSProfile) -> Any:
        """Return a publisher that is silent until the node is active."""
        name = topic if topic.startswith('/') else self._prefix + topic
        publisher = self._node.create_lifecycle_publisher(kind, name, qos)
        self._publishers.append(publisher)
        return publisher


class Transforms(Output):
    """TF: image frame -> `<head_frame_prefix><id>`."""

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        super().__init__(node, prefix)
        self._tf = self._create(TFMessage, '/tf', TF)

    def publish(self, answer: Answer) -> None:
        """Send the transforms; TF has no place for a pose without a frame."""
        if answer.heads and answer.settings.publish_tf and answer.header.frame_id:
            self._tf.publish(messages.transforms(
                answer.header, answer.heads, answer.settings.head_frame_prefix))


class Heads(Output):
    """`heads`: the whole answer of one image, also when it is empty."""

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        super().__init__(node, prefix)
        self._heads = self._create(HeadArray, 'heads', RELIABLE)

    def publish(self, answer: Answer) -> None:
        """Send all heads."""
        model = answer.model
        self._heads.publish(messages.head_array(
            answer.header, answer.heads, model.name, model.expression_names,
            model.landmark_indices))


class PrincipalPose(Output):
    """`head_pose`: the pose of the principal head."""

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        super().__init__(node, prefix)
        self._pose = self._create(PoseStamped, 'head_pose', RELIABLE)

    def publish(self, answer: Answer) -> None:
        """Send the pose of the first head."""
        if answer.heads:
            self._pose.publish(messages.pose_stamped(answer.header, answer.heads[0]))


class Landmarks(Output):
    """`head_landmarks`: for consumers that want only these."""

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        super().__init__(node, prefix)
        self._landmarks = self._create(LandmarkArray, 'head_landmarks', RELIABLE)

    def publish(self, answer: Answer) -> None:
        """Send the landmarks of all heads."""
        self._landmarks.publish(messages.landmark_array(
            answer.header, answer.heads, answer.model.landmark_indices))


class Markers(Output):
    """`head_markers`: mesh, landmarks, axes and id of every head, for RViz."""

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        super().__init__(node, prefix)
        self._markers = self._create(MarkerArray, 'head_markers', LARGE)
        self._shown: set[int] = set()
        self._header = Header()

    def publish(self, answer: Answer) -> None:
        """Show the heads and remove those that are lost."""
        if not answer.settings.publish_markers:
            self.clear()
            return
        if answer.header.frame_id != self._header.frame_id:
            self.clear()
        self._header = answer.header
        present = {messages.track_id(head) for head in answer.heads}
        lost = sorted(self._shown - present)
        if answer.heads or lost:
            array = markers.marker_array(
                answer.header, answer.heads, answer.model.landmark_indices, lost)
            self._markers.publish(markers.serialized_with_meshes(
                array, answer.heads, answer.model.triangles))
        self._shown = present

    def clear(self) -> None:
        """Remove all markers."""
        if self._shown and self.has_readers():
            self._markers.publish(markers.remove_all(self._header))
        self._shown = set()


class Mesh(Output):
    """`head_mesh`: the vertices; its triangles lie on a latched topic of their own."""

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        super().__init__(node, prefix)
        self._mesh = self._create(PointCloud2, 'head_mesh', LARGE)
        # Not managed: who subscribes later than activation must get it as well.
        self._triangles = node.create_publisher(
            UInt32MultiArray, f'{prefix}head_mesh/triangles', LATCHED)

    def describe(self, model: ModelFacts) -> None:
        """Latch the triangles of the model."""
        self._triangles.publish(messages.triangle_array(model.triangles))

    def publish(self, answer: Answer) -> None:
        """Send the vertices of all heads."""
        if answer.settings.publish_mesh:
            self._mesh.publish(messages.mesh_cloud(answer.header, answer.heads))

    def destroy(self) -> None:
        """Remove the publishers."""
        super().destroy()
        self._node.destroy_publisher(self._triangles)


class Overlay(Output):
    """`overlay`: the image with the heads drawn into it."""

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        super().__init__(node, prefix)
        self._overlay = self._create(Image, 'overlay', LARGE)

    def publish(self, answer: Answer) -> None:
        """Draw and send."""
        if answer.settings.publish_overlay:
            drawn = draw_heads(answer.image, answer.heads, answer.model.triangles)
            self._overlay.publish(messages.bgr_image(answer.header, drawn))


def make_outputs(
    node: LifecycleNode, prefix: str,
    transforms: Callable[[LifecycleNode, str], Output] = Transforms,
) -> list[Output]:
    """
    Return the outputs of one camera in the order in which an answer goes to them.

    TF comes before the topics, so that whoever gets those can look the frames up.

    :param transforms: makes what goes to TF.
    """
    return [kind(node, prefix) for kind in (
        transforms, Heads, PrincipalPose, Landmarks, Markers, Mesh, Overlay)]


def model_name(aligner: HeadAligner) -> str:
    """Return the name and version of a checkpoint as messages carry them: one short line."""
    name = aligner.metadata.get('name', 'trans3dhead')
    version = aligner.metadata.get('version') or str(aligner.metadata.get('sha256', ''))[:12]
    # The file says it, and a file may say anything; ROS strings are UTF-8.
    line = ' '.join(f'{name} {version}'.split())[:_LONGEST_NAME]
    return line.encode('utf-8', 'replace').decode()
