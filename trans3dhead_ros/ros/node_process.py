"""Runs a node as a process: ROS arguments, signals, an orderly end and the exit code."""

from __future__ import annotations

import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

USER_MISTAKE = 2
# Callbacks that fail so often in so many seconds, and the process ends.
_MOST_FAILURES, _FAILURE_SECONDS = 20, 10.0


class ShutdownRequest:
    """Ends the process from any thread, also from a signal handler."""

    def __init__(self) -> None:
        # Its put may interrupt its get, which an Event's set and wait may not.
        self._codes: SimpleQueue[int] = SimpleQueue()

    def __call__(self, code: int = 0) -> None:
        """Ask for the end with this exit code; the first one counts."""
        self._codes.put(code)

    def wait(self) -> int:
        """Wait until somebody asks, and return the exit code."""
        return self._codes.get()


def spin_node(
    make: Callable[[ShutdownRequest], Node], arguments: Sequence[str] | None, *,
    begin: Callable[[Any], None] | None = None, end: Callable[[Any], None] | None = None,
    patient: bool = False,
) -> int:
    """
    Make a node, serve it until SIGINT, SIGTERM or its own `ShutdownRequest`, and return the exit code.

    Signals do not shut the context down as rclpy's own handlers do: the node still can say goodbye.
    The executor is the plain one on purpose: rclpy 9.1's EventsExecutor went on spinning at full
    load after its shutdown, so that no signal could end the process.

    :param make: may raise `ValueError` for what the user got wrong: one line and exit code 2.
    :param arguments: of the command line, without the program; None takes the process's own.
    :param begin: called with the node when it is served; may raise `ValueError` as well.
    :param end: called with the node when it is no longer served, before it is destroyed.
    :param patient: whether the process goes on after a callback that has failed.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:
        return _complain(error)
    finish = ShutdownRequest()
    previous = {number: signal.signal(number, lambda *_: finish(0))
                for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return _serve(make, finish, begin, end, patient)
    finally:
        rclpy.try_shutdown()
        for number, handler in previous.items():
            signal.signal(number, handler)


def refuse_arguments(arguments: Sequence[str] | None, usage: str) -> int | None:
    """
    Return the exit code where other than ROS arguments were given, else None.

    :param usage: printed for --help.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        rest = remove_ros_args(given)
    except Exception as error:
        # rclpy has no common class for what can be wrong with ROS arguments.
        return _complain(error)
    if not rest:
        return None
    if set(rest) <= {'-h', '--help'}:
        print(usage)
        return 0
    return _complain(f'unknown argument {rest[0]!r}; ROS arguments go behind --ros-args')


def _serve(
    make: Callable[[ShutdownRequest], Node], finish: ShutdownRequest, begin: Callable[[Any], None] | None,
    end: Callable[[Any], None] | None, patient: bool,
) -> int:
    try:
        node = make(finish)
    except (ValueError, rclpy_implementation.RCLError) as error:
        # The latter where the middleware refuses, as when keys or plugins of SROS 2 are missing.
        return _complain(error)
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    stopping = threading.Event()

    def spin() -> None:
        failures: deque[float] = deque(maxlen=_MOST_FAILURES)
        while True:
            try:
                executor.spin()
                return
            except ExternalShutdownException:
                finish(0)
                return
            except Exception:
                if stopping.is_set():
                    # It has stumbled over what was being taken away.
                    return
                # Some requests make rclpy itself raise: whoever sends one must not end the node.
                node.get_logger().error(f'a callback failed\n{traceback.format_exc()}')
                failures.append(time.monotonic())
                often = len(failures) == _MOST_FAILURES \
                    and failures[-1] - failures[0] < _FAILURE_SECONDS
                # What fails before its callback begins keeps the group of it taken: nothing in
                # there would run again.
                stuck = not all(each.callback_group.can_execute(each) for each in node.services)
                if often or stuck or not patient:
                    finish(1)
                    return

    thread = threading.Thread(target=spin, name='executor', daemon=True)
    thread.start()
    try:
        if begin is not None:
            begin(node)
        return finish.wait()
    except ValueError as error:
        return _complain(error)
    finally:
        stopping.set()
        # It must not wait for what is at hand: Humble's would wait for ever, for a call that only
        # the stopped executor could finish.
        executor.shutdown(timeout_sec=0.0)
        thread.join(timeout=10.0)
        if end is not None:
            end(node)
        node.destroy_node()


def _complain(error: Exception | str) -> int:
    """Print one line on stderr and return the exit code of a user's mistake."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    print(f'error: {lines[0] if lines else type(error).__name__}', file=sys.stderr)
    return USER_MISTAKE
