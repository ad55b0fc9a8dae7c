"""A process ends on a signal, whichever of its threads receives it."""

import subprocess
import sys

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
pytestmark = pytest.mark.ros

SCRIPT = """
import signal, threading, time
from trans3dhead_ros.ros.node_process import ShutdownRequest

request = ShutdownRequest()
signal.signal(signal.SIGINT, lambda *_: request(7))

def interrupt_itself():
    time.sleep(0.2)  # by then the main thread waits
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    time.sleep(60.0)

threading.Thread(target=interrupt_itself, daemon=True).start()
raise SystemExit(request.wait())
"""


def test_a_signal_to_another_thread_ends_the_wait():
    assert subprocess.run([sys.executable, '-c', SCRIPT], timeout=50).returncode == 7
