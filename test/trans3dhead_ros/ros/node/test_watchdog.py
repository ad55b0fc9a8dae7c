"""A process whose executor is stuck ends, even if no Python code can run."""

import subprocess
import sys
import time

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

pytestmark = pytest.mark.ros

CHILD = """
import contextlib, ctypes, sys, time
import rclpy
from rclpy.node import Node
from trans3dhead_ros.ros.node.watchdog import Watchdog

case = sys.argv[1]
rclpy.init()
node = Node('watched')
watchdog = Watchdog(node, lambda: 0.0 if case == 'off' else 2.0)

def stall():
    # Through PyDLL the lock of the interpreter is held meanwhile, as in the loop of Fast DDS.
    with watchdog.paused() if case == 'paused' else contextlib.nullcontext():
        ctypes.PyDLL(None).sleep(30 if case == 'stalled' else 4)
    print('went on', flush=True)
    if case == 'stopped':
        watchdog.stop()
        time.sleep(4.0)
    sys.exit(7)

if case != 'stopped':
    node.create_timer(0.1, stall)
    watchdog.start()
else:
    # It turns meanwhile, as the executor of a healthy node does.
    watchdog.start()
    deadline = time.monotonic() + 3.0
    while time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.1)
    watchdog.stop()
    stall()
rclpy.spin(node)
"""

NODE = """
import ctypes
import rclpy
from trans3dhead_ros.ros.node.head_tracker_node import HeadTracker
from trans3dhead_ros.ros.node_process import spin_node

def start(node):
    node.start()
    node.create_timer(0.1, lambda: ctypes.PyDLL(None).sleep(60))

spin_node(lambda _: HeadTracker(), ['--ros-args', '-p', 'watchdog_timeout:=2.0'], on_start=start)
"""


def test_the_node_is_watched_from_its_start():
    done = subprocess.run([sys.executable, '-c', NODE], capture_output=True, text=True, timeout=58)
    assert done.returncode == 1 and 'Timeout (0:00:02)!' in done.stderr


def test_only_a_stuck_executor_ends_the_process():
    children = {case: subprocess.Popen(
        [sys.executable, '-c', CHILD, case], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True) for case in ('stalled', 'paused', 'off', 'stopped')}
    begin = time.monotonic()
    output = {case: child.communicate(timeout=60) for case, child in children.items()}
    assert time.monotonic() - begin < 29.0
    assert children['stalled'].returncode == 1 and 'went on' not in output['stalled'][0]
    # What it stood in is in the log.
    assert 'Timeout (0:00:02)!' in output['stalled'][1] and 'in stall' in output['stalled'][1]
    for case in ('paused', 'off', 'stopped'):
        assert (children[case].returncode, output[case][0]) == (7, 'went on\n'), output[case][1]
