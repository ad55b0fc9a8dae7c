"""One thread that answers the newest frames and does nothing else at the same time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

Frame = TypeVar('Frame')


class NewestFrameWorker(Generic[Frame]):
    """
    A thread with a mailbox a source, each for a single frame: a newer one replaces a waiting one.

    The frames that wait together are handled together, one of every source that has one. So a fast
    source cannot keep a slow one waiting, and their work can be shared.

    Whatever the handler uses (model, trackers) belongs to this thread, so it needs no locks. Work
    on it from outside goes through `call`, which runs between frames.

    :param handle: called with the frames that wait, in the thread of the worker.
    :param failed: called there with an exception that `handle` let through, and the frames that it
        had; the next frame goes on.
    """

    def __init__(
        self, handle: Callable[..., None], failed: Callable[..., None],
        name: str = 'head tracker',
    ) -> None:
        self._handle = handle
        self._failed = failed
        self._condition = threading.Condition()
        self._frames: dict[str, Frame] = {}
        self._calls: deque[tuple[Callable[[], Any], Future]] = deque()
        self._stopping = False
        self._replaced = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def replaced(self) -> int:
        """How many frames a newer one has replaced before they were looked at."""
        return self._replaced

    def submit(self, frame: Frame, source: str = '') -> bool:
        """Leave a frame and return at once: True when it has replaced a waiting one."""
        with self._condition:
            replaces = source in self._frames
            self._replaced += replaces
            self._frames[source] = frame
            self._condition.notify()
        return replaces

    def discard(self) -> None:
        """Forget the frames that still wait."""
        with self._condition:
            self._frames.clear()

    def call(self, function: Callable[[], Any]) -> Future:
        """Run a function between two frames; its result or exception comes in the future."""
        future: Future = Future()
        with self._condition:
            if self._stopping:
                future.cancel()
            else:
                self._calls.append((function, future))
                self._condition.notify()
        return future

    def stop(self, timeout: float = 10.0) -> bool:
        """
        ShutdownRequest the frames at hand, cancel what waits, end the thread.

        :param timeout: seconds to wait.
        :return: False when the thread was still busy then.
        """
        with self._condition:
            self._stopping = True
            self._frames.clear()
            while self._calls:
                self._calls.popleft()[1].cancel()
            self._condition.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(
                    lambda: self._stopping or self._calls or self._frames)
                if self._stopping:
                    return
                call = self._calls.popleft() if self._calls else None
                frames: list[Frame] = []
                if call is None:
                    frames = list(self._frames.values())
                    self._frames.clear()
            if call is not None:
                _fulfil(*call)
            else:
                try:
                    self._handle(*frames)
                except Exception as error:
                    self._failed(error, *frames)
            # A waiting thread must not keep the last images in memory.
            call, frames = None, []


def _fulfil(function: Callable[[], Any], future: Future) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except Exception as error:
        future.set_exception(error)
