r"""
The budgets of a running node: first pose, memory, and the age of results under twice the load.

    python benchmarks/node_budgets.py [--size 1280x720] [--starts 3] [--seconds 15] [--threads 0]
        [--model FILE] [--mesh] [--json]

The node is a process, and so is the publisher of images (the bundled clip, two heads); this one
subscribes to `heads`. The stamp of an image is the time at which it is sent, and the age of a
result is the time of its arrival here less that stamp.

* First pose: from the start of the node's process to the first message with a head, while images
  arrive; and the processor time of the node up to then, which other load hardly changes.
* Pipeline time: mean age while images arrive so slowly that none waits.
* Sustainable rate: results per second while images arrive faster than that.
* Twice the sustainable rate: mean age, and the median of the last third over that of the first.
"""

from __future__ import annotations

import argparse
import itertools
import os
import queue
import re
import statistics
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import rclpy
from budget_table import print_figures
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from trans3dhead.msg import HeadArray

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.media.clip_truth import bundled_clip
from trans3dhead_ros.media.sources import open_source
from trans3dhead_ros.ros.messages import bgr_image
from trans3dhead_ros.ros.stamps import stamp_seconds

SLOW_RATE = 4.0  # Hz
BUDGETS = {'first_pose_s': 2.0, 'memory_mb': 250.0, 'age_to_pipeline': 1.5, 'age_growth': 1.1}


def publish(size: tuple[int, int]) -> None:
    """Publish the clip to and fro at the rate that the last line of standard input names."""
    import cv2

    rates: queue.Queue[float] = queue.Queue()
    threading.Thread(target=lambda: [rates.put(float(line)) for line in sys.stdin],
                     daemon=True).start()
    with open_source(bundled_clip()) as source:
        images = [cv2.resize(frame.image, size) for frame in itertools.islice(source, 30)]
    frames = [bytearray(serialize_message(bgr_image(Header(frame_id='camera'), image)))
              for image in images]
    info = CameraInfo(width=size[0], height=size[1], distortion_model='plumb_bob', d=[0.0] * 5,
                      k=Camera.from_fov(size, 60.0).K.ravel().tolist())
    rclpy.init()
    node = Node('publisher')
    image_publisher = node.create_publisher(Image, 'image_raw', QoSProfile(depth=1))
    info_publisher = node.create_publisher(CameraInfo, 'camera_info', QoSProfile(depth=1))
    rate, due = SLOW_RATE, time.monotonic()
    for data in itertools.cycle([*frames, *frames[-2:0:-1]]):
        while not rates.empty():
            rate, due = rates.get(), time.monotonic()
        due = max(due + 1.0 / rate, time.monotonic() - 1.0 / rate)
        time.sleep(max(due - time.monotonic(), 0.0))
        # The stamp follows the four bytes that introduce the serialised message.
        struct.pack_into('<iI', data, 4, *divmod(time.time_ns(), 10 ** 9))
        info.header.stamp.sec, info.header.stamp.nanosec = struct.unpack_from('<iI', data, 4)
        info.header.frame_id = 'camera'
        info_publisher.publish(info)
        image_publisher.publish(bytes(data))


