"""Record what the tracker publishes: the third process of the demo."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage
from trans3dhead.msg import HeadArray, LandmarkArray

from trans3dhead_ros.bags.bag_writer import BagWriter
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.clip_truth import read_truth
from trans3dhead_ros.media.image_decoding import decode_image
from trans3dhead_ros.media.records import write_records
from trans3dhead_ros.ros.demo.demo_folder import check_folder, mark_folder
from trans3dhead_ros.ros.demo.demo_results import OverlayVideo, head_array_record, summarize
from trans3dhead_ros.ros.demo.image_publisher import FRAMES_QOS, FRAMES_TOPIC
from trans3dhead_ros.ros.messages import type_name
from trans3dhead_ros.ros.node_process import ShutdownRequest, spin_node
from trans3dhead_ros.ros.parameters import (
    declare_parameters,
    parameter,
    parameter_specs,
    read_parameters,
)
from trans3dhead_ros.ros.stamps import stamp_nanoseconds

_QOS = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
_IDLE_TIMEOUT = 3.0  # s without heads after the end of the source
_MATCHING_TIME = 0.5  # s


@dataclass(frozen=True)
class RecorderParameters:
    """Parameters of `recorder`."""

    output: str = parameter('out/demo', read_only=True)
    """Folder for the results."""
    fps: float = parameter(25.0, bounds=(0.1, 1000.0), read_only=True)
    """Frame rate of the overlay video, Hz."""


class Recorder(Node):
    """
    Records results; `RecorderParameters` are its parameters.

    It subscribes to the images last: a publisher that waits for this node may start only when the
    other subscriptions are matched with the tracker.

    :param shutdown: ends the process.
    :raises UserError: if the folder cannot be made.
    """

    def __init__(self, shutdown: ShutdownRequest) -> None:
        super().__init__('recorder')
        declare_parameters(self, parameter_specs(RecorderParameters).values())
        parameters = read_parameters(self, RecorderParameters)
        folder = Path(parameters.output)
        check_folder(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f'output: {folder} cannot be made ({error.strerror})') from None
        mark_folder(folder)
        self._folder = folder
        self._shutdown = shutdown
        self._bag = BagWriter(folder / 'bag')
        self._video = OverlayVideo(folder, parameters.fps)
        self._heads: dict[int, HeadArray] = {}
        self._received_at: dict[int, float] = {}
        self._image_stamps: list[int] = []
        self._source: dict[str, Any] | None = None
        self._last_received = time.monotonic()
        self._tracker_since: float | None = None
        for kind, topic in ((PoseStamped, 'head_pose'), (LandmarkArray, 'head_landmarks'),
                            (TFMessage, '/tf'), (CameraInfo, 'camera_info')):
            self._record(kind, topic)
        self.create_subscription(HeadArray, 'heads', self._receive_heads, _QOS, raw=True)
        self.create_subscription(Image, 'overlay', self._receive_overlay, _QOS)
        self.create_subscription(String, FRAMES_TOPIC, self._receive_frame_list, FRAMES_QOS)
        self._start_timer = self.create_timer(0.1, self._wait_for_tracker)
        self.create_timer(0.2, self._shut_down_when_complete)

    def close(self) -> None:
        """Write the files and print the summary."""
        self._video.close()
        self._bag.close()
        if self._source is None and not self._image_stamps:
            return
        # A publisher that was killed sends no list of frames; the received images replace it.
        frames = self._source['frames'] if self._source else [
            {'frame': i, 'stamp': (stamp - self._image_stamps[0]) * 1e-9, 'header_stamp': stamp}
            for i, stamp in enumerate(self._image_stamps)]
        records = [head_array_record(f['frame'], f['stamp'], self._heads.get(f['header_stamp']))
                   for f in frames]
        write_records(self._folder / 'heads.jsonl', records)
        # The list of a long stream has only its last frames.
        received = {f['header_stamp']: self._received_at[f['header_stamp']] for f in frames
                    if f['header_stamp'] in self._received_at}
        latencies = [received[f['header_stamp']] - f['sent'] for f in frames
                     if 'sent' in f and f['header_stamp'] in received]
        sent = [f['sent'] for f in frames if 'sent' in f]
        seconds = max(received.values()) - min(sent) if sent and received else 0.0
        truth = read_truth(self._source['source']) if self._source else None
        print(summarize(records, len(received), latencies, seconds, truth), flush=True)

    def _record(self, kind: type, topic: str) -> None:
        name = type_name(kind)
        self.create_subscription(kind, topic, lambda data: self._bag.write(
            self.resolve_topic_name(topic), name, time.time_ns(), data), _QOS, raw=True)

    def _wait_for_tracker(self) -> None:
        if self.count_publishers('heads') and self.count_publishers('overlay'):
            self._tracker_since = self._tracker_since or time.monotonic()
            # A publisher is known to the graph a moment before it is matched.
            if time.monotonic() - self._tracker_since > _MATCHING_TIME:
                self.destroy_timer(self._start_timer)
                self.create_subscription(Image, 'image_raw', self._receive_image, _QOS)

    def _receive_image(self, message: Image) -> None:
        stamp = stamp_nanoseconds(message.header.stamp)
        image = decode_image(message)
        self._image_stamps.append(stamp)
        self._video.add_image(stamp, image)
        # A tenth of the raw bytes; `image_transport:=compressed` replays it.
        compressed = CompressedImage(header=message.header, format='bgr8; jpeg compressed bgr8',
                                     data=cv2.imencode('.jpg', image)[1].tobytes())
        self._bag.write(self.resolve_topic_name('image_raw') + '/compressed',
                        type_name(CompressedImage), time.time_ns(), serialize_message(compressed))

    def _receive_heads(self, data: bytes) -> None:
        self._last_received = time.monotonic()
        message = deserialize_message(data, HeadArray)
        stamp = stamp_nanoseconds(message.header.stamp)
        self._heads[stamp] = message
        self._received_at[stamp] = time.time()
        self._bag.write(self.resolve_topic_name('heads'), type_name(HeadArray), time.time_ns(),
                        data)

    def _receive_overlay(self, message: Image) -> None:
        self._last_received = time.monotonic()
        stamp = stamp_nanoseconds(message.header.stamp)
        found = self._heads.get(stamp)
        score = sum(head.score for head in found.heads) if found else 0.0
        self._video.add_overlay(stamp, decode_image(message), score)

    def _receive_frame_list(self, message: String) -> None:
        self._last_received = time.monotonic()
        self._source = json.loads(message.data)

    def _shut_down_when_complete(self) -> None:
        if self._source is None:
            return
        idle = time.monotonic() - self._last_received
        complete = all(f['header_stamp'] in self._heads for f in self._source['frames'])
        # The overlay of the last frame follows its heads.
        if (complete and idle > _MATCHING_TIME) or idle > _IDLE_TIMEOUT:
            self._shutdown(0)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the recorder as a process.

    :param arguments: `--ros-args …`; None for those of the process.
    :return: exit code; 2 for a user's mistake.
    """
    return spin_node(
        Recorder, arguments, 'usage: recorder --ros-args -p output:=FOLDER\n'
        'Writes overlay.mp4, overlay.png, heads.jsonl and a bag, and prints a summary.',
        on_stop=Recorder.close)


if __name__ == '__main__':
    raise SystemExit(main())
