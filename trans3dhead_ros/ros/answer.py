"""What the worker does with one image message: decode, track, publish, count."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rclpy.lifecycle import LifecycleNode
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.device import resolve_device
from trans3dhead_ros.perception.align import HeadAligner
from trans3dhead_ros.perception.pipeline import HeadPipeline
from trans3dhead_ros.ros.cameras import CameraReading, read_camera_info
from trans3dhead_ros.ros.images import decode_compressed, decode_image
from trans3dhead_ros.ros.outputs import Outputs
from trans3dhead_ros.ros.parameters import Settings, read_settings
from trans3dhead_ros.ros.principal import PrincipalHead
from trans3dhead_ros.ros.statistics import Statistics

_WARNING_PERIOD = 5.0  # s


@dataclass
class _Calibration:
    """The last CameraInfo that was looked at, and what it said."""

    message: CameraInfo | None = None
    size: tuple[int, int] = (0, 0)
    rectified: bool = False
    reading: CameraReading = field(default_factory=lambda: CameraReading(None))


class Answerer:
    """
    Everything that belongs to the worker's thread; only `camera_info` is set from another one.

    :param pipeline: loaded with the settings.
    :param topic: the resolved image topic, which tells whether images are rectified.
    """

    def __init__(
        self, node: LifecycleNode, pipeline: HeadPipeline, outputs: Outputs,
        statistics: Statistics, topic: str, settings: Settings,
    ) -> None:
        #: The latest message; replaced as a whole, so no lock is needed.
        self.camera_info: CameraInfo | None = None
        self.pipeline = pipeline
        self._node = node
        self._outputs = outputs
        self._statistics = statistics
        self._topic = topic
        self._principal = PrincipalHead()
        self._calibration = _Calibration()
        self._settings = settings
        self._due = 0.0
        self._warned: dict[str, float] = {}

    def answer(self, message: Image | CompressedImage) -> None:
        """Answer one image; a bad one is counted and warned about."""
        settings = self._current_settings()
        if not self._is_due(settings.max_rate):
            return
        started = time.perf_counter()
        try:
            stamp = Time.from_msg(message.header.stamp)
            image = decode_image(message) if isinstance(message, Image) \
                else decode_compressed(message)
            camera = self._camera((image.shape[1], image.shape[0]), settings)
            heads = self.pipeline.track(image, stamp.nanoseconds * 1e-9, camera)
        except ValueError as error:
            self.reject('image', str(error))
            return
        heads = self._principal.sorted(heads)
        took = time.perf_counter() - started
        if heads and not message.header.frame_id:
            self._warn('frame', 'the header of the images names no frame_id: nothing goes to TF')
        self._outputs.publish(message.header, heads, image, settings)
        now = self._node.get_clock().now()
        self._statistics.answered(took, (now.nanoseconds - stamp.nanoseconds) * 1e-9, len(heads))

    def reject(self, kind: str, reason: str) -> None:
        """Count a bad message ('image' or 'camera_info') and warn, not more often than useful."""
        count = self._statistics.rejected(kind)
        self._warn(f'{kind} {reason.split(":")[0]}',
                   f'bad {kind} dropped ({count} so far): {reason}')

    def use(self, aligner: HeadAligner) -> None:
        """Take another network from the next frame on; tracks live on where they can."""
        old = self.pipeline.aligner.network.head_model
        new = aligner.network.head_model
        self.pipeline.aligner = aligner
        # What is smoothed over time must mean the same before and after.
        if old.mean.shape != new.mean.shape or old.shape_count != new.shape_count \
                or old.expression_names != new.expression_names:
            self.pipeline.reset()
        self._outputs.describe(model_name(aligner), aligner.expression_names, aligner.triangles,
                               aligner.landmark_indices)

    def reset(self) -> None:
        """Forget all heads."""
        self.pipeline.reset()
        self._principal = PrincipalHead()

    def _current_settings(self) -> Settings:
        """Read the parameters and apply what has changed."""
        settings = read_settings(self._node)
        previous, self._settings = self._settings, settings
        if settings == previous:
            return settings
        try:
            self.pipeline.config = settings.pipeline()
        except ValueError as error:
            self._warn('settings', f'parameters are not applied: {error}')
        if settings.device != previous.device:
            try:
                device, aligner = resolve_device(settings.device), self.pipeline.aligner
                self.use(HeadAligner(aligner.network.to(device), device, aligner.metadata))
            except (ValueError, RuntimeError) as error:
                self._warn('device', f'the device stays as it is: {error}')
        return settings

    def _is_due(self, max_rate: float) -> bool:
        now = time.monotonic()
        if max_rate <= 0.0:
            return True
        if now < self._due:
            return False
        # Counted from when it was due, so that the average rate is the one asked for.
        self._due = max(self._due + 1.0 / max_rate, now)
        return True

    def _camera(self, size: tuple[int, int], settings: Settings) -> Camera | None:
        """Return the intrinsics of an image; a CameraInfo that is no good leaves the last one."""
        message, rectified = self.camera_info, settings.rectified(self._topic)
        last = self._calibration
        if message is None:
            self._warn('calibration', 'no camera_info yet: distances assume a field of view',
                       period=float('inf'))
            return None
        if message is not last.message or size != last.size or rectified != last.rectified:
            try:
                reading = read_camera_info(message, size, rectified)
            except ValueError as error:
                self.reject('camera_info', str(error))
                # Another size cannot keep a camera of the last one.
                reading = last.reading if size == last.size else CameraReading(None)
            if reading.note and reading.note != last.reading.note:
                self._warn(reading.note, reading.note)
            self._calibration = _Calibration(message, size, rectified, reading)
        return self._calibration.reading.camera

    def _warn(self, key: str, text: str, period: float = _WARNING_PERIOD) -> None:
        now = time.monotonic()
        if now - self._warned.get(key, -float('inf')) >= period:
            self._warned[key] = now
            self._node.get_logger().warning(text)


def model_name(aligner: HeadAligner) -> str:
    """Return the name and version of a checkpoint as messages carry them."""
    name = aligner.metadata.get('name', 'trans3dhead')
    version = aligner.metadata.get('version') or str(aligner.metadata.get('sha256', ''))[:12]
    return f'{name} {version}'.strip()
