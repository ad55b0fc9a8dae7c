"""Warnings that are logged once or periodically, however often their cause occurs."""

from __future__ import annotations

import time
from typing import Any

PERIOD = 5.0
"""Default period of repeated warnings, seconds."""
ONCE = float('inf')
"""Period of warnings that are not repeated."""
# Texts may quote received messages, so their length and number are bounded.
_MAX_LENGTH = 300
_MAX_KEYS = 64


class ThrottledLogger:
    """
    Logger of the warnings of one camera.

    :param logger: logger of the node.
    :param name: name of the camera, prepended to each text; empty where there is only one.

    Example::

        log = ThrottledLogger(node.get_logger(), 'front')
        log.warn('encoding', 'encoding: 32FC1 is not supported')  # at most once in five seconds
    """

    def __init__(self, logger: Any, name: str = '') -> None:
        self._logger = logger
        self._prefix = f'{name}: ' if name else ''
        self._last: dict[str, float] = {}

    def warn(self, key: str, text: str, period: float = PERIOD) -> None:
        """
        Log a warning, unless one with the same key was logged less than `period` seconds ago.

        :param key: identifies the cause, such as the name of a field.
        :param text: the warning.
        :param period: minimum time between two warnings, seconds.
        """
        now, key = time.monotonic(), key[:_MAX_LENGTH]
        last = self._last.get(key)
        if last is not None and now - last < period:
            return
        self._last.pop(key, None)
        self._last[key] = now
        if len(self._last) > _MAX_KEYS:
            del self._last[next(iter(self._last))]
        self._logger.warning(self._prefix + text[:_MAX_LENGTH])
