"""Records what the tracker answers: the third process of the demo."""

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
from trans3dhead_ros.media.records import write_records
from trans3dhead_ros.ros.demo.demo_results import OverlayVideo, head_array_record, summarize
from trans3dhead_ros.ros.demo.image_publisher import FRAMES_QOS, FRAMES_TOPIC
from trans3dhead_ros.ros.image_decoding import decode_image
from trans3dhead_ros.ros.node_process import ShutdownRequest, refuse_arguments, spin_node
from trans3dhead_ros.ros.parameters import (
    declare_parameters,
    parameter,
    parameter_specs,
    read_parameters,
)
from trans3dhead_ros.ros.stamps import stamp_nanoseconds

_QOS = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
_PATIENCE = 3.0  # s without an answer, when the source has ended
_MATCHING = 0.5  # s


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

    The images are subscribed to last: a publisher that waits for this node may begin only when its
    other subscriptions hear the tracker.

    :raises ValueError: when the folder cannot be made.
    """

    def __init__(self, finish: ShutdownRequest) -> None:
        super().__init__('recorder')
        declare_parameters(self, parameter_specs(RecorderParameters).values())
        parameters = read_parameters(self, RecorderParameters)
        folder = Path(parameters.output)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f'output: {folder} cannot be made ({error.strerror})') from None
        self._folder = folder
        self._finish = finish
        self._bag = BagWriter(folder / 'bag')
        self._video = OverlayVideo(folder, parameters.fps)
        self._answers: dict[int, HeadArray] = {}
        self._arrived: dict[int, float] = {}
        self._seen: list[int] = []
        self._told: dict[str, Any] | None = None
        self._last = time.monotonic()
        self._tracker_since: float | None = None
        for kind, topic in ((PoseStamped, 'head_pose'), (LandmarkArray, 'head_landmarks'),
                            (TFMessage, '/tf'), (CameraInfo, 'camera_info')):
            self._record(kind, topic)
        self.create_subscription(HeadArray, 'heads', self._answer, _QOS, raw=True)
        self.create_subscription(Image, 'overlay', self._overlay, _QOS)
        self.create_subscription(String, FRAMES_TOPIC, self._source_ended, FRAMES_QOS)
        self._waiting = self.create_timer(0.1, self._wait_for_tracker)
        self.create_timer(0.2, self._finish_when_complete)

    def close(self) -> None:
        """Write the files and print the summary."""
        self._video.close()
        self._bag.close()
        if self._told is None and not self._seen:
            return
        # A source that was cut off has told nothing; the images are what is known then.
        frames = self._told['frames'] if self._told else [
            {'frame': i, 'stamp': (stamp - self._seen[0]) * 1e-9, 'header_stamp': stamp}
            for i, stamp in enumerate(self._seen)]
        rows = [head_array_record(f['frame'], f['stamp'], self._answers.get(f['header_stamp'])) for f in frames]
        write_records(self._folder / 'heads.jsonl', rows)
        # Of a long stream only its last frames are told.
        arrived = {f['header_stamp']: self._arrived[f['header_stamp']] for f in frames
                   if f['header_stamp'] in self._arrived}
        latencies = [arrived[f['header_stamp']] - f['sent'] for f in frames
                     if 'sent' in f and f['header_stamp'] in arrived]
        sent = [f['sent'] for f in frames if 'sent' in f]
        seconds = max(arrived.values()) - min(sent) if sent and arrived else 0.0
        truth = read_truth(self._told['source']) if self._told else None
        print(summarize(rows, len(arrived), latencies, seconds, truth), flush=True)

    def _record(self, kind: type, topic: str) -> None:
        name = _type_name(kind)
        self.create_subscription(kind, topic, lambda data: self._bag.write(
            self.resolve_topic_name(topic), name, time.time_ns(), data), _QOS, raw=True)

    def _wait_for_tracker(self) -> None:
        if self.count_publishers('heads') and self.count_publishers('overlay'):
            self._tracker_since = self._tracker_since or time.monotonic()
            # The graph shows an endpoint a moment before it is matched with ours.
            if time.monotonic() - self._tracker_since > _MATCHING:
                self.destroy_timer(self._waiting)
                self.create_subscription(Image, 'image_raw', self._image, _QOS)

    def _image(self, message: Image) -> None:
        stamp = stamp_nanoseconds(message.header.stamp)
        image = decode_image(message)
        self._seen.append(stamp)
        self._video.add_image(stamp, image)
        # A tenth of the raw bytes, and what `image_transport:=compressed` replays.
        packed = CompressedImage(header=message.header, format='bgr8; jpeg compressed bgr8',
                                 data=cv2.imencode('.jpg', image)[1].tobytes())
        self._bag.write(self.resolve_topic_name('image_raw') + '/compressed',
                        _type_name(CompressedImage), time.time_ns(), serialize_message(packed))

    def _answer(self, data: bytes) -> None:
        self._last = time.monotonic()
        message = deserialize_message(data, HeadArray)
        stamp = stamp_nanoseconds(message.header.stamp)
        self._answers[stamp] = message
        self._arrived[stamp] = time.time()
        self._bag.write(self.resolve_topic_name('heads'), _type_name(HeadArray), time.time_ns(),
                        data)

    def _overlay(self, message: Image) -> None:
        self._last = time.monotonic()
        stamp = stamp_nanoseconds(message.header.stamp)
        answer = self._answers.get(stamp)
        worth = sum(head.score for head in answer.heads) if answer else 0.0
        self._video.add_overlay(stamp, decode_image(message), worth)

    def _source_ended(self, message: String) -> None:
        self._last = time.monotonic()
        self._told = json.loads(message.data)

    def _finish_when_complete(self) -> None:
        if self._told is None:
            return
        quiet = time.monotonic() - self._last
        complete = all(f['header_stamp'] in self._answers for f in self._told['frames'])
        # The overlay of the last frame follows its heads.
        if (complete and quiet > _MATCHING) or quiet > _PATIENCE:
            self._finish(0)


def _type_name(kind: type) -> str:
    package, group = kind.__module__.split('.')[:2]
    return f'{package}/{group}/{kind.__name__}'


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the recorder as a process.

    :param arguments: `--ros-args …`; None takes the process's own.
    :return: exit code; 2 for a user's mistake.
    """
    refused = refuse_arguments(
        arguments, 'usage: recorder --ros-args -p output:=FOLDER\n'
        'Writes overlay.mp4, overlay.png, heads.jsonl and a bag, and prints a summary.')
    if refused is not None:
        return refused
    return spin_node(Recorder, arguments, on_stop=Recorder.close)


if __name__ == '__main__':
    raise SystemExit(main())
