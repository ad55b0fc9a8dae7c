"""
Faces according to REP-155: `/humans/faces/…` and the frames `face_<id>` and `gaze_<id>`.

Every face has its own topics, so publishers are created and destroyed with the faces. All cameras
of the process share one list of faces.
"""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from typing import Any

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from trans3dhead_ros.perception.head import Head
from trans3dhead_ros.ros.hri.face_landmarks import (
    cropped_face,
    normalised_landmarks,
    normalised_region,
)
from trans3dhead_ros.ros.hri.face_messages import face_transforms, load_hri_messages
from trans3dhead_ros.ros.hri.gaze import gaze_rotation
from trans3dhead_ros.ros.messages import bgr_image, track_id
from trans3dhead_ros.ros.outputs import (
    LARGE,
    LATCHED,
    FrameResult,
    Output,
    TransformOutput,
    make_outputs,
)
from trans3dhead_ros.types import Array

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # ROS 2 Humble
    from rclpy.qos_event import PublisherEventCallbacks

_ROOT = '/humans/faces/'
_LETTERS, _LENGTH = string.ascii_lowercase, 5


class FaceIds:
    """
    Maps track ids to identifiers of five letters, one to one.

    The mapping is random for each process, so that two trackers in one graph are unlikely to choose
    the same identifier.

    :param generator: source of randomness; None: that of the operating system.

    Example::

        ids = FaceIds()
        ids(7)  # 'bxctb', say; always the same for track 7
    """

    def __init__(self, generator: random.Random | None = None) -> None:
        generator = generator or random.SystemRandom()
        self._count = len(_LETTERS) ** _LENGTH
        # Multiplication by a number that is coprime to 26 ** 5 permutes the numbers.
        factor = generator.randrange(self._count // 4, self._count)
        while factor % 2 == 0 or factor % 13 == 0:
            factor += 1
        self._factor, self._start = factor, generator.randrange(self._count)

    def __call__(self, track: int) -> str:
        """Return the identifier of a track."""
        number = (self._start + self._factor * track) % self._count
        letters = []
        for _ in range(_LENGTH):
            number, letter = divmod(number, len(_LETTERS))
            letters.append(_LETTERS[letter])
        return ''.join(letters)


class FaceRegistry:
    """
    What the cameras of a node share: the identifiers and the published list of all faces.

    :param node: the node that publishes.
    :raises UserError: when hri_msgs is not installed or too old.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self.messages = load_hri_messages()
        self._ids = FaceIds()
        self._node = node
        self._present: dict[str, list[str]] = {}
        self._tracked: Any = node.create_publisher(
            self.messages.IdsList, f'{_ROOT}tracked', LATCHED)

    def make_outputs(self, prefix: str) -> list[Output]:
        """Return the outputs of one camera, with the frames of REP-155 in place of our own."""
        outputs = make_outputs(
            self._node, prefix, lambda node, prefix: FaceTransformOutput(node, prefix, self))
        return [*outputs, FaceTopicsOutput(self._node, prefix, self)]

    def name(self, head: Head) -> str:
        """Return the identifier of a head's face."""
        return self._ids(track_id(head))

    def publish_list(self, camera: str, header: Header, names: Sequence[str]) -> None:
        """
        Update the faces of one camera and publish those of all.

        To be called for every image: subscribers without transient local durability need the list,
        too.

        :param camera: prefix of the topics of the camera.
        :param header: header of its image.
        :param names: identifiers of its faces.
        """
        self._present[camera] = list(names)
        ids = [name for names in self._present.values() for name in names]
        self._tracked.publish(self.messages.IdsList(header=header, ids=ids))

    def destroy(self) -> None:
        """Destroy the publisher."""
        self._node.destroy_publisher(self._tracked)


class FaceTransformOutput(TransformOutput):
    """TF: image frame -> `face_<id>` -> `gaze_<id>`."""

    def __init__(self, node: LifecycleNode, prefix: str, faces: FaceRegistry) -> None:
        super().__init__(node, prefix)
        self._faces = faces

    def publish(self, result: FrameResult) -> None:
        """Publish the transforms; TF cannot represent a pose without a parent frame."""
        if result.heads and result.parameters.publish_tf and result.header.frame_id:
            self._tf.publish(face_transforms(
                result.header, result.heads, [self._faces.name(head) for head in result.heads],
                [_gaze(head, result) for head in result.heads]))


class FaceTopicsOutput(Output):
    """`/humans/faces/<id>/…` of the faces that one camera sees."""

    def __init__(self, node: LifecycleNode, prefix: str, faces: FaceRegistry) -> None:
        super().__init__(node, prefix)
        self._faces = faces
        self._header = Header()
        self._shown: dict[str, _FacePublishers] = {}

    def has_subscribers(self) -> bool:
        """Return True: that the topics of a face exist is itself information."""
        return True

    def publish(self, result: FrameResult) -> None:
        """Create the topics of new faces, publish, destroy the topics of lost faces."""
        self._header = result.header
        named = {self._faces.name(head): head for head in result.heads}
        for name in named.keys() - self._shown.keys():
            self._shown[name] = _FacePublishers(self._node, name, self._faces.messages)
        for name, face in self._shown.items():
            face.missed = 0 if name in named else face.missed + 1
        # A face may come back as long as its track lives, so its topics are kept until then.
        lost = {name for name, face in self._shown.items()
                if face.missed > result.parameters.max_missed_frames}
        # The topics of a listed face exist, and a face is off the list before they are destroyed.
        self._faces.publish_list(
            self._prefix, result.header, [name for name in self._shown if name not in lost])
        self._close(lost)
        for name, head in named.items():
            self._shown[name].publish(head, result)

    def clear(self) -> None:
        """Remove all faces."""
        if self._shown:
            self._faces.publish_list(self._prefix, self._header, [])
            self._close(set(self._shown))

    def destroy(self) -> None:
        """Destroy the publishers."""
        self._close(set(self._shown))

    def _close(self, names: set[str]) -> None:
        for name in names:
            self._shown.pop(name).destroy()


class _FacePublishers:
    """The publishers of one face."""

    def __init__(self, node: LifecycleNode, name: str, messages: Any) -> None:
        self.missed = 0
        """Images since the face was last seen."""
        self._node, self._messages = node, messages
        self._roi = self._create(messages.NormalizedRegionOfInterest2D, f'{name}/roi')
        self._cropped = self._create(Image, f'{name}/cropped')
        self._landmarks = self._create(messages.FacialLandmarks, f'{name}/landmarks')

    def publish(self, head: Head, result: FrameResult) -> None:
        """Publish what is subscribed to."""
        size = (result.image.shape[1], result.image.shape[0])
        if self._roi.get_subscription_count():
            region = dict(zip(('xmin', 'ymin', 'xmax', 'ymax'),
                              normalised_region(head, size).tolist(), strict=True))
            self._roi.publish(self._messages.NormalizedRegionOfInterest2D(
                header=result.header, c=float(np.clip(head.score, 0.0, 1.0)), **region))
        if self._cropped.get_subscription_count():
            self._cropped.publish(bgr_image(result.header, cropped_face(result.image, head)))
        if self._landmarks.get_subscription_count():
            kind = self._messages.NormalizedPointOfInterest2D
            points = normalised_landmarks(head, _gaze(head, result), size).tolist()
            self._landmarks.publish(self._messages.FacialLandmarks(
                header=result.header, width=size[0], height=size[1],
                landmarks=[kind(x=x, y=y, c=c) for x, y, c in points]))

    def destroy(self) -> None:
        """Destroy the publishers."""
        for publisher in (self._roi, self._cropped, self._landmarks):
            self._node.destroy_publisher(publisher)

    def _create(self, kind: type, topic: str, qos: QoSProfile = LARGE) -> Any:
        # Created and destroyed in the worker's thread: without event callbacks, the executor does
        # not wait on anything that could be destroyed meanwhile.
        return self._node.create_publisher(
            kind, _ROOT + topic, qos,
            event_callbacks=PublisherEventCallbacks(use_default_callbacks=False))


def _gaze(head: Head, result: FrameResult) -> Array:
    return gaze_rotation(head.expression, result.model.expression_names)
