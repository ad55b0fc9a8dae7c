"""
The process `head_tracker`, which shuts down cleanly even during start-up.

It is the entry point; the lifecycle node itself is in `head_tracker_node.py`.

Importing ROS and the engine takes a while. A signal during that time would cause a traceback in
some module, and `ros2 launch` would report a crash after an early Ctrl-C.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the node as a process.

    :param arguments: `--ros-args …`; None takes those of the process.
    :return: exit code; 2 for a user's mistake.
    """
    set_environment()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _exit)
    from trans3dhead_ros.ros.node.head_tracker_node import main as run_node

    try:
        return run_node(arguments)
    finally:
        # Nothing is left to be done. Without this, freeing all objects one by one takes a second,
        # during which a signal would look like a crash.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        gc.freeze()


def set_environment() -> None:
    """
    Set what libraries read at the start, where the user has not; starts the process again for it.

    By default glibc uses up to eight heaps ("arenas") per core and keeps freed memory in each.
    Every life cycle has a new worker thread, every load_model a new loader thread, and each would
    leave the memory of a model in another arena: 900 MB instead of 540 MB after 20 life cycles.

    The threads of OpenBLAS and OpenMP wait actively: they would take the cores of a busy robot.
    """
    defaults = {'MALLOC_ARENA_MAX': '2', 'OPENBLAS_NUM_THREADS': '1', 'OMP_WAIT_POLICY': 'PASSIVE'}
    missing = {name: value for name, value in defaults.items() if name not in os.environ}
    if missing:
        os.environ.update(missing)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _exit(number: int, frame: FrameType | None) -> None:
    """Exit immediately: the node does not exist yet."""
    os._exit(0)


if __name__ == '__main__':
    raise SystemExit(main())
