"""What the worker does with the images that wait together: one pass of the network for all."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage, Image

from trans3dhead_ros.network.device import resolve_device
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.perception.batching import run_batched
from trans3dhead_ros.ros.node.camera_tracker import CameraTracker, Frame
from trans3dhead_ros.ros.outputs import model_name as model_name
from trans3dhead_ros.ros.parameters import Settings, read_settings, settings_of_camera
from trans3dhead_ros.ros.throttled_logger import PERIOD, ThrottledLogger


@dataclass(frozen=True, eq=False)
class IncomingImage:
    """An image message and the camera that it came from."""

    camera: str
    message: Image | CompressedImage


class FrameProcessor:
    """
    Everything that belongs to the worker's thread: the network, and the cameras that share it.

    :param aligner: loaded on the device of the settings.
    :param trackers: by the name of the camera.
    """

    def __init__(
        self, node: LifecycleNode, aligner: HeadAligner, trackers: Mapping[str, CameraTracker],
        settings: Settings,
    ) -> None:
        self.aligner = aligner
        self.trackers = trackers
        self._node = node
        self._throttled_log = ThrottledLogger(node.get_logger())
        self._device = settings.device

    def answer(self, *arrivals: IncomingImage) -> None:
        """Answer one image of each camera that has sent one."""
        settings = read_settings(self._node)
        self._follow_device(settings.device)
        started = time.perf_counter()
        frames: list[tuple[CameraTracker, Frame]] = []
        for arrival in arrivals:
            tracker = self.trackers[arrival.camera]
            own = settings_of_camera(self._node, settings, arrival.camera)
            frame = tracker.begin(arrival.message, own)
            if frame is not None:
                frames.append((tracker, frame))
        results = run_batched(
            self.aligner, [tracker.tracking_task(frame) for tracker, frame in frames])
        took = time.perf_counter() - started
        for (tracker, frame), result in zip(frames, results, strict=True):
            if isinstance(result, ValueError):
                tracker.reject('image', str(result))
            elif isinstance(result, Exception):
                self._failed(result, tracker)
            else:
                try:
                    tracker.finish(frame, result, took)
                except Exception as error:
                    self._failed(error, tracker)

    def failed(self, error: Exception, *arrivals: IncomingImage) -> None:
        """Note that `answer` has let an exception through with these images."""
        self._failed(error, *(self.trackers[arrival.camera] for arrival in arrivals))

    def use(self, aligner: HeadAligner) -> None:
        """Take another network from the next frame on."""
        self.aligner = aligner
        # It may have been loaded for another device than is wanted now.
        self._device = ''
        for tracker in self.trackers.values():
            tracker.use(aligner)

    def reset(self) -> None:
        """Forget all heads of all cameras."""
        for tracker in self.trackers.values():
            tracker.reset()

    def clear(self) -> None:
        """Take away what was published and would stay."""
        for tracker in self.trackers.values():
            tracker.clear()

    def _failed(self, error: Exception, *trackers: CameraTracker) -> None:
        """A defect of ours must not end the stream; the log gets what is needed to mend it."""
        for tracker in trackers:
            tracker.statistics.failed()
        lines = ''.join(traceback.format_exception(error))
        self._node.get_logger().error(
            f'an image could not be answered\n{lines}', throttle_duration_sec=PERIOD)

    def _follow_device(self, device: str) -> None:
        if device == self._device:
            return
        aligner = self.aligner
        try:
            target = resolve_device(device)
            if target != aligner.device:
                self.use(HeadAligner(aligner.network.to(target), target, aligner.metadata))
        except (ValueError, RuntimeError) as error:
            # Half of it may have moved.
            aligner.network.to(aligner.device)
            self._throttled_log.warn('device', f'the device stays {aligner.device}: {error}')
        self._device = device
