r"""
Where the time of a frame goes in the node: image message in, messages out.

    python benchmarks/frame_profile.py [--sizes 640x480 1280x720] [--frames 120] [--threads 1]
        [--model FILE] [--mesh] [--processor-time] [--flame profile.svg]

The node's own code runs in this process, on frames of the bundled clip (two heads), as its worker
would call it: from a serialised image message through decoding, tracking and conversion to the
publishers, while another process subscribes to the topics. Each stage is the time inside of its
functions without that of the stages which they call, so that the column adds up. `--mesh`
subscribes to `head_mesh` and `head_markers` too, for which the vertices are computed.

Frames in which the detector runs stand apart from the others. `--flame` samples a run without
stages with py-spy (`pip install py-spy`) and writes a flame graph of its functions, an SVG picture
for a browser.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import rclpy
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo
from sensor_msgs.msg import Image as ImageMessage
from std_msgs.msg import Header

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.inference.head_search import HeadSearch
from trans3dhead_ros.media.clip_truth import bundled_clip
from trans3dhead_ros.media.sources import open_source
from trans3dhead_ros.perception import aligner, pipeline
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.perception.head import HeadMesh
from trans3dhead_ros.ros import outputs
from trans3dhead_ros.ros.messages import bgr_image
from trans3dhead_ros.ros.node import camera_tracker, frame_processor
from trans3dhead_ros.ros.node.frame_processor import IncomingImage
from trans3dhead_ros.ros.node.head_tracker_node import HeadTracker

SMALL = ('heads:trans3dhead/msg/HeadArray', 'head_pose:geometry_msgs/msg/PoseStamped',
         '/tf:tf2_msgs/msg/TFMessage')
MESH = ('head_mesh:sensor_msgs/msg/PointCloud2', 'head_markers:visualization_msgs/msg/MarkerArray')
REST, TOTAL, DETECT, OVERHEAD = 'the rest', 'all', 'detect', 'all but the pipeline'
PIPELINE = (DETECT, 'crop', 'network', 'decode the network', 'track', 'pose', 'smoothing', 'heads',
            'vertices')


class Stages:
    """Exclusive time per stage of one frame after the other."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.frames: list[dict[str, float]] = []
        self._running: list[list] = []

    def wrap(self, stage: str, owner: object, name: str) -> None:
        """Count the time of a function, a method or a property for a stage."""
        function = getattr(owner, name)
        if isinstance(function, property):
            setattr(owner, name, property(self._timed(stage, function.fget)))
        else:
            setattr(owner, name, self._timed(stage, function))

    def _timed(self, stage: str, function: Callable) -> Callable:
        @functools.wraps(function)
        def timed(*arguments, **named):
            return self.run(stage, lambda: function(*arguments, **named))

        return timed

    def run(self, stage: str, action: Callable[[], object]) -> object:
        if not self.frames:
            return action()
        start = self._clock()
        self._running.append([0.0])
        try:
            return action()
        finally:
            taken = 1e3 * (self._clock() - start)
            (inner,) = self._running.pop()
            self.frames[-1][stage] += taken - inner
            if self._running:
                self._running[-1][0] += taken

    def start_frame(self) -> None:
        self.frames.append(defaultdict(float))

    def table(self) -> str:
        """Return the stages in the order in which frames reach them."""
        for frame in self.frames:
            frame[TOTAL] = sum(frame.values())
            frame[OVERHEAD] = frame[TOTAL] - sum(frame.get(name, 0.0) for name in PIPELINE)
        groups = {'tracked': [frame for frame in self.frames if DETECT not in frame],
                  'with a detection': [frame for frame in self.frames if DETECT in frame]}
        names = dict.fromkeys(name for frame in self.frames for name in frame)
        last = (REST, OVERHEAD, TOTAL)
        names = [*(name for name in names if name not in last), *last]
        lines = [f'{"ms":22s}' + ''.join(f'{f"{title} ({len(frames)})":>24s}'
                                         for title, frames in groups.items()),
                 f'{"":22s}' + f'{"p50":>16s}{"p95":>8s}' * 2]
        for name in names:
            line = f'{name:22s}'
            for frames in groups.values():
                times = [frame.get(name, 0.0) for frame in frames] or [np.nan]
                line += f'{np.percentile(times, 50):16.2f}{np.percentile(times, 95):8.2f}'
            lines.append(line)
        return '\n'.join(lines)


def instrument(stages: Stages, node: HeadTracker) -> None:
    """Let the functions of the runtime count for their stages."""
    stages.wrap('network', node._processor.aligner.engine, 'run')
    for output in node._outputs:
        for publisher in output._publishers:
            stages.wrap('send', publisher, 'publish')
    stages.wrap('decode the message', camera_tracker, 'decode_image')
    stages.wrap('parameters', frame_processor, 'read_tracker_parameters')
    stages.wrap('track', frame_processor, 'run_batched')
    stages.wrap(DETECT, HeadSearch, 'detect')
    stages.wrap('crop', aligner, 'crop_square')
    stages.wrap('decode the network', HeadAligner, '_decode')
    stages.wrap('pose', pipeline, 'estimate_poses')
    stages.wrap('smoothing', pipeline, 'smooth_heads')
    stages.wrap('heads', pipeline, 'build_heads')
    for name in ('vertices', 'vertices_px'):
        stages.wrap('vertices', HeadMesh, name)
    for kind in outputs.Output.__subclasses__():
        stages.wrap(f'build {kind.__name__.removesuffix("Output")}', kind, 'publish')


