"""Takes the place of the node for its outputs: what they publish is kept for a bag."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosReliability

from trans3dhead_ros.bags.bag_writer import QOS
from trans3dhead_ros.ros.bag_tracking.bag_options import full_name


class BagPublisher:
    """
    One topic.

    :ivar name: in full.
    :ivar type: such as 'trans3dhead/msg/HeadArray'.
    :ivar wanted: whether its messages are kept; outputs ask for readers before they build any.
    """

    def __init__(
        self, name: str, kind: type, qos: QoSProfile, wanted: bool, kept: list[tuple[str, bytes]],
    ) -> None:
        package, group = kind.__module__.split('.')[:2]
        self.name, self.type, self.wanted = name, f'{package}/{group}/{kind.__name__}', wanted
        self._qos = qos
        self._kept = kept

    @property
    def qos(self) -> Qos:
        """What the publisher of the node offers."""
        return QOS._replace(
            history=QosHistory[self._qos.history.name], depth=self._qos.depth,
            reliability=QosReliability[self._qos.reliability.name],
            durability=QosDurability[self._qos.durability.name])

    def publish(self, message: Any) -> None:
        """Keep a message, or its bytes."""
        if self.wanted:
            data = message if isinstance(message, bytes) else serialize_message(message)
            self._kept.append((self.name, data))

    def get_subscription_count(self) -> int:
        """Return how many read this: the bag, or nobody."""
        return int(self.wanted)


class BagPublishers:
    """
    What outputs need of a node.

    :param namespace: of the topics.
    :param unwanted: topics that are left out, without the namespace.
    :raises ValueError: for what is no namespace.
    """

    def __init__(self, namespace: str, unwanted: Collection[str]) -> None:
        full_name(namespace, 'heads')
        self._namespace = namespace
        self._unwanted = unwanted
        self._publishers: list[BagPublisher] = []
        self._kept: list[tuple[str, bytes]] = []

    @property
    def topics(self) -> dict[str, BagPublisher]:
        """The topics that are kept, by full name."""
        return {made.name: made for made in self._publishers if made.wanted}

    def taken(self) -> list[tuple[str, bytes]]:
        """Return what was published since the last call: topics and bytes, in order."""
        taken = list(self._kept)
        self._kept.clear()
        return taken

    def create_lifecycle_publisher(self, kind: type, topic: str, qos: QoSProfile) -> BagPublisher:
        """Make a publisher that is heard from the start."""
        made = BagPublisher(full_name(self._namespace, topic), kind, qos,
                            topic not in self._unwanted, self._kept)
        self._publishers.append(made)
        return made

    create_publisher = create_lifecycle_publisher
