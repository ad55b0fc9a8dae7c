"""
Faces as REP-155 has them: `/humans/faces/…` and the frames `face_<id>` and `gaze_<id>`.

REP-155 gives every face topics of its own, so publishers come and go with the faces. All cameras of
the process share one list of faces.
"""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from trans3dhead_ros.perception.gaze import gaze_rotation
from trans3dhead_ros.perception.head import Head
from trans3dhead_ros.ros.hri.face_landmarks import (
    face_picture,
    normalised_landmarks,
    normalised_region,
)
from trans3dhead_ros.ros.hri.face_messages import face_transforms, load_hri_messages
from trans3dhead_ros.ros.messages import bgr_image, track_id
from trans3dhead_ros.ros.outputs import LARGE, LATCHED, Answer, Output, Transforms, make_outputs

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # ROS 2 Humble
    from rclpy.qos_event import PublisherEventCallbacks

_ROOT = '/humans/faces/'
_LETTERS, _LENGTH = string.ascii_lowercase, 5


class FaceIds:
    """
    Identifiers of five letters for track numbers: the same for the same number, never one for two.

    They look random and differ from process to process, so that two trackers in one graph hardly
    ever choose the same one.
    """

    def __init__(self, generator: random.Random | None = None) -> None:
        generator = generator or random.SystemRandom()
        self._count = len(_LETTERS) ** _LENGTH
        # Without a common divisor with 26 ** 5, multiplying only reorders the numbers.
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


class Faces:
    """
    What the cameras of a node have in common: the identifiers and the list of all faces.

    :raises ValueError: when hri_msgs is not installed or too old.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self.messages = load_hri_messages()
        self._ids = FaceIds()
        self._node = node
        self._present: dict[str, list[str]] = {}
        self._tracked: Any = node.create_publisher(
            self.messages.IdsList, f'{_ROOT}tracked', LATCHED)

    def make_outputs(self, prefix: str) -> list[Output]:
        """Return the outputs of one camera, with the frames of REP-155 in the place of our own."""
        outputs = make_outputs(
            self._node, prefix, lambda node, prefix: FaceTransforms(node, prefix, self))
        return [*outputs, FaceTopics(self._node, prefix, self)]

    def name(self, head: Head) -> str:
        """Return the identifier of a head's face."""
        return self._ids(track_id(head))

    def announce(self, camera: str, header: Header, names: Sequence[str]) -> None:
        """
        Send the faces of all cameras, of which one has news.

        With every image: a subscriber that wants no latched messages must get the list, too.
        """
        self._present[camera] = list(names)
        ids = [name for names in self._present.values() for name in names]
        self._tracked.publish(self.messages.IdsList(header=header, ids=ids))

    def destroy(self) -> None:
        """Remove the publisher."""
        self._node.destroy_publisher(self._tracked)


class FaceTransforms(Transforms):
    """TF: image frame -> `face_<id>` -> `gaze_<id>`."""

    def __init__(self, node: LifecycleNode, prefix: str, faces: Faces) -> None:
        super().__init__(node, prefix)
        self._faces = faces

    def publish(self, answer: Answer) -> None:
        """Send the transforms; TF has no place for a pose without a frame."""
        if answer.heads and answer.settings.publish_tf and answer.header.frame_id:
            self._tf.publish(face_transforms(
                answer.header, answer.heads, [self._faces.name(head) for head in answer.heads],
                [_gaze(head, answer) for head in answer.heads]))


class FaceTopics(Output):
    """`/humans/faces/<id>/…` of the faces that one camera sees."""

    def __init__(self, node: LifecycleNode, prefix: str, faces: Faces) -> None:
        super().__init__(node, prefix)
        self._faces = faces
        self._header = Header()
        self._open: dict[str, _Face] = {}

    def has_readers(self) -> bool:
        """Whether anybody would get an answer: that a face has topics is news by itself."""
        return True

    def publish(self, answer: Answer) -> None:
        """Open the topics of new faces, close those of lost ones, send what is read."""
        self._header = answer.header
        named = {self._faces.name(head): head for head in answer.heads}
        for name in named.keys() - self._open.keys():
            self._open[name] = _Face(self._node, name, self._faces.messages)
        for name, face in self._open.items():
            face.missed = 0 if name in named else face.missed + 1
        # As long as its track lives a face may come back, and its readers should not lose it.
        lost = {name for name, face in self._open.items()
                if face.missed > answer.settings.max_missed_frames}
        # In between: who hears of a face finds its topics, and who reads them hears of its end.
        self._faces.announce(
            self._prefix, answer.header, [name for name in self._open if name not in lost])
        self._close(lost)
        for name, head in named.items():
            self._open[name].publish(head, answer)

    def clear(self) -> None:
        """Take all faces away."""
        if self._open:
            self._faces.announce(self._prefix, self._header, [])
            self._close(set(self._open))

    def destroy(self) -> None:
        """Remove the publishers."""
        self._close(set(self._open))

    def _close(self, names: set[str]) -> None:
        for name in names:
            self._open.pop(name).destroy()


class _Face:
    """
    The publishers of one face.

    :ivar missed: images since it was seen.
    """

    def __init__(self, node: LifecycleNode, name: str, messages: Any) -> None:
        self.missed = 0
        self._node, self._messages = node, messages
        self._roi = self._create(messages.NormalizedRegionOfInterest2D, f'{name}/roi')
        self._cropped = self._create(Image, f'{name}/cropped')
        self._landmarks = self._create(messages.FacialLandmarks, f'{name}/landmarks')

    def publish(self, head: Head, answer: Answer) -> None:
        """Send what is read."""
        size = (answer.image.shape[1], answer.image.shape[0])
        if self._roi.get_subscription_count():
            region = dict(zip(('xmin', 'ymin', 'xmax', 'ymax'),
                              normalised_region(head, size).tolist(), strict=True))
            self._roi.publish(self._messages.NormalizedRegionOfInterest2D(
                header=answer.header, c=float(np.clip(head.score, 0.0, 1.0)), **region))
        if self._cropped.get_subscription_count():
            self._cropped.publish(bgr_image(answer.header, face_picture(answer.image, head)))
        if self._landmarks.get_subscription_count():
            kind = self._messages.NormalizedPointOfInterest2D
            points = normalised_landmarks(head, _gaze(head, answer), size).tolist()
            self._landmarks.publish(self._messages.FacialLandmarks(
                header=answer.header, width=size[0], height=size[1],
                landmarks=[kind(x=x, y=y, c=c) for x, y, c in points]))

    def destroy(self) -> None:
        """Remove the publishers."""
        for publisher in (self._roi, self._cropped, self._landmarks):
            self._node.destroy_publisher(publisher)

    def _create(self, kind: type, topic: str, qos: QoSProfile = LARGE) -> Any:
        # Created and destroyed in the worker's thread: without events, the executor's thread has
        # nothing to wait for that could vanish under it.
        return self._node.create_publisher(
            kind, _ROOT + topic, qos,
            event_callbacks=PublisherEventCallbacks(use_default_callbacks=False))


def _gaze(head: Head, answer: Answer) -> NDArray[np.float64]:
    return gaze_rotation(head.expression, answer.model.expression_names)
