"""Subscriptions, counters and diagnostics of one camera, in the executor's thread."""

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

from trans3dhead_ros.ros.image_headers import HeaderCheck
from trans3dhead_ros.ros.node.camera_tracker import CameraTracker
from trans3dhead_ros.ros.node.frame_processor import IncomingImage
from trans3dhead_ros.ros.node.image_input import ImageInput, resolved_camera_info_topic
from trans3dhead_ros.ros.node.statistics import Statistics, diagnostic_status
from trans3dhead_ros.ros.throttled_logger import ThrottledLogger
from trans3dhead_ros.ros.tracker_parameters import (
    TrackerParameters,
    camera_parameters,
    read_tracker_parameters,
)

_PUBLISHER_POLL = 0.2  # s
_WARNING_PERIOD = 30.0  # s


class CameraStream:
    """
    Subscriptions and counters of one camera.

    :param node: the node that subscribes.
    :param name: name of the camera; empty where there is only one.
    :param submit: takes an image and the camera's name, and returns whether the image has replaced
        a waiting one.
    :param on_timeout: called once when no image has been received for `no_image_warning` seconds.
    """

    def __init__(
        self, node: LifecycleNode, name: str, submit: Callable[[IncomingImage, str], bool],
        on_timeout: Callable[[CameraTracker], None],
    ) -> None:
        self.name = name
        self.prefix = f'{name}/' if name else ''
        self.tracker: CameraTracker | None = None
        """Gets the calibration; None until the node is configured."""
        self.statistics = Statistics()
        self._node = node
        self._submit = submit
        self._on_timeout = on_timeout
        self._timed_out_after: float | None = None
        self._input = ImageInput(
            node, self.prefix, self._parameters().image_transport, self._receive_image)
        self._camera_info: Subscription | None = None
        self._camera_info_topic = resolved_camera_info_topic(node, self.prefix, self.topic)
        self._subscribed_since: float | None = None
        self._renew_after = 0.0
        self._rejected = self._failures = 0
        # Steady, because simulated time may stand still.
        self._clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._poll: Timer | None = None
        self._throttled_log = ThrottledLogger(node.get_logger(), name)
        self._headers = HeaderCheck(self._throttled_log, node.get_clock())

    @property
    def topic(self) -> str:
        """Resolved name of the image topic."""
        return self._input.topic

    def subscribe(self) -> None:
        """Create the subscriptions."""
        self._subscribed_since = time.monotonic()
        self._renew_after = 0.0
        self.statistics.reset_pending()
        self._headers.restart()
        # Best effort matches every publisher, and these messages are small.
        self._camera_info = self._node.create_subscription(
            CameraInfo, self._camera_info_topic, self._receive_camera_info,
            QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
        self._update()
        self._poll = self._node.create_timer(_PUBLISHER_POLL, self._update, clock=self._clock)

    def unsubscribe(self) -> None:
        """Destroy the subscriptions."""
        self._subscribed_since = None
        self._input.destroy()
        if self._poll is not None:
            self._node.destroy_timer(self._poll)
        if self._camera_info is not None:
            self._node.destroy_subscription(self._camera_info)
        self._poll = self._camera_info = None

    def status(self, state: str, common: dict[str, str], enabled: bool) -> DiagnosticStatus:
        """
        Report the status of the camera.

        :param state: the message when nothing is wrong.
        :param common: values that all cameras share.
        :param enabled: whether images are expected, so that their absence is worth a warning.
        :return: the status for /diagnostics.
        """
        now = time.monotonic()
        problems: list[tuple[bytes, str]] = []
        values = self.statistics.values(now)
        values['implausible stamps'] = str(self._headers.implausible)
        values |= self._input.report() | common
        if self.tracker is not None:
            values['calibration'] = self.tracker.calibration.state
        values['camera_info topic'] = self._camera_info_topic
        if enabled and self._subscribed_since is not None:
            last = self.statistics.last_received()
            time_since_image = now - max(last or 0.0, self._subscribed_since)
            pending = now - (self.statistics.pending_since() or now)
            limit = self._parameters().no_image_warning
            if self._input.has_new_publisher():
                # A camera that has come back is not waited for as long as it was away.
                self._renew_after = min(self._renew_after, time_since_image + limit)
            if 0.0 < limit < time_since_image:
                summary = f'no image for {time_since_image:.0f} s {self._input.no_image_reason()}'
                # Ever less often: a camera may be silent for days.
                if time_since_image > self._renew_after and self._input.renew():
                    self._renew_after = 2.0 * time_since_image
                problems.append((DiagnosticStatus.WARN, summary))
                self._throttled_log.warn('no image', summary, _WARNING_PERIOD)
                # Only once per outage.
                if last != self._timed_out_after and self.tracker is not None:
                    self._on_timeout(self.tracker)
                    self._timed_out_after = last
            elif 0.0 < limit < pending:
                summary = f'images have been waiting for {pending:.0f} s'
                problems.append((DiagnosticStatus.ERROR, summary))
                self._throttled_log.warn('images pending', summary, _WARNING_PERIOD)
        else:
            self.statistics.reset_pending()
        headers = self._headers.problems()
        if enabled:
            problems += [(DiagnosticStatus.WARN, text) for text in headers]
        problems += self._new_failures()
        node_name = self._node.get_fully_qualified_name().lstrip('/')
        return diagnostic_status(
            f'{node_name}: {self.name or "tracking"}', common.get('device', ''),
            max((level for level, _ in problems), default=DiagnosticStatus.OK),
            '; '.join(text for _, text in problems) or state, values)

    def _new_failures(self) -> list[tuple[bytes, str]]:
        """Return level and text about the messages that have failed since the last call."""
        found = []
        rejected, failures = self.statistics.bad(), self.statistics.failures()
        if rejected > self._rejected:
            found.append((DiagnosticStatus.WARN, f'{rejected - self._rejected} bad messages'))
        if failures > self._failures:
            found.append((DiagnosticStatus.ERROR,
                          f'{failures - self._failures} images failed, see the log'))
        self._rejected, self._failures = rejected, failures
        return found

    def _receive_image(self, message: Image | CompressedImage) -> None:
        self.statistics.received(time.monotonic())
        self._renew_after = 0.0
        self._headers.check(message.header)
        if self._submit(IncomingImage(self.name, message), self.name):
            self.statistics.replaced()

    def _receive_camera_info(self, message: CameraInfo) -> None:
        if self.tracker is not None:
            self.tracker.calibration.message = message

    def _update(self) -> None:
        self._input.update(self._parameters().image_reliability)

    def _parameters(self) -> TrackerParameters:
        return camera_parameters(self._node, read_tracker_parameters(self._node), self.name)
