"""The image subscription: transport, topic name and reliability."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from builtin_interfaces.msg import Time
from rclpy.context import Context
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CompressedImage, Image

from trans3dhead_ros.bags.image_topics import camera_info_topic_beside
from trans3dhead_ros.ros.tracker_parameters import AUTO

IMAGE_TOPIC = 'image_raw'
_OVERLAP = 1.0  # s
_COMPRESSED = '/compressed'
_TYPES = {'raw': (Image, 'sensor_msgs/msg/Image'),
          'compressed': (CompressedImage, 'sensor_msgs/msg/CompressedImage')}
_RELIABILITIES = {
    'reliable': ReliabilityPolicy.RELIABLE,
    'best_effort': ReliabilityPolicy.BEST_EFFORT,
}


class _Endpoint(NamedTuple):
    """A subscription, and the node that it belongs to."""

    node: Node
    subscription: Subscription


class ImageInput:
    """
    Subscription to the images of a camera that follows the reliability of their publisher.

    With reliability `auto` the subscription is created when the first publisher appears, and again
    when the offered reliability changes: a reliable subscription receives nothing from a
    best-effort publisher, and best effort loses large images.

    :param node: the node that subscribes.
    :param prefix: prefix of the topic name: empty, or the camera's name and a slash.
    :param transport: raw or compressed.
    :param callback: called with each message in the executor's thread.
    :ivar topic: resolved name of the topic.
    :ivar renewals: how often `renew` has renewed the subscription.
    """

    def __init__(
        self, node: Node, prefix: str, transport: str,
        callback: Callable[[Image | CompressedImage], None],
    ) -> None:
        self._node = node
        self._callback = callback
        self._kind, self._type = _TYPES[transport]
        self.topic = resolved_image_topic(node, prefix, transport)
        self.renewals = 0
        self._seen_publisher = False
        self._known_publishers: set[bytes] = set()
        self._endpoint: _Endpoint | None = None
        self._replaced: _Endpoint | None = None
        self._replaced_until = 0.0
        self._last_stamp: Time | None = None
        self._reliability: ReliabilityPolicy | None = None

    def update(self, requested: str) -> None:
        """
        Create the subscription, or create it again, where that is needed.

        :param requested: auto, reliable or best_effort.
        """
        if self._replaced is not None and time.monotonic() > self._replaced_until:
            self._destroy_replaced()
        reliability = _RELIABILITIES.get(requested)
        if requested == AUTO:
            offered = self.offered()
            if not offered:
                return
            # The strongest that every publisher offers.
            reliable = all(policy == ReliabilityPolicy.RELIABLE for policy in offered)
            reliability = _RELIABILITIES['reliable' if reliable else 'best_effort']
        if reliability == self._reliability:
            return
        self.destroy()
        self._reliability = reliability
        self._endpoint = self._create(self._node)

    def renew(self) -> bool:
        """
        Renew the subscription if there is or was a publisher, and return whether that was done.

        After a crash DDS sometimes knows both sides and yet delivers nothing until one of them is
        new. Another subscription of the same participant is in vain, so that the new one has a
        participant of its own. The old one stays for a moment, so that no image is lost meanwhile.
        """
        if self._endpoint is None or not self._seen_publisher:
            return False
        self._destroy_replaced()
        self._replaced, self._endpoint = self._endpoint, self._create(self._new_participant())
        self._replaced_until = time.monotonic() + _OVERLAP
        self.renewals += 1
        return True

    def offered(self) -> list[ReliabilityPolicy]:
        """Return the reliability of every publisher of the right type."""
        offered = [end.qos_profile.reliability for end in self._publishers()
                   if end.topic_type == self._type]
        self._seen_publisher = self._seen_publisher or bool(offered)
        return offered

    def has_new_publisher(self) -> bool:
        """Return whether there is a publisher that was not there at the last call."""
        found = {bytes(end.endpoint_gid) for end in self._publishers()}
        new = not found <= self._known_publishers
        self._known_publishers = found
        return new

    def report(self) -> dict[str, str]:
        """Return topic, publishers and reliabilities as values of the diagnostics."""
        offered = self.offered()
        return {'image topic': self.topic, 'publishers': str(len(offered)),
                'publisher QoS': _names(offered) or 'none',
                'subscription QoS': self._own(),
                'resubscriptions': str(self.renewals)}

    def no_image_reason(self) -> str:
        """Return the likely reason why no image is received."""
        offered = self.offered()
        if not offered:
            others = sorted({end.topic_type for end in self._publishers()})
            what = f'its publisher has type {", ".join(others)} instead of {self._type}' \
                if others else 'no publisher'
            return f'on {self.topic}: {what}'
        where = f'on {self.topic}, publisher QoS {_names(offered)}, subscription QoS {self._own()}'
        best_effort = ReliabilityPolicy.BEST_EFFORT in offered
        if best_effort and self._reliability == ReliabilityPolicy.RELIABLE:
            return f'{where}: incompatible, set image_reliability to auto'
        if best_effort:
            return (f'{where}; large best-effort images need '
                    'FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA on both sides')
        # Humble and Jazzy cannot tell.
        subscription = self._endpoint.subscription if self._endpoint else None
        connected = getattr(subscription, 'get_publisher_count', lambda: 1)
        if not connected():
            return f'{where}: discovered but not connected by DDS'
        return f'{where}: it publishes nothing'

    def destroy(self) -> None:
        """Destroy the subscription."""
        self._destroy_replaced()
        if self._endpoint is not None:
            self._destroy(self._endpoint)
        self._endpoint = self._reliability = None

    def _create(self, node: Node) -> _Endpoint:
        return _Endpoint(node, node.create_subscription(
            self._kind, self.topic, self._receive, QoSProfile(
                history=HistoryPolicy.KEEP_LAST, depth=1, reliability=self._reliability,
                durability=DurabilityPolicy.VOLATILE)))

    def _new_participant(self) -> Node:
        """Return a node with a DDS participant of its own, in the same executor."""
        context = Context()
        try:
            context.init(domain_id=self._node.context.get_domain_id())
            node = Node(
                f'_{self._node.get_name()}_images', namespace=self._node.get_namespace(),
                context=context, use_global_arguments=False, start_parameter_services=False,
                enable_rosout=False)
        except rclpy_implementation.RCLError:
            # For example without the enclave of SROS 2.
            context.try_shutdown()
            return self._node
        self._node.executor.add_node(node)
        return node

    def _destroy(self, endpoint: _Endpoint) -> None:
        node, subscription = endpoint
        node.destroy_subscription(subscription)
        if node is self._node:
            return
        if node.executor is not None:
            node.executor.remove_node(node)
        node.destroy_node()
        node.context.try_shutdown()

    def _receive(self, message: Image | CompressedImage) -> None:
        if self._replaced is not None:
            # Both subscriptions may receive it.
            if message.header.stamp == self._last_stamp:
                return
            self._last_stamp = message.header.stamp
        self._callback(message)

    def _destroy_replaced(self) -> None:
        if self._replaced is not None:
            self._destroy(self._replaced)
        self._replaced = self._last_stamp = None

    def _publishers(self) -> list[TopicEndpointInfo]:
        return self._node.get_publishers_info_by_topic(self.topic)

    def _own(self) -> str:
        return self._reliability.name.lower() if self._reliability else 'none yet'


def resolved_image_topic(node: Node, prefix: str, transport: str) -> str:
    """
    Resolve the name of the image topic.

    Users remap the base name (`image_raw:=/camera/image_raw`) whatever the transport, so it is
    remapped before the suffix of the transport is appended; a remapping of the full name wins.

    :param node: the node whose remappings apply.
    :param prefix: prefix of the topic name: empty, or the camera's name and a slash.
    :param transport: raw or compressed.
    :return: the full name.
    """
    base = prefix + IMAGE_TOPIC
    if transport != 'compressed':
        return node.resolve_topic_name(base)
    full_name = base + _COMPRESSED
    if node.resolve_topic_name(full_name) != node.resolve_topic_name(full_name, only_expand=True):
        return node.resolve_topic_name(full_name)
    return node.resolve_topic_name(base) + _COMPRESSED


def resolved_camera_info_topic(node: Node, prefix: str, images: str) -> str:
    """
    Resolve the name of the calibration's topic: the remapped one, else the one beside the images.

    :param node: the node whose remappings apply.
    :param prefix: prefix of the topic name: empty, or the camera's name and a slash.
    :param images: resolved name of the image topic.
    :return: the full name.
    """
    name = f'{prefix}camera_info'
    if node.resolve_topic_name(name) != node.resolve_topic_name(name, only_expand=True):
        return node.resolve_topic_name(name)
    return camera_info_topic_beside(images)


def _names(policies: list[ReliabilityPolicy]) -> str:
    return ', '.join(sorted({policy.name.lower() for policy in policies}))