class Observer:
    """Receives results, and knows the age of each."""

    def __init__(self, mesh: bool) -> None:
        self.ages: list[float] = []
        self.heads = 0
        self._node = Node('observer')
        self._node.create_subscription(HeadArray, 'heads', self._receive, QoSProfile(depth=10))
        if mesh:
            self._node.create_subscription(
                PointCloud2, 'head_mesh', lambda message: None, QoSProfile(depth=1), raw=True)

    def _receive(self, message: HeadArray) -> None:
        self.ages.append(time.time() - stamp_seconds(message.header.stamp))
        self.heads += len(message.heads)

    def spin(self, seconds: float) -> None:
        """Receive for some time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            rclpy.spin_once(self._node, timeout_sec=0.05)

    def wait_for_head(self, seconds: float) -> bool:
        """Receive until there is a head; return False where there is none within some time."""
        self.heads, end = 0, time.monotonic() + seconds
        while time.monotonic() < end and not self.heads:
            rclpy.spin_once(self._node, timeout_sec=0.05)
        return self.heads > 0

    def collect(self, seconds: float) -> list[float]:
        """Return the ages, s, of at least three results, for some time or a minute."""
        self.ages, start = [], time.monotonic()
        while (elapsed := time.monotonic() - start) < seconds or len(self.ages) < 3:
            if elapsed > max(seconds, 60.0):
                sys.exit(f'{len(self.ages)} results within {elapsed:.0f} s')
            rclpy.spin_once(self._node, timeout_sec=0.05)
        return self.ages


def start_node(options: argparse.Namespace) -> subprocess.Popen:
    """Start a node that activates itself."""
    return subprocess.Popen(
        [sys.executable, '-m', 'trans3dhead_ros.ros.node.head_tracker', '--ros-args',
         '--log-level', 'warn', '-p', 'autostart:=true', '-p', f'threads:={options.threads}',
         '-p', f'model:="{options.model}"'])


def first_pose(
    observer: Observer, options: argparse.Namespace,
) -> tuple[subprocess.Popen, float, float]:
    """Start a node; return it, and the seconds and its processor seconds until its first pose."""
    start = time.monotonic()
    process = start_node(options)
    if not observer.wait_for_head(60.0):
        stop(process)
        sys.exit('the node found no head within a minute')
    return process, time.monotonic() - start, processor_time(process)


def processor_time(process: subprocess.Popen) -> float:
    """Return the processor time, s, of a process so far."""
    fields = Path(f'/proc/{process.pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def memory(process: subprocess.Popen) -> dict[str, float]:
    """Return resident and peak memory of a process, MB."""
    text = Path(f'/proc/{process.pid}/status').read_text()
    return {name: int(re.search(rf'{key}:\s+(\d+)', text)[1]) / 1024.0
            for name, key in (('memory_mb', 'VmRSS'), ('peak_memory_mb', 'VmHWM'))}


def stop(process: subprocess.Popen) -> None:
    """End a process and wait for it."""
    process.terminate()
    process.wait(30)


def measure(observer: Observer, rates: object, options: argparse.Namespace) -> dict[str, float]:
    """Return all figures; `rates` takes the publisher's rates as lines."""
    def set_rate(rate: float) -> None:
        rates.write(f'{rate}\n')
        rates.flush()
        observer.spin(1.0)

    observer.spin(3.0)
    starts = []
    set_rate(20.0)
    for number in range(options.starts):
        process, *seconds = first_pose(observer, options)
        starts.append(seconds)
        if number < options.starts - 1:
            stop(process)
            # Its last results are not those of the next one.
            observer.spin(1.0)
    try:
        set_rate(SLOW_RATE)
        pipeline = statistics.fmean(observer.collect(options.seconds))
        set_rate(2.0 / pipeline)
        seconds = options.seconds / 2
        sustainable = len(observer.collect(seconds)) / seconds
        set_rate(2.0 * sustainable)
        ages = observer.collect(options.seconds)
        used = memory(process)
    finally:
        stop(process)
    third = len(ages) // 3
    elapsed, computed = (statistics.median(values) for values in zip(*starts, strict=True))
    return {
        'first_pose_s': elapsed, 'first_pose_processor_s': computed, **used,
        'pipeline_ms': 1e3 * pipeline, 'sustainable_hz': sustainable,
        'age_mean_ms': 1e3 * statistics.fmean(ages),
        **{f'age_p{percent}_ms': 1e3 * np.percentile(ages, percent) for percent in (50, 95)},
        'age_to_pipeline': statistics.fmean(ages) / pipeline,
        'age_growth': statistics.median(ages[-third:]) / statistics.median(ages[:third])}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', default='1280x720', metavar='WxH')
    parser.add_argument('--starts', type=int, default=3)
    parser.add_argument('--seconds', type=float, default=15.0, help='length of a measurement, s')
    parser.add_argument('--threads', type=int, default=0, help='as `threads` of the node')
    parser.add_argument('--model', default='')
    parser.add_argument('--mesh', action='store_true', help='also subscribe to head_mesh')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.add_argument('--publish', action='store_true', help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    if options.publish:
        publish(tuple(map(int, options.size.split('x'))))
        return 0
    rclpy.init()
    publisher = subprocess.Popen([sys.executable, __file__, '--publish', '--size', options.size],
                                 stdin=subprocess.PIPE, text=True)
    try:
        figures = measure(Observer(options.mesh), publisher.stdin, options)
    finally:
        publisher.kill()
        publisher.wait()
    print_figures(figures, BUDGETS, options.json, 3, '{:22s} {:9.2f}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
