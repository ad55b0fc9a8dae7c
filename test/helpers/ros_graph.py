"""A tracker in a process of its own, and a client that sends it images over DDS."""

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header, UInt32MultiArray
from tf2_msgs.msg import TFMessage
from trans3dhead.msg import HeadArray, LandmarkArray
from trans3dhead.srv import LoadModel
from visualization_msgs.msg import MarkerArray

from trans3dhead_ros.ros.messages import bgr_image

FRAME = 'some_camera_optical_frame'
RELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)
KEEP = QoSProfile(depth=20, reliability=ReliabilityPolicy.RELIABLE)
HEADS = {'heads': HeadArray}
SMALL_OUTPUTS = {
    **HEADS, 'head_pose': PoseStamped, '/tf': TFMessage,
    'head_landmarks': LandmarkArray,
}
# Building and reading these takes longer than finding the heads.
LARGE_OUTPUTS = {'head_markers': MarkerArray, 'head_mesh': PointCloud2, 'overlay': Image}
OUTPUTS = SMALL_OUTPUTS | LARGE_OUTPUTS


class TrackerProcess:
    """`python -m trans3dhead_ros.ros.node.head_tracker`, its log in a file."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self.log = log
        with log.open('w') as file:
            self.popen = subprocess.Popen(
                [sys.executable, '-m', 'trans3dhead_ros.ros.node.head_tracker', '--ros-args',
                 *arguments],
                stdout=file, stderr=subprocess.STDOUT, env=dict(os.environ))

    def text(self) -> str:
        return self.log.read_text()

    def stop(self, number: signal.Signals = signal.SIGINT, timeout: float = 30.0) -> int:
        """Send the signal and return the exit code; a process that stays is killed: -9."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait()


