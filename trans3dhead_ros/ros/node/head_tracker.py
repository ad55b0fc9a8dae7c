"""
The process `head_tracker`: the node, and an orderly end also while it is still being loaded.

Loading PyTorch and ROS takes seconds. A signal meanwhile would end in a traceback out of the middle
of somebody's module, and `ros2 launch` would report a crash for every early Ctrl-C.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Sequence
from types import FrameType


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the node as a process.

    :param arguments: `--ros-args …`; None takes the process's own.
    :return: exit code; 2 for a user's mistake.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    from trans3dhead_ros.ros.node.heap import limit_pools
    limit_pools()
    from trans3dhead_ros.ros.node.head_tracker_node import main as run_node

    try:
        return run_node(arguments)
    finally:
        # Nothing is left to be done in order: what is in memory goes with the process, and not
        # object by object for a second, during which a signal would look like a crash.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        gc.freeze()


def _leave(number: int, frame: FrameType | None) -> None:
    """End at once: nothing has begun, or all has ended."""
    os._exit(0)


if __name__ == '__main__':
    raise SystemExit(main())