def frames_of(size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield the clip forwards and backwards without end, in another size."""
    with open_source(bundled_clip()) as source:
        images = [cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
                  for frame in itertools.islice(source, 60)]
    yield from itertools.cycle([*images, *images[-2:0:-1]])


def subscriber(topics: tuple[str, ...]) -> subprocess.Popen:
    """Start a process that receives topics and does nothing with them."""
    script = f"""
from importlib import import_module
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
rclpy.init()
node = Node('subscriber')
for topic in {topics!r}:
    name, kind = topic.split(':')
    package, _, kind = kind.split('/')
    kind = getattr(import_module(package + '.msg'), kind)
    node.create_subscription(kind, name, lambda message: None, 1, raw=True)
try:
    rclpy.spin(node)
except ExternalShutdownException:
    pass
"""
    return subprocess.Popen([sys.executable, '-c', script])


def profile(stages: Stages, node: HeadTracker, size: tuple[int, int], count: int) -> None:
    """Track frames of the clip through the node's worker code, in this thread."""
    stages.frames.clear()
    processor, tracker = node._processor, node._processor.trackers['']
    camera = Camera.from_fov(size, 60.0)
    tracker.calibration.message = CameraInfo(
        width=size[0], height=size[1], distortion_model='plumb_bob', d=[0.0] * 5,
        k=camera.K.ravel().tolist())
    processor.reset()
    for number, image in enumerate(itertools.islice(frames_of(size), count)):
        header = Header(frame_id='camera')
        header.stamp.sec, header.stamp.nanosec = 1 + number // 30, number % 30 * 33_000_000
        data = serialize_message(bgr_image(header, image))
        if number >= 10:
            stages.start_frame()
        message = stages.run('receive', lambda data=data: deserialize_message(data, ImageMessage))
        stages.run(REST, lambda message=message: processor.process([IncomingImage('', message)]))


def sizes(text: str) -> tuple[int, int]:
    width, _, height = text.partition('x')
    return int(width), int(height)


def sample(arguments: list[str], path: str) -> int:
    """Run this script under py-spy."""
    command = shutil.which('py-spy')
    if command is None:
        sys.exit('--flame: py-spy is not installed; pip install py-spy')
    return subprocess.call([command, 'record', '--rate', '100', '--nonblocking', '--function',
                            '--output', path, '--', sys.executable, __file__, '--sampled',
                            *arguments])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--sizes', type=sizes, nargs='+', default=[(640, 480), (1280, 720)],
                        metavar='WxH')
    parser.add_argument('--frames', type=int, default=120)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--model', default='')
    parser.add_argument('--backend', default='auto')
    parser.add_argument('--mesh', action='store_true')
    parser.add_argument('--processor-time', action='store_true',
                        help='measure CPU time instead of elapsed time')
    parser.add_argument('--flame', metavar='FILE.svg')
    parser.add_argument('--sampled', action='store_true', help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.flame:
        rest = [word for word in sys.argv[1:] if word not in ('--flame', options.flame)]
        return sample(rest, options.flame)
    cv2.setNumThreads(options.threads)
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    rclpy.init(args=['--ros-args', '-p', f'threads:={options.threads}', '-p',
                     f'model:="{options.model}"', '-p', f'backend:={options.backend}'])
    topics = SMALL + MESH * options.mesh
    receiver = subscriber(topics)
    try:
        node = HeadTracker()
        node.trigger_configure()
        node.trigger_activate()
        node.set_parameters([Parameter('publish_overlay', value=False)])
        wanted = sum(output.has_subscribers() for output in node._outputs)
        deadline = time.monotonic() + 60.0
        while wanted < len(topics) and time.monotonic() < deadline:
            time.sleep(0.1)
            wanted = sum(output.has_subscribers() for output in node._outputs)
        if wanted < len(topics):
            sys.exit('nobody subscribes to the topics')
        engine = node._processor.aligner.engine
        print(f'{engine.backend} {engine.version}, {options.threads} thread(s), '
              f'topics: {", ".join(topic.partition(":")[0] for topic in topics)}')
        stages = Stages(time.thread_time if options.processor_time else time.perf_counter)
        if not options.sampled:
            instrument(stages, node)
        for size in options.sizes:
            profile(stages, node, size, options.frames)
            if not options.sampled:
                print(f'\n{size[0]} x {size[1]}\n{stages.table()}')
        node.stop()
    finally:
        receiver.terminate()
        receiver.wait()
    return 0


if __name__ == '__main__':
    sys.exit(main())
