"""Publish the frames of a picture, folder, GIF, video or camera as ROS images."""

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
from trans3dhead_ros.ros.node_process import ShutdownRequest, spin_node
from trans3dhead_ros.ros.parameters import (
    declare_parameters,
    parameter,
    parameter_specs,
    read_parameters,
)
from trans3dhead_ros.ros.stamps import stamp_nanoseconds

PACES = ('lockstep', 'realtime')
FRAMES_TOPIC = 'source_frames'
"""Latched topic with the list of published frames as JSON, sent when the source has ended."""

_HEADS_TIMEOUT = 1.0  # s
_SUBSCRIBER_TIMEOUT = 60.0  # s
# Of a camera, which may run for months, the last hour is listed.
_MAX_LISTED_FRAMES = 100_000
_LEAD = 3600 * 10 ** 9  # ns
# Deeper than one, so that a recorder may be slower than the tracker for a while.
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
    lockstep publishes the next frame when the heads of the last one arrive, or after a second;
    realtime at the rate of the source.
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

    Stamps are the times of the source, counted from the start, in lockstep from an hour before, so
    that smoothing over time gives the same at any pace. A camera or a stream keeps its own pace,
    and its frames are stamped when they arrive. camera_info is published if the camera of the
    source is known.

    :param shutdown: ends the process.
    :raises UserError: for a source that cannot be read or another pace.
    """

    def __init__(self, shutdown: ShutdownRequest) -> None:
        super().__init__('image_publisher')
        declare_parameters(self, parameter_specs(PublisherParameters).values())
        self._parameters = read_parameters(self, PublisherParameters)
        if self._parameters.source == '':
            raise UserError('source: give one, as --ros-args -p source:=clip.mp4')
        self._source = open_source(str(self._parameters.source))
        self._shutdown = shutdown
        self._images = self.create_publisher(Image, 'image_raw', _QOS)
        self._infos = self.create_publisher(CameraInfo, 'camera_info', _QOS)
        self._frames = self.create_publisher(String, FRAMES_TOPIC, FRAMES_QOS)
        self.create_subscription(HeadArray, 'heads', self._receive_heads, _QOS)
        self._heads_arrived = threading.Condition()
        self._last_heads = -1
        self._stopping = threading.Event()
        self._published: deque[dict[str, float]] = deque(maxlen=_MAX_LISTED_FRAMES)
        self._thread = threading.Thread(target=self._run, name='source', daemon=True)

    def start(self) -> None:
        """Start publishing."""
        self._thread.start()

    def stop(self) -> None:
        """Stop publishing and send the list of frames."""
        self._stopping.set()
        self._thread.join(timeout=10.0)
        self._source.close()

    def _run(self) -> None:
        code = 1
        try:
            if self._wait_for_subscribers():
                self._publish_all()
                code = 0
        except UserError as error:
            self.get_logger().error(str(error))
        finally:
            self._publish_frame_list()
            self._shutdown(code)

    def _publish_all(self) -> None:
        camera = self._source.camera
        info = camera_info(camera) if camera is not None else None
        live = self._source.live
        start = self.get_clock().now().nanoseconds
        if self._parameters.pace == 'lockstep':
            # Faster than real time, stamps that begin now would lie in the future.
            start -= _LEAD
        began = time.monotonic()
        # Duration of the rounds before in seconds of the source.
        passed = 0.0
        while True:
            self._published.clear()
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
                    self._wait_for_heads(stamp)
            for line in (*self._source.losses, *self._source.notes):
                self.get_logger().warning(line)
            if not self._parameters.repeat:
                return
            if not self._published:
                raise UserError(f'source: {self._source.name} has ended and does not start again')
            passed += self._published[-1]['stamp'] + 1.0 / self._source.fps

    def _publish(self, frame: Frame, stamp: int, info: CameraInfo | None) -> None:
        header = Header(stamp=Time(nanoseconds=stamp).to_msg(), frame_id=self._parameters.frame_id)
        if info is not None:
            info.header = header
            self._infos.publish(info)
        message = bgr_image(header, frame.image)
        self._published.append({'frame': frame.index, 'stamp': frame.stamp, 'header_stamp': stamp,
                                'sent': time.time()})
        self._images.publish(message)

    def _wait_for_heads(self, stamp: int) -> None:
        with self._heads_arrived:
            self._heads_arrived.wait_for(lambda: self._last_heads >= stamp, _HEADS_TIMEOUT)

    def _receive_heads(self, message: HeadArray) -> None:
        with self._heads_arrived:
            self._last_heads = stamp_nanoseconds(message.header.stamp)
            self._heads_arrived.notify()

    def _wait_for_subscribers(self) -> bool:
        """Wait until the nodes in `wait_for` subscribe; return False if they do not."""
        wanted = set(filter(None, self._parameters.wait_for))
        deadline = time.monotonic() + _SUBSCRIBER_TIMEOUT
        while not self._stopping.wait(0.05):
            subscribers = self.get_subscriptions_info_by_topic(self._images.topic_name)
            names = {info.node_name for info in subscribers}
            # A subscriber is known to the graph before it is matched and receives.
            matched = self._images.get_subscription_count() >= max(len(subscribers), 1)
            if wanted <= names and matched:
                return True
            if wanted and time.monotonic() > deadline:
                missing = ', '.join(sorted(wanted - names))
                self.get_logger().error(f'{missing} did not subscribe to '
                                        f'{self._images.topic_name} within '
                                        f'{_SUBSCRIBER_TIMEOUT:.0f} s')
                return False
        return False

    def _publish_frame_list(self) -> None:
        self._frames.publish(String(data=json.dumps({
            'source': self._source.name, 'fps': self._source.fps, 'size': self._source.size,
            'pace': self._parameters.pace, 'frames': list(self._published)})))
        # What was published last must arrive before the process ends.
        for publisher in (self._images, self._frames):
            if publisher.get_subscription_count():
                publisher.wait_for_all_acked(Duration(seconds=4))


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the publisher as a process.

    :param arguments: `--ros-args …`; None for those of the process.
    :return: exit code; 2 for a user's mistake.
    """
    return spin_node(
        ImagePublisher, arguments,
        'usage: image_publisher --ros-args -p source:=FILE [-p pace:=realtime]\n'
        'Publishes image_raw, and camera_info if the camera is known.',
        on_start=ImagePublisher.start, on_stop=ImagePublisher.stop)


if __name__ == '__main__':
    raise SystemExit(main())
