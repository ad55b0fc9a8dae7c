"""Ctrl-C and a polite kill, heard between two steps."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType

_MOMENT_S = 1.0


class StopSignals:
    """
    Within its `with`, notes SIGINT and SIGTERM instead of ending the process.

    Another one a moment later ends it at once. Python takes signals in its main thread alone;
    elsewhere this does nothing.

    :ivar received: number of the signal, 0 before any.
    """

    def __init__(self) -> None:
        self.received = 0
        self._since = 0.0
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        # `torchrun` passes on what a terminal has sent to all its processes already.
        if self.received and time.monotonic() - self._since > _MOMENT_S:
            raise KeyboardInterrupt
        if not self.received:
            self.received, self._since = number, time.monotonic()