class Client(Node):
    """
    Publishes images and collects the results, by topic without the camera's name.

    :param outputs: what to subscribe to, besides the diagnostics.
    """

    def __init__(self, image_qos: QoSProfile = RELIABLE, topic: str = 'image_raw',
                 kind: type = Image, outputs: Mapping[str, type] = OUTPUTS, camera: str = '',
                 frame: str = FRAME) -> None:
        super().__init__(f'test_client_{camera}')
        self._prefix, self._camera, self._frame = f'{camera}/' if camera else '', camera, frame
        self._topic = topic
        self.images = self.create_publisher(kind, self._prefix + topic, image_qos)
        self.infos = self.create_publisher(CameraInfo, f'{self._prefix}camera_info', RELIABLE)
        self.received: dict[str, list] = defaultdict(list)
        for name, message_type in outputs.items():
            self.listen(name, message_type, KEEP)
        self.listen('/diagnostics', DiagnosticArray, KEEP)
        self.listen('head_mesh/triangles', UInt32MultiArray, LATCHED)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        self._stamp = 1000.0

    def listen(self, topic: str, kind: type, qos: QoSProfile) -> Subscription:
        name = topic if topic.startswith('/') else self._prefix + topic
        return self.create_subscription(kind, name, self.received[topic].append, qos)

    @contextmanager
    def publisher(self, kind: type = Image, qos: QoSProfile = RELIABLE) -> Iterator[None]:
        """Replace the publisher of images for a while."""
        topic, before = self._prefix + self._topic, self.images
        self.destroy_publisher(before)
        # A participant of its own, because one cannot have a topic with two types.
        context = rclpy.Context()
        context.init()
        node = rclpy.create_node('other_camera', context=context)
        self.images = node.create_publisher(kind, topic, qos)
        try:
            yield
        finally:
            node.destroy_node()
            context.shutdown()
            self.images = self.create_publisher(before.msg_type, topic, RELIABLE)
            self.wait_for_tracker()

    def forget(self) -> None:
        """Drop what was received, except for what is latched."""
        for topic, messages in self.received.items():
            if topic != 'head_mesh/triangles':
                messages.clear()

    def spin_until(self, condition, timeout: float = 60.0) -> bool:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                return False
            self._executor.spin_once(timeout_sec=0.05)
        return True

    def spin_for(self, seconds: float) -> None:
        self.spin_until(lambda: False, seconds)

    def wait_for_tracker(self) -> None:
        """Wait until images and results are matched with the tracker."""
        assert self.spin_until(self.images.get_subscription_count), 'images have no subscriber'
        self.spin_until(lambda: self.count_publishers(f'{self._prefix}heads') > 0)
        self.spin_for(0.5)

    def header(self, period: float = 0.04) -> Header:
        """Return the header of the next image."""
        self._stamp += period
        header = Header(frame_id=self._frame)
        header.stamp.sec, header.stamp.nanosec = int(self._stamp), int(self._stamp % 1 * 1e9)
        return header

    def send(self, image) -> Header:
        """Send a BGR picture as bgr8 and return its header."""
        header = self.header()
        self.images.publish(bgr_image(header, image))
        return header

    def answer(self, header: Header, timeout: float = 30.0) -> HeadArray:
        """Return the heads of the image with this header."""
        assert self.spin_until(lambda: self.all_of('heads', header), timeout), \
            'no heads were published for the image'
        return self.all_of('heads', header)[0]

    def ask(self, image) -> HeadArray:
        """Send a BGR picture and return its heads."""
        return self.answer(self.send(image))

    def stream_is_processed(self, image, timeout: float = 60.0,
                            publisher: Publisher | None = None) -> bool:
        """Send a BGR picture again and again; return whether the heads of one were received."""
        def processed():
            header = self.header()
            (publisher or self.images).publish(bgr_image(header, image))
            return self.spin_until(lambda: self.all_of('heads', header), 1.0)
        return self.spin_until(processed, timeout)

    def of(self, topic: str, header: Header, timeout: float = 10.0):
        """Return the message of a topic with the stamp of an image."""
        assert self.spin_until(lambda: self.all_of(topic, header), timeout), \
            f'nothing was received on {topic}'
        return self.all_of(topic, header)[0]

    def all_of(self, topic: str, header: Header) -> list:
        """Return the received messages of a topic with the stamp of an image."""
        def stamp(message):
            if hasattr(message, 'header'):
                return message.header.stamp
            parts = message.transforms if hasattr(message, 'transforms') else message.markers
            return parts[0].header.stamp
        return [m for m in self.received[topic] if stamp(m) == header.stamp]

    def diagnostics(self, condition=lambda values: True) -> dict[str, str]:
        """Return the next report that fulfils a condition."""
        return values_of(self.status(lambda status: condition(values_of(status))))

    def status(self, condition=lambda status: True) -> DiagnosticStatus:
        """Return the next report about this camera that fulfils a condition."""
        received = self.received['/diagnostics']
        received.clear()

        def reports():
            return [status for message in received for status in message.status
                    if not self._camera or status.name.endswith(self._camera)]
        assert self.spin_until(lambda: any(condition(r) for r in reports()), 30.0), reports()[-1:]
        return next(r for r in reports() if condition(r))

    def stream_until(self, image, condition) -> None:
        """Send a picture again and again until a condition of the diagnostics holds."""
        received = self.received['/diagnostics']
        received.clear()
        for _ in range(200):
            self.send(image)
            self.spin_for(0.1)
            if any(condition(values_of(m.status[0])) for m in received):
                return
        raise AssertionError(received[-1:])

    def set_tracker_parameters(self, **values) -> list[SetParametersResult]:
        """Set parameters of head_tracker, each on its own, and return the results."""
        request = SetParameters.Request(parameters=[
            Parameter(name, value=value).to_parameter_msg() for name, value in values.items()])
        return self.call(SetParameters, 'head_tracker/set_parameters', request).results

    def load_model(self, path: object) -> LoadModel.Response:
        """Call ~/load_model of head_tracker."""
        return self.call(LoadModel, 'head_tracker/load_model', LoadModel.Request(path=str(path)))

    def change_state(self, transition: int) -> bool:
        """Trigger a transition of head_tracker and return whether it succeeded."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.call(ChangeState, 'head_tracker/change_state', request).success

    def call(self, kind: type, name: str, request) -> object:
        """Call a service and return its response."""
        client = self.create_client(kind, name)
        assert self.spin_until(client.service_is_ready, 20.0), f'no service {name}'
        future = client.call_async(request)
        assert self.spin_until(future.done, 60.0), f'{name} did not answer'
        self.destroy_client(client)
        return future.result()

    def close(self) -> None:
        self._executor.shutdown()
        self.destroy_node()


def values_of(status: DiagnosticStatus) -> dict[str, str]:
    return {value.key: value.value for value in status.values}


def compressed(header: Header, data: bytes) -> CompressedImage:
    return CompressedImage(header=header, format='jpeg', data=data)


def start_ros() -> None:
    if not rclpy.ok():
        rclpy.init()
