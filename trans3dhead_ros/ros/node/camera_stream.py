"""What the executor does for one camera: listen, count, report."""

from __future__ import annotations

import time
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from trans3dhead_ros.ros.node.camera_tracker import CameraTracker
from trans3dhead_ros.ros.node.frame_processor import IncomingImage
from trans3dhead_ros.ros.node.image_input import ImageInput
from trans3dhead_ros.ros.node.statistics import Statistics, diagnostic_status
from trans3dhead_ros.ros.parameters import Settings, read_settings, settings_of_camera
from trans3dhead_ros.ros.throttled_logger import ThrottledLogger

_PUBLISHER_POLL = 0.2  # s
_LOG_PERIOD = 30.0  # s


class CameraStream:
    """
    The subscriptions and the counters of one camera.

    :param name: of the camera; empty where there is only one.
    :param submit: takes an image and the camera's name, and says whether it has replaced one that
        was waiting.
    :param silence: called once when images have ceased for `no_image_warning` seconds.
    :ivar tracker: gets the calibration; None until the node is configured.
    """

    def __init__(
        self, node: LifecycleNode, name: str, submit: Callable[[IncomingImage, str], bool],
        silence: Callable[[CameraTracker], None],
    ) -> None:
        self.name = name
        self.prefix = f'{name}/' if name else ''
        self.tracker: CameraTracker | None = None
        self.statistics = Statistics()
        self._node = node
        self._submit = submit
        self._silence = silence
        self._silenced: float | None = None
        self._input = ImageInput(
            node, self.prefix, self._settings().image_transport, self._image)
        self._camera_info: Subscription | None = None
        self._listening_since: float | None = None
        self._rejected = self._failures = 0
        # Simulated time may stand still.
        self._clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._poll: Timer | None = None
        self._throttled_log = ThrottledLogger(node.get_logger(), name)

    @property
    def topic(self) -> str:
        """The resolved name of the image topic."""
        return self._input.topic

    def listen(self) -> None:
        """Subscribe."""
        self._listening_since = time.monotonic()
        self.statistics.reset_pending()
        # Best effort hears every publisher, and these messages are small.
        self._camera_info = self._node.create_subscription(
            CameraInfo, f'{self.prefix}camera_info', self._store_camera_info,
            QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
        self._update()
        self._poll = self._node.create_timer(_PUBLISHER_POLL, self._update, clock=self._clock)

    def stop_listening(self) -> None:
        """Remove the subscriptions."""
        self._listening_since = None
        self._input.destroy()
        if self._poll is not None:
            self._node.destroy_timer(self._poll)
        if self._camera_info is not None:
            self._node.destroy_subscription(self._camera_info)
        self._poll = self._camera_info = None

    def status(self, state: str, facts: dict[str, str], wanted: bool) -> DiagnosticStatus:
        """
        Return the report.

        :param state: the summary where nothing is wrong.
        :param facts: what all cameras share; added to the values.
        :param wanted: whether anybody waits for images, so that their absence is worth a warning.
        """
        now = time.monotonic()
        level, summary = DiagnosticStatus.OK, state
        values = self.statistics.values(now) | self._input.report() | facts
        if self.tracker is not None:
            values['calibration'] = self.tracker.calibration.state
        if wanted and self._listening_since is not None:
            last = self.statistics.last_received()
            quiet = now - max(last or 0.0, self._listening_since)
            owed = now - (self.statistics.pending_since() or now)
            limit = self._settings().no_image_warning
            if 0.0 < limit < quiet:
                level = DiagnosticStatus.WARN
                summary = f'no image for {quiet:.0f} s {self._input.silence()}'
                self._throttled_log.warn('silence', summary, _LOG_PERIOD)
                # Once for the images up to this one.
                if last != self._silenced and self.tracker is not None:
                    self._silence(self.tracker)
                    self._silenced = last
            elif 0.0 < limit < owed:
                level, summary = DiagnosticStatus.ERROR, f'no answer for {owed:.0f} s to images'
                self._throttled_log.warn('no answer', summary, _LOG_PERIOD)
        else:
            self.statistics.reset_pending()
        rejected, failures = self.statistics.bad(), self.statistics.failures()
        if rejected > self._rejected:
            level, summary = DiagnosticStatus.WARN, f'{rejected - self._rejected} bad messages'
        if failures > self._failures:
            level = DiagnosticStatus.ERROR
            summary = f'{failures - self._failures} images failed, see the log'
        self._rejected, self._failures = rejected, failures
        return diagnostic_status(
            f'{_full_name(self._node)}: {self.name or "tracking"}', facts.get('device', ''),
            level, summary, values)

    def _image(self, message: Image | CompressedImage) -> None:
        self.statistics.received(time.monotonic())
        if self._submit(IncomingImage(self.name, message), self.name):
            self.statistics.replaced()

    def _store_camera_info(self, message: CameraInfo) -> None:
        if self.tracker is not None:
            self.tracker.calibration.message = message

    def _update(self) -> None:
        self._input.update(self._settings().image_reliability)

    def _settings(self) -> Settings:
        return settings_of_camera(self._node, read_settings(self._node), self.name)


def _full_name(node: LifecycleNode) -> str:
    return node.get_fully_qualified_name().lstrip('/')
