"""Ctrl-C and a polite kill, heard between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class StopSignals:
    """
    Within its `with`, notes SIGINT and SIGTERM instead of ending the process.

    The second one ends it at once. Python takes signals in its main thread alone; elsewhere this
    does nothing.

    :ivar received: number of the signal, 0 before any.
    """

    def __init__(self) -> None:
        self.received = 0
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
        if self.received:
            raise KeyboardInterrupt
        self.received = number
