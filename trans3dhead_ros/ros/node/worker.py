"""A thread that processes the newest frame of each source, one batch at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

Frame = TypeVar('Frame')


class NewestFrameWorker(Generic[Frame]):
    """
    A thread with a one-frame mailbox per source: a newer frame replaces a waiting one.

    Frames that wait at the same time are processed together, one of every source that has one, so
    that a fast source cannot starve a slow one and their work can be batched.

    Whatever the handler uses (model, trackers) belongs to this thread and needs no locks. Other
    threads reach it through `call`, which runs a function between frames.

    :param handle: called in the worker's thread with the waiting frames.
    :param on_error: called there with an exception of `handle` and the frames it had; the worker
        then continues with the next frames.
    :param name: name of the thread.

    Example::

        worker = NewestFrameWorker(lambda frames: print(frames), lambda error, frames: None)
        worker.submit('image 1', source='front')
        worker.call(lambda: print('between frames')).result()
        worker.stop()
    """

    def __init__(
        self, handle: Callable[[list[Frame]], None],
        on_error: Callable[[Exception, list[Frame]], None], name: str = 'head tracker',
    ) -> None:
        self._handle = handle
        self._on_error = on_error
        self._condition = threading.Condition()
        self._frames: dict[str, Frame] = {}
        self._calls: deque[tuple[Callable[[], Any], Future]] = deque()
        self._stopping = False
        self._replaced = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def replaced(self) -> int:
        """Number of waiting frames that a newer one has replaced."""
        return self._replaced

    def submit(self, frame: Frame, source: str = '') -> bool:
        """
        Leave a frame for the worker and return at once.

        :param frame: what `handle` gets.
        :param source: the mailbox to leave it in.
        :return: whether the frame has replaced a waiting one.
        """
        with self._condition:
            replaces = source in self._frames
            self._replaced += replaces
            self._frames[source] = frame
            self._condition.notify()
        return replaces

    def discard(self) -> None:
        """Drop the waiting frames."""
        with self._condition:
            self._frames.clear()

    def call(self, function: Callable[[], Any]) -> Future:
        """Run a function between two frames and return the future of its result."""
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
        Finish the frames in progress, cancel waiting calls and end the thread.

        :param timeout: seconds to wait for it.
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
                _run_call(*call)
            else:
                try:
                    self._handle(frames)
                except Exception as error:
                    self._on_error(error, frames)
            # Do not keep the last images in memory while waiting.
            call, frames = None, []


def _run_call(function: Callable[[], Any], future: Future) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except Exception as error:
        future.set_exception(error)
