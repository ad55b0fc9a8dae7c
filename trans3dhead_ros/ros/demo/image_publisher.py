"""Publishes the frames of a picture, folder, GIF, video or camera as ROS images."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header, String
from trans3dhead.msg import HeadArray

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.sources import Frame, open_source
from trans3dhead_ros.ros.camera_info import camera_info
from trans3dhead_ros.ros.messages import bgr_image
from trans3dhead_ros.ros.node_process import ShutdownRequest, refuse_arguments, spin_node
from trans3dhead_ros.ros.parameters import (
    declare_parameters,
    parameter,
    parameter_specs,
    read_parameters,
)
from trans3dhead_ros.ros.stamps import stamp_nanoseconds

PACES = ('lockstep', 'realtime')
#: What was published, as JSON, when the source has ended; latched.
FRAMES_TOPIC = 'source_frames'
_ANSWER_TIMEOUT = 1.0  # s
_LISTENER_TIMEOUT = 60.0  # s
# Frames that are remembered for the end: an hour of a camera, which may run for months.
_MOST_TOLD = 100_000
# Deeper than one, so that a recorder beside the tracker can take its time.
_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
FRAMES_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                        durability=DurabilityPolicy.TRANSIENT_LOCAL)


@dataclass(frozen=True)
class PublisherParameters:
    """Parameters of `image_publisher`."""

    # A camera index is a number.
    source: str | int = parameter('', read_only=True, any_type=True)
    """Picture, folder, GIF, video, stream URL or camera index."""
    pace: str = parameter(PACES[0], choices=PACES, read_only=True)
    """
    lockstep publishes the next frame after the answer on heads, or after a second; realtime at the
    rate of the source.
    """
    frame_id: str = parameter('camera_optical_frame', read_only=True)
    """Frame of the images."""
    wait_for: Sequence[str] = parameter([''], read_only=True)
    """Nodes that must subscribe to the images before the first one is published."""
    repeat: bool = parameter(False, read_only=True)
    """Start again when the source ends; the list of frames then covers the last round."""


class ImagePublisher(Node):
    """
    Publishes the frames of a source; `PublisherParameters` are its parameters.

    Stamps are the source's own times from the moment of the start on, so that whoever smooths over
    time sees the source's time at any pace. A camera or a stream keeps its own pace, and its frames
    are stamped when they arrive. camera_info is published where the camera of the source is known.

    :raises ValueError: for a source that cannot be read or another pace.
    """

    def __init__(self, finish: ShutdownRequest) -> None:
        super().__init__('image_publisher')
        declare_parameters(self, parameter_specs(PublisherParameters).values())
        self._parameters = read_parameters(self, PublisherParameters)
        if self._parameters.source == '':
            raise UserError('source: give one, as --ros-args -p source:=clip.mp4')
        self._source = open_source(str(self._parameters.source))
        self._finish = finish
        self._images = self.create_publisher(Image, 'image_raw', _QOS)
        self._infos = self.create_publisher(CameraInfo, 'camera_info', _QOS)
        self._frames = self.create_publisher(String, FRAMES_TOPIC, FRAMES_QOS)
        self.create_subscription(HeadArray, 'heads', self._answered, _QOS)
        self._answer = threading.Condition()
        self._last_answer = -1
        self._stopping = threading.Event()
        self._sent: deque[dict[str, float]] = deque(maxlen=_MOST_TOLD)
        self._thread = threading.Thread(target=self._run, name='source', daemon=True)

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def stop(self) -> None:
        """End in order: what was published is told before."""
        self._stopping.set()
        self._thread.join(timeout=10.0)
        self._source.close()

    def _run(self) -> None:
        code = 1
        try:
            if self._listened_to():
                self._publish_all()
                code = 0
        except ValueError as error:
            self.get_logger().error(str(error))
        finally:
            self._tell_frames()
            self._finish(code)

    def _publish_all(self) -> None:
        camera = self._source.camera
        info = camera_info(camera) if camera is not None else None
        live = self._source.live
        start = self.get_clock().now().nanoseconds
        began = time.monotonic()
        # Seconds that the rounds before have taken, in the time of the source.
        passed = 0.0
        while True:
            self._sent.clear()
            for frame in self._source:
                if self._parameters.pace == 'realtime' and not live:
                    self._stopping.wait(max(0.0, began + passed + frame.stamp - time.monotonic()))
                if self._stopping.is_set():
                    return
                stamp = start + round((passed + frame.stamp) * 1e9)
                if live:
                    stamp = self.get_clock().now().nanoseconds
                self._publish(frame, stamp, info)
                if self._parameters.pace == 'lockstep' and not live:
                    self._await_answer(stamp)
            if not self._parameters.repeat:
                return
            if not self._sent:
                raise UserError(f'source: {self._source.name} has ended and does not start again')
            passed += self._sent[-1]['stamp'] + 1.0 / self._source.fps

    def _publish(self, frame: Frame, stamp: int, info: CameraInfo | None) -> None:
        header = Header(stamp=Time(nanoseconds=stamp).to_msg(), frame_id=self._parameters.frame_id)
        if info is not None:
            info.header = header
            self._infos.publish(info)
        message = bgr_image(header, frame.image)
        self._sent.append({'frame': frame.index, 'stamp': frame.stamp, 'header_stamp': stamp,
                           'sent': time.time()})
        self._images.publish(message)

    def _await_answer(self, stamp: int) -> None:
        with self._answer:
            self._answer.wait_for(lambda: self._last_answer >= stamp, _ANSWER_TIMEOUT)

    def _answered(self, message: HeadArray) -> None:
        with self._answer:
            self._last_answer = stamp_nanoseconds(message.header.stamp)
            self._answer.notify()

    def _listened_to(self) -> bool:
        """Wait until everybody who shall see the first frame does; False when nobody comes."""
        wanted = set(filter(None, self._parameters.wait_for))
        deadline = time.monotonic() + _LISTENER_TIMEOUT
        while not self._stopping.wait(0.05):
            listeners = self.get_subscriptions_info_by_topic(self._images.topic_name)
            names = {info.node_name for info in listeners}
            # Known to the graph comes before matched, and only a matched one receives.
            matched = self._images.get_subscription_count() >= max(len(listeners), 1)
            if wanted <= names and matched:
                return True
            if wanted and time.monotonic() > deadline:
                missing = ', '.join(sorted(wanted - names))
                self.get_logger().error(f'{missing} did not subscribe to '
                                        f'{self._images.topic_name} for {_LISTENER_TIMEOUT:.0f} s')
                return False
        return False

    def _tell_frames(self) -> None:
        self._frames.publish(String(data=json.dumps({
            'source': self._source.name, 'fps': self._source.fps, 'size': self._source.size,
            'pace': self._parameters.pace, 'frames': list(self._sent)})))
        # What was sent last must not go with the process.
        for publisher in (self._images, self._frames):
            if publisher.get_subscription_count():
                publisher.wait_for_all_acked(Duration(seconds=4))


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the publisher as a process.

    :param arguments: `--ros-args …`; None takes the process's own.
    :return: exit code; 2 for a user's mistake.
    """
    refused = refuse_arguments(
        arguments, 'usage: image_publisher --ros-args -p source:=FILE [-p pace:=realtime]\n'
        'Publishes image_raw, and camera_info where the camera is known.')
    if refused is not None:
        return refused
    return spin_node(ImagePublisher, arguments,
                     on_start=ImagePublisher.start, on_stop=ImagePublisher.stop)


if __name__ == '__main__':
    raise SystemExit(main())
