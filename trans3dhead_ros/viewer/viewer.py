"""`trans3dhead view`: heads, mesh and diagnostics in Rerun, from a bag or from live topics."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import rerun as rr
import rerun.blueprint as rrb
import rerun_cli
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import UInt32MultiArray
from tqdm import tqdm
from trans3dhead.msg import HeadArray

from trans3dhead_ros.bags.bag_reader import BagReader
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.ros.bag_tracking import bag_options
from trans3dhead_ros.ros.node_process import ShutdownRequest, spin_node
from trans3dhead_ros.viewer.viewer_scene import TIMELINE, Scene

_NAME = 'trans3dhead'
_RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                      durability=DurabilityPolicy.TRANSIENT_LOCAL)
# Hears every publisher.
_ANY = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


def view(options: argparse.Namespace) -> int:
    """
    Show a bag or live topics; see `trans3dhead view --help` for the options.

    :raises ValueError: for a user's mistake.
    """
    _check(options)
    if options.source is None:
        return _view_live(options)
    return _view_bag(options)


class ViewerNode(Node):
    """
    Listens to a camera and its tracker.

    :param scene: gets the messages.
    :param images: topic of the images, relative to the namespace; /compressed at its end tells the
        transport.
    """

    def __init__(self, scene: Scene, namespace: str, images: str) -> None:
        super().__init__('trans3dhead_view', namespace=namespace)
        compressed = images.endswith(bag_options.COMPRESSED)
        images = self.resolve_topic_name(images)
        for kind, topic, receive, qos in (
                (CompressedImage if compressed else Image, images, scene.image, _ANY),
                (CameraInfo, bag_options.beside(images), scene.camera_info, _ANY),
                (HeadArray, 'heads', scene.heads, _RELIABLE),
                (UInt32MultiArray, 'head_mesh/triangles', scene.triangles, _LATCHED),
                (PointCloud2, 'head_mesh', scene.mesh, _RELIABLE),
                (DiagnosticArray, '/diagnostics', scene.diagnostics, _ANY)):
            self.create_subscription(kind, topic, receive, qos)
        self.get_logger().info(f'listening to {images} and {self.resolve_topic_name("heads")}')


def _view_live(options: argparse.Namespace) -> int:
    namespace = bag_options.full_name(options.namespace, '').rstrip('/')
    with _recording(options, diagnostics=True) as recording:
        def make(finish: ShutdownRequest) -> ViewerNode:
            node = ViewerNode(Scene(recording, namespace), namespace, options.image or 'image_raw')
            if options.duration is not None:
                node.create_timer(options.duration, lambda: finish(0))
            return node
        return spin_node(make, [])


def _view_bag(options: argparse.Namespace) -> int:
    with BagReader(options.source) as reader:
        topics = _bag_topics(reader, options)
        with _recording(options, '/diagnostics' in topics) as recording:
            # A mesh needs both; the coefficients of a head hold it as well.
            names = {bag_options.full_name(options.namespace, name)
                     for name in ('head_mesh', 'head_mesh/triangles')}
            scene = Scene(recording, options.namespace, rebuild=not names <= {*topics})
            receivers = {topic: (kind, getattr(scene, receiver))
                         for topic, (kind, receiver) in topics.items()}
            total = sum(reader.topics[topic].count for topic in topics)
            for message in tqdm(reader.messages(topics), total=total, unit='message', leave=False,
                                disable=None):
                kind, receive = receivers[message.topic]
                receive(deserialize_message(message.data, kind))
            if options.web:
                print('the viewer is served until Ctrl-C', file=sys.stderr)
                _wait(options.duration)
        if reader.damage:
            print(f'the bag is damaged, what could be read of it is shown: {reader.damage}',
                  file=sys.stderr)
            return 1
    return 0


def _bag_topics(reader: BagReader, options: argparse.Namespace) -> dict[str, tuple[type, str]]:
    """Return what is shown of a bag: topic -> its class and the method of `Scene` for it."""
    def named(name: str) -> str:
        return bag_options.full_name(options.namespace, name)

    heads = named('heads')
    if heads not in reader.topics:
        found = [name for name, topic in reader.topics.items()
                 if topic.type == 'trans3dhead/msg/HeadArray']
        raise UserError(
            f'{options.source}: has no {heads}; ' + (
                f'name the namespace of one of {", ".join(found)} with --namespace' if found else
                f'make it with: trans3dhead track {options.source} --output out.mcap --copy'))
    wanted: dict[str, tuple[type, str]] = {
        heads: (HeadArray, 'heads'),
        named('head_mesh'): (PointCloud2, 'mesh'),
        named('head_mesh/triangles'): (UInt32MultiArray, 'triangles'),
        '/diagnostics': (DiagnosticArray, 'diagnostics'),
    }
    images = _bag_images(reader, options.image)
    if images is not None:
        compressed = reader.topics[images].type == 'sensor_msgs/msg/CompressedImage'
        wanted[images] = (CompressedImage if compressed else Image, 'image')
        wanted[bag_options.beside(images)] = (CameraInfo, 'camera_info')
    return {topic: what for topic, what in wanted.items() if topic in reader.topics}


def _bag_images(reader: BagReader, wanted: str | None) -> str | None:
    """Return the topic of the images; None for a bag without any."""
    if wanted is None and not any(
            topic.type in bag_options.IMAGE_TYPES for topic in reader.topics.values()):
        return None
    return bag_options.image_topic(reader, wanted)


@contextmanager
def _recording(
    options: argparse.Namespace, diagnostics: bool,
) -> Iterator[rr.RecordingStream]:
    """Yield a recording that goes where the options say, and complete it."""
    # A viewer that looks on wants the newest at once; what is read of a bag comes in large pieces,
    # which are shown faster.
    batches = rr.ChunkBatcherConfig(flush_tick=0.2 if options.source is None else 60.0)
    recording = rr.RecordingStream(_NAME, batcher_config=batches)
    recording.set_log_time_enabled(False)
    recording.set_log_tick_enabled(False)
    layout = _layout(diagnostics)
    if options.save is not None:
        options.save.parent.mkdir(parents=True, exist_ok=True)
        recording.save(options.save, default_blueprint=layout)
    elif options.web:
        address = recording.serve_grpc(grpc_port=options.port + 1, default_blueprint=layout)
        rr.serve_web_viewer(web_port=options.port, open_browser=False, connect_to=address)
        # At once, also where somebody reads it through a pipe.
        print(f'the viewer: http://localhost:{options.port}/?url={quote(address)}', flush=True)
    else:
        # Beside the Python that runs this, whatever PATH says.
        program = Path(rerun_cli.__file__).with_name('rerun')
        rr.spawn(executable_path=str(program), default_blueprint=layout, recording=recording)
    try:
        yield recording
    finally:
        recording.flush()
        recording.disconnect()


def _layout(diagnostics: bool) -> rrb.Blueprint:
    """
    Return what is where in the viewer.

    :param diagnostics: whether a node tells of itself.
    """
    def plot(title: str, origin: str, *keys: str) -> rrb.TimeSeriesView:
        contents = [f'{origin}/{key}' for key in keys] or f'{origin}/**'
        return rrb.TimeSeriesView(origin=origin, name=title, contents=contents)

    heads = rrb.Horizontal(plot('Position (m)', 'plots/position'),
                           plot('Angles (°)', 'plots/angles'), plot('Score', 'plots/score'),
                           name='Heads')
    node = rrb.Horizontal(
        plot('Times (ms)', 'diagnostics', 'inference_p50_ms', 'inference_p95_ms', 'frame_age_ms'),
        plot('Images a second', 'diagnostics', 'input_rate_Hz'),
        plot('Images without an answer', 'diagnostics', 'images_replaced_by_newer_ones',
             'images_above_max_rate', 'bad_images'),
        rrb.TextLogView(origin='diagnostics/log', name='Log'), name='Node')
    return rrb.Blueprint(
        rrb.Vertical(
            rrb.Horizontal(rrb.Spatial2DView(origin='camera/image', name='Image'),
                           rrb.Spatial3DView(origin='camera', name='Space')),
            *([heads, node] if diagnostics else [heads]),
            row_shares=[4, 2, 2] if diagnostics else [2, 1]),
        rrb.TimePanel(timeline=TIMELINE, state='collapsed'), collapse_panels=True)


def _check(options: argparse.Namespace) -> None:
    if options.source is not None and not Path(options.source).exists():
        raise UserError(f'source: {options.source} does not exist')
    if options.save is not None and options.save.exists() and not options.force:
        raise UserError(f'save: {options.save} exists; name another one, or replace it with '
                         '--force')
    seen = options.save is not None or options.web or sys.platform != 'linux'
    if not seen and not (os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')):
        raise UserError('there is no display: use --save FILE.rrd, or --web and a browser')


def _wait(seconds: float | None) -> None:
    try:
        time.sleep(1e9 if seconds is None else seconds)
    except KeyboardInterrupt:
        return
