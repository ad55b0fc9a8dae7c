"""Defer SIGINT and SIGTERM until the training step ends."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType

_SAME_SIGNAL_S = 1.0


class StopSignals:
    """
    Context manager that records SIGINT and SIGTERM instead of ending the process.

    A second signal, a moment later, raises `KeyboardInterrupt` at once. Outside the main thread,
    where Python cannot handle signals, this does nothing.
    """

    received: int
    """Number of the signal that arrived; 0 before any."""

    def __init__(self) -> None:
        self.received = 0
        self._received_at = 0.0
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        # `torchrun` forwards to its processes what the terminal has already sent to all of them.
        if self.received and time.monotonic() - self._received_at > _SAME_SIGNAL_S:
            raise KeyboardInterrupt
        if not self.received:
            self.received, self._received_at = number, time.monotonic()
