"""Warnings that say a thing once, or now and then, however often it happens."""

from __future__ import annotations

import time
from typing import Any

#: Seconds between warnings about the same thing.
PERIOD = 5.0
ONCE = float('inf')
_LONGEST = 300
# Senders may choose the words, so both the lines and their number are bounded.
_MOST_TOPICS = 64


class ThrottledLogger:
    """
    Warnings of one camera.

    :param logger: of the node.
    :param name: of the camera, put in front; empty where there is only one.
    """

    def __init__(self, logger: Any, name: str = '') -> None:
        self._logger = logger
        self._front = f'{name}: ' if name else ''
        self._said: dict[str, float] = {}

    def warn(self, about: str, text: str, period: float = PERIOD) -> None:
        """
        Warn, unless that was said less than `period` seconds ago.

        :param about: what counts as the same thing.
        """
        now, about = time.monotonic(), about[:_LONGEST]
        last = self._said.get(about)
        if last is not None and now - last < period:
            return
        self._said.pop(about, None)
        self._said[about] = now
        if len(self._said) > _MOST_TOPICS:
            del self._said[next(iter(self._said))]
        self._logger.warning(self._front + text[:_LONGEST])
