"""Headers of images as drivers fill them in: frames that TF refuses, implausible stamps."""

from __future__ import annotations

from collections import Counter

from rclpy.clock import Clock
from std_msgs.msg import Header

from trans3dhead_ros.ros.stamps import stamp_nanoseconds
from trans3dhead_ros.ros.throttled_logger import ONCE, ThrottledLogger

# Clocks of hosts with NTP differ less, and so does a simulated clock from its own sensors.
_FUTURE_TOLERANCE = 200_000_000  # ns
_WARNING_PERIOD = 30.0  # s

ZERO, EQUAL = 'a stamp of zero', 'the stamp of the image before'
BACKWARD, FUTURE = 'a stamp before that of the image before', 'a stamp from the future'
_REMEDIES = {
    ZERO: 'the driver must stamp its images, or TF and the smoothing have no time',
    EQUAL: 'the driver must stamp each image, or the smoothing has no time',
    BACKWARD: 'the smoothing starts again; two publishers on the topic, a clock that was set back, '
              'or a bag in a loop',
    FUTURE: 'synchronise the clocks of camera and host, or set use_sim_time as the publisher does',
}


def strip_leading_slash(header: Header) -> str:
    """
    Remove the slashes at the start of frame_id, with which tf2 refuses every transform.

    :param header: changed in place.
    :return: what was wrong, in one line; empty where nothing was.
    """
    frame = header.frame_id
    if not frame.startswith('/'):
        return ''
    header.frame_id = frame.lstrip('/')
    return (f'frame_id: {frame!r} begins with a slash, which tf2 refuses; '
            f'{header.frame_id!r} is used')


class HeaderCheck:
    """
    Check of the headers of one camera's images, in the executor's thread.

    :param log: gets a warning for each kind of problem.
    :param clock: of the node; stamps are compared with it.
    """

    def __init__(self, log: ThrottledLogger, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._last: int | None = None
        self._stamps: Counter[str] = Counter()
        self._frame = ''
        self.implausible = 0
        """Number of images with an implausible stamp so far."""

    def check(self, header: Header) -> None:
        """
        Check the header of the next image.

        :param header: changed in place where frame_id begins with a slash.
        """
        frame = strip_leading_slash(header)
        if frame:
            self._frame = frame
            self._log.warn('frame_id', frame, ONCE)
        if header.stamp.sec < 0:
            # Such an image is rejected.
            return
        stamp = stamp_nanoseconds(header.stamp)
        kind, detail = self._implausible(stamp)
        self._last = stamp
        if kind:
            self.implausible += 1
            self._stamps[kind] += 1
            self._log.warn(kind, f'an image has {kind}{detail}: {_REMEDIES[kind]}', _WARNING_PERIOD)

    def problems(self) -> list[str]:
        """Return what was wrong with the images since the last call, one text per kind."""
        found = [self._frame] if self._frame else []
        found += [f'{count} {"image has" if count == 1 else "images have"} {kind}'
                  for kind, count in self._stamps.items()]
        self._frame = ''
        self._stamps.clear()
        return found

    def restart(self) -> None:
        """Compare the next stamp with none before it."""
        self._last = None

    def _implausible(self, stamp: int) -> tuple[str, str]:
        """Return what is wrong with a stamp (ns) and by how much; empty texts for nothing."""
        if stamp == 0:
            return ZERO, ''
        if self._last is not None and stamp <= self._last:
            if stamp == self._last:
                return EQUAL, ''
            return BACKWARD, f', by {(self._last - stamp) / 1e9:.3f} s'
        now = self._clock.now().nanoseconds
        # Simulated time is zero until the first message on /clock.
        if 0 < now < stamp - _FUTURE_TOLERANCE:
            return FUTURE, f', by {(stamp - now) / 1e9:.3f} s'
        return '', ''
