"""The image subscription: transport, name and reliability."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from trans3dhead_ros.ros.parameters import AUTO

IMAGE_TOPIC = 'image_raw'
_COMPRESSED = '/compressed'
_RELIABILITIES = {
    'reliable': ReliabilityPolicy.RELIABLE,
    'best_effort': ReliabilityPolicy.BEST_EFFORT,
}


class ImageInput:
    """
    Subscribes to the images of a node as their publisher offers them.

    With reliability `auto` the subscription is made when the first publisher appears, and made anew
    when another one replaces it with another reliability: a reliable subscription hears nothing of
    a best-effort publisher, and best effort loses large images.

    :param transport: raw or compressed.
    :param reliability: auto, reliable or best_effort.
    :param received: called with each message in the thread of the executor.
    """

    def __init__(
        self, node: Node, transport: str, reliability: str,
        received: Callable[[Image | CompressedImage], None],
    ) -> None:
        self._node = node
        self._received = received
        self._wanted = reliability
        self._kind = CompressedImage if transport == 'compressed' else Image
        self.topic = resolved_image_topic(node, transport)
        self._subscription: Subscription | None = None
        self._reliability: ReliabilityPolicy | None = None
        self.update()

    def update(self) -> None:
        """Subscribe, or subscribe anew, where the publishers ask for it."""
        reliability = _RELIABILITIES.get(self._wanted)
        if self._wanted == AUTO:
            offered = self.offered()
            if not offered:
                return
            # The one that every publisher can serve.
            reliable = all(policy == ReliabilityPolicy.RELIABLE for policy in offered)
            reliability = _RELIABILITIES['reliable' if reliable else 'best_effort']
        if reliability == self._reliability:
            return
        self.destroy()
        self._reliability = reliability
        self._subscription = self._node.create_subscription(
            self._kind, self.topic, self._received, QoSProfile(
                history=HistoryPolicy.KEEP_LAST, depth=1, reliability=reliability,
                durability=DurabilityPolicy.VOLATILE))

    def offered(self) -> list[ReliabilityPolicy]:
        """Return the reliability of every publisher of the topic."""
        return [info.qos_profile.reliability
                for info in self._node.get_publishers_info_by_topic(self.topic)]

    def silence(self) -> str:
        """Return why no image may have come, for a warning."""
        offered = self.offered()
        if not offered:
            return f'on {self.topic}: nobody publishes it'
        names = ', '.join(sorted({policy.name.lower() for policy in offered}))
        wanted = self._reliability.name.lower() if self._reliability else 'none yet'
        return (f'on {self.topic}, publisher QoS {names}, ours {wanted}; large best-effort images '
                'need FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA on both sides')

    def destroy(self) -> None:
        """Stop listening."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._subscription = self._reliability = None


def resolved_image_topic(node: Node, transport: str) -> str:
    """
    Return the full name of the image topic.

    Users remap the base name (`image_raw:=/camera/image_raw`) whatever the transport, so it is
    remapped before the transport's suffix goes behind it; a remapping of the whole name wins.
    """
    if transport != 'compressed':
        return node.resolve_topic_name(IMAGE_TOPIC)
    whole = IMAGE_TOPIC + _COMPRESSED
    if node.resolve_topic_name(whole) != node.resolve_topic_name(whole, only_expand=True):
        return node.resolve_topic_name(whole)
    return node.resolve_topic_name(IMAGE_TOPIC) + _COMPRESSED
