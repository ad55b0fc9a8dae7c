"""When a launch file starts the tracker again; needs no ROS."""

from __future__ import annotations

import time

# Exit codes of head_tracker: a requested shutdown; a mistake of the user, which a restart repeats.
_ENDED, _USER_ERROR = 0, 2
_WINDOW = 300.0  # s


class RestartPolicy:
    """
    Restarts after crashes, up to a limit.

    :param limit: crashes within five minutes after which the process is started again.
    :ivar restarts: how often it was started again.
    """

    def __init__(self, limit: int) -> None:
        self.restarts = 0
        self._limit = limit
        self._crashes: list[float] = []

    def after_exit(self, code: int) -> str:
        """
        Decide what follows the end of the process.

        :param code: its exit code; negative for a signal.
        :return: one line that says why it is restarted; empty after a requested shutdown.
        :raises RuntimeError: when it has failed and is not started again.
        """
        if code == _ENDED:
            return ''
        if code == _USER_ERROR:
            raise RuntimeError('head_tracker could not start; its error is above')
        now = time.monotonic()
        self._crashes = [then for then in self._crashes if now - then < _WINDOW] + [now]
        crashed, crashes = f'head_tracker has crashed (exit code {code})', len(self._crashes)
        if not self._limit:
            raise RuntimeError(crashed)
        if crashes > self._limit:
            raise RuntimeError(f'{crashed} more often than respawn_limit, {self._limit} times '
                               'within five minutes')
        self.restarts += 1
        return f'{crashed} and is started again: {crashes} of {self._limit} within five minutes'
