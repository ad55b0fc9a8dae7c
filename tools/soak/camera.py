"""A camera in a process of its own, which can be killed: `python -m tools.soak.camera …`."""

from __future__ import annotations

import argparse
import functools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rclpy
from rclpy.signals import SignalHandlerOptions
from ros_graph import BEST_EFFORT, FRAME, RELIABLE
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from trans3dhead_ros.ros.messages import bgr_image

ROOT = Path(__file__).resolve().parents[2]
# Small, so that nothing is lost with best effort.
SIZE = (320, 240)
_QOS = {'reliable': RELIABLE, 'best_effort': BEST_EFFORT}


class CameraProcess:
    """A process that publishes a rendered head until it is killed; stamps are the time of day."""

    def __init__(
        self, topic: str, reliability: str = 'reliable', rate: float = 10.0,
        size: tuple[int, int] = SIZE,
    ) -> None:
        path = os.pathsep.join((str(ROOT), str(ROOT / 'test' / 'helpers'),
                                os.environ.get('PYTHONPATH', '')))
        self._popen = subprocess.Popen(
            [sys.executable, '-m', 'tools.soak.camera', str(_pictures_file(size)), topic,
             reliability, str(rate)], env={**os.environ, 'PYTHONPATH': path})

    def running(self) -> bool:
        return self._popen.poll() is None

    def kill(self) -> None:
        """End the process as a crash would, without any shutdown."""
        self._popen.kill()
        self._popen.wait()

    def __enter__(self) -> CameraProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


@functools.cache
def _pictures_file(size: tuple[int, int]) -> Path:
    """Render the pictures once for all camera processes; loading them needs no PyTorch."""
    from tools.soak.pictures import rendered

    path = Path(tempfile.mkdtemp(prefix='soak_')) / 'pictures.npy'
    np.save(path, np.stack(rendered(8, size)))
    return path


def main() -> None:
    """Publish until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument('pictures')
    parser.add_argument('topic')
    parser.add_argument('reliability', choices=_QOS)
    parser.add_argument('rate', type=float)
    arguments = parser.parse_args()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('mortal_camera')
    images = node.create_publisher(Image, arguments.topic, _QOS[arguments.reliability])
    messages = [bgr_image(Header(frame_id=FRAME), picture)
                for picture in np.load(arguments.pictures)]
    while True:
        for message in messages:
            message.header.stamp = node.get_clock().now().to_msg()
            images.publish(message)
            time.sleep(1.0 / arguments.rate)


if __name__ == '__main__':
    main()
