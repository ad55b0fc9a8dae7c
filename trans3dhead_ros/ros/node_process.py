"""Run a node as a process: ROS arguments, signals, orderly shutdown and exit code."""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from trans3dhead_ros.errors import UserError

USER_ERROR = 2
"""Exit code of a user's mistake."""
# A node that keeps running on errors still ends after so many failures in so many seconds.
_MAX_FAILURES, _FAILURE_SECONDS = 20, 10.0
_SIGNAL_PERIOD = 0.5  # s


class ShutdownRequest:
    """
    Ends the process from any thread, signal handlers included.

    Example::

        class Once(Node):
            def __init__(self, request_shutdown: ShutdownRequest) -> None:
                super().__init__('once')
                self.create_timer(1.0, lambda: request_shutdown(0))

        sys.exit(spin_node(Once, None))
    """

    def __init__(self) -> None:
        # Reentrant, unlike an Event: a signal handler may put while the main thread gets.
        self._codes: SimpleQueue[int] = SimpleQueue()

    def __call__(self, code: int = 0) -> None:
        """Request the end with this exit code; the first request counts."""
        self._codes.put(code)

    def wait(self) -> int:
        """Wait for a request and return its exit code."""
        while True:
            # A signal may reach another thread, which does not wake this one to handle it.
            try:
                return self._codes.get(timeout=_SIGNAL_PERIOD)
            except Empty:
                continue


def spin_node(
    make: Callable[[ShutdownRequest], Node], arguments: Sequence[str] | None, usage: str = '', *,
    on_start: Callable[[Any], None] | None = None, on_stop: Callable[[Any], None] | None = None,
    keep_running: bool = False,
) -> int:
    """
    Run a node until SIGINT, SIGTERM or its `ShutdownRequest`; refuse arguments that are not of ROS.

    Unlike with rclpy's own handlers, signals leave the context valid, so that the node can still
    publish while it shuts down. The executor is the plain one on purpose: rclpy 9.1's
    EventsExecutor kept spinning at full load after its shutdown, so that no signal could end the
    process.

    :param make: creates the node; a `UserError` is printed as one line, with exit code 2.
    :param arguments: command line without the program; None takes that of the process.
    :param usage: printed for --help.
    :param on_start: called with the node once it is spinning; may raise `UserError` as well.
    :param on_stop: called with the node when it is no longer spinning, before it is destroyed.
    :param keep_running: whether the process continues after a failed callback.
    :return: exit code; 2 for a user's mistake.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    refused = _refuse_arguments(arguments, usage)
    if refused is not None:
        return refused
    try:
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:
        return _report(error)
    request_shutdown = ShutdownRequest()
    previous = {number: signal.signal(number, lambda *_: request_shutdown(0))
                for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return _run(make, request_shutdown, on_start, on_stop, keep_running)
    finally:
        rclpy.try_shutdown()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _refuse_arguments(arguments: Sequence[str], usage: str) -> int | None:
    """Print `usage` or refuse; return the exit code, or None where all arguments are of ROS."""
    try:
        rest = remove_ros_args(arguments)
    except Exception as error:
        # rclpy has no common class for errors in ROS arguments.
        return _report(error)
    if not rest:
        return None
    if set(rest) <= {'-h', '--help'}:
        print(usage)
        return 0
    return _report(f'unknown argument {rest[0]!r}; ROS arguments follow --ros-args')


def _run(
    make: Callable[[ShutdownRequest], Node], request_shutdown: ShutdownRequest,
    on_start: Callable[[Any], None] | None, on_stop: Callable[[Any], None] | None,
    keep_running: bool,
) -> int:
    try:
        node = make(request_shutdown)
    except (UserError, rclpy_implementation.RCLError) as error:
        # RCLError: the middleware refuses, for example when keys or plugins of SROS 2 are missing.
        return _report(error)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    stopping = threading.Event()

    def spin() -> None:
        failures: deque[float] = deque(maxlen=_MAX_FAILURES)
        while True:
            try:
                executor.spin()
                return
            except ExternalShutdownException:
                request_shutdown(0)
                return
            except Exception:
                if stopping.is_set():
                    # The node is being destroyed under the executor.
                    return
                # Some requests make rclpy itself raise: a client must not be able to end the node.
                node.get_logger().error(f'a callback failed\n{traceback.format_exc()}')
                failures.append(time.monotonic())
                too_many = len(failures) == _MAX_FAILURES \
                    and failures[-1] - failures[0] < _FAILURE_SECONDS
                # A failure before the callback starts leaves its group locked: nothing in that
                # group would run again.
                stuck = not all(each.callback_group.can_execute(each) for each in node.services)
                if too_many or stuck or not keep_running:
                    request_shutdown(1)
                    return

    thread = threading.Thread(target=spin, name='executor', daemon=True)
    thread.start()
    try:
        if on_start is not None:
            on_start(node)
        return request_shutdown.wait()
    except UserError as error:
        return _report(error)
    finally:
        stopping.set()
        # From here on no timer of the executor sets a watchdog back.
        faulthandler.cancel_dump_traceback_later()
        # Do not wait for running callbacks: Humble's executor would wait forever for a call that
        # only itself could complete.
        executor.shutdown(timeout_sec=0.0)
        thread.join(timeout=10.0)
        if on_stop is not None:
            on_stop(node)
        node.destroy_node()


def _report(error: Exception | str) -> int:
    """Print one line to stderr and return the exit code of a user's mistake."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    print(f'error: {lines[0] if lines else type(error).__name__}', file=sys.stderr)
    return USER_ERROR
