"""
End a process whose executor is stuck, even if no Python code can run.

Fast DDS 3.2 can get into an endless loop while a message is taken, with the GIL held: no signal
handler and no other thread can run. The timer of `faulthandler` is a C thread, which does not need
the GIL.
"""

from __future__ import annotations

import faulthandler
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

_PERIOD = 1.0  # s


class Watchdog:
    """
    Ends the process with code 1 and the traceback of every thread when the executor is stuck.

    There is one for a whole process, because `faulthandler` has one timer.

    :param node: a timer of this node turns with the executor.
    :param seconds: returns the time for which the executor may stand still; 0: for ever.
    """

    def __init__(self, node: Node, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._running = False
        self._paused = 0
        # Steady, because simulated time may stand still.
        self._timer = node.create_timer(
            _PERIOD, self._arm, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def start(self) -> None:
        """Watch from now on; to be called while the executor is spinning."""
        self._running = True
        self._arm()

    def stop(self) -> None:
        """Watch no longer."""
        self._running = False
        faulthandler.cancel_dump_traceback_later()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not watch meanwhile: what is done here may take its time in the executor's thread."""
        self._paused += 1
        if self._running:
            faulthandler.cancel_dump_traceback_later()
        try:
            yield
        finally:
            self._paused -= 1
            self._arm()

    def _arm(self) -> None:
        """Start the time again."""
        if not self._running or self._paused:
            return
        seconds = self._seconds()
        if seconds > 0.0:
            # At least two ticks of the timer, which the machine may delay.
            faulthandler.dump_traceback_later(max(seconds, 2.0 * _PERIOD), exit=True)
        else:
            faulthandler.cancel_dump_traceback_later()
