"""Processing of waiting images in the worker's thread: one pass of the network for all cameras."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage, Image

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.perception.batching import run_batched
from trans3dhead_ros.perception.detector import Detector
from trans3dhead_ros.ros.node.camera_tracker import CameraTracker, Frame
from trans3dhead_ros.ros.throttled_logger import PERIOD, ThrottledLogger
from trans3dhead_ros.ros.tracker_parameters import (
    TrackerParameters,
    camera_parameters,
    read_tracker_parameters,
)


@dataclass(frozen=True, eq=False)
class IncomingImage:
    """A received image message."""

    camera: str
    """Name of the camera; empty where there is only one."""
    message: Image | CompressedImage
    """The message as it was received."""


class FrameProcessor:
    """
    Everything that belongs to the worker's thread: the network and the cameras that share it.

    :param node: the node, for its parameters and its logger.
    :param aligner: the network on the device of the parameters.
    :param detector: that of all cameras, there too.
    :param trackers: the cameras, by name.
    :param parameters: the parameters that the aligner was loaded with.
    """

    def __init__(
        self, node: LifecycleNode, aligner: HeadAligner, detector: Detector,
        trackers: Mapping[str, CameraTracker], parameters: TrackerParameters,
    ) -> None:
        self.aligner = aligner
        self._detector = detector
        self.trackers = trackers
        self._node = node
        self._throttled_log = ThrottledLogger(node.get_logger())
        self._device, self._backend = parameters.device, parameters.backend
        self._threads = parameters.threads

    def process(self, images: Sequence[IncomingImage]) -> None:
        """Track and publish the heads of at most one image per camera."""
        parameters = read_tracker_parameters(self._node)
        self._apply_device(parameters.device)
        start = time.perf_counter()
        frames: list[tuple[CameraTracker, Frame]] = []
        for incoming in images:
            tracker = self.trackers[incoming.camera]
            frame = tracker.prepare(
                incoming.message, camera_parameters(self._node, parameters, incoming.camera))
            if frame is not None:
                frames.append((tracker, frame))
        results = run_batched(
            self.aligner, [tracker.tracking_task(frame) for tracker, frame in frames])
        seconds = time.perf_counter() - start
        for (tracker, frame), result in zip(frames, results, strict=True):
            if isinstance(result, UserError):
                tracker.reject('image', str(result))
            elif isinstance(result, Exception):
                self._log_failure(result, [tracker])
            else:
                try:
                    tracker.publish(frame, result, seconds)
                except Exception as error:
                    self._log_failure(error, [tracker])

    def on_error(self, error: Exception, images: Sequence[IncomingImage]) -> None:
        """Count and log an exception that `process` has raised for these images."""
        self._log_failure(error, [self.trackers[incoming.camera] for incoming in images])

    def set_aligner(self, aligner: HeadAligner) -> None:
        """Use another network from the next frame on."""
        self.aligner = aligner
        # It may have been loaded for another device than the parameter names now.
        self._device = ''
        for tracker in self.trackers.values():
            tracker.set_aligner(aligner)

    def reset(self) -> None:
        """Drop the tracks of all cameras."""
        for tracker in self.trackers.values():
            tracker.reset()

    def clear(self) -> None:
        """Remove what was published and stays visible."""
        for tracker in self.trackers.values():
            tracker.clear()

    def _log_failure(self, error: Exception, trackers: Sequence[CameraTracker]) -> None:
        """Log a defect of this package with its traceback; the stream continues."""
        for tracker in trackers:
            tracker.statistics.failed()
        lines = ''.join(traceback.format_exception(error))
        self._node.get_logger().error(
            f'an image could not be processed\n{lines}', throttle_duration_sec=PERIOD)

    def _apply_device(self, device: str) -> None:
        if device == self._device:
            return
        old = self.aligner
        try:
            new = old.moved(device, self._backend, self._threads)
            if new is not old:
                new.warm_up()
                self.set_aligner(new)
            self._detector = self._detector.moved(device, self._backend, self._threads)
            for tracker in self.trackers.values():
                tracker.set_detector(self._detector)
        except (ValueError, RuntimeError) as error:
            self._throttled_log.warn('device', f'the device stays {old.device}: {error}')
        self._device = device
