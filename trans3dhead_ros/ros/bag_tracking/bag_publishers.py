"""Collect what the outputs of the node publish, to write it to a bag."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.serialization import serialize_message
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosReliability

from trans3dhead_ros.bags.bag_writer import DEFAULT_QOS
from trans3dhead_ros.bags.image_topics import resolve_topic
from trans3dhead_ros.ros.messages import type_name


class BagPublisher:
    """
    Collects the messages of one topic in place of a publisher.

    :param name: full name of the topic.
    :param kind: class of the messages.
    :param qos: profile of the node's publisher.
    :param wanted: whether messages are collected; outputs ask for readers before they build any.
    :param collected: gets topics and serialized messages.
    :ivar name: full name of the topic.
    :ivar type: such as 'trans3dhead/msg/HeadArray'.
    :ivar wanted: whether messages are collected.
    """

    def __init__(
        self, name: str, kind: type, qos: QoSProfile, wanted: bool,
        collected: list[tuple[str, bytes]],
    ) -> None:
        self.name, self.type, self.wanted = name, type_name(kind), wanted
        self._qos = qos
        self._collected = collected

    @property
    def qos(self) -> Qos:
        """The profile that the node's publisher offers."""
        return DEFAULT_QOS._replace(
            history=QosHistory[self._qos.history.name], depth=self._qos.depth,
            reliability=QosReliability[self._qos.reliability.name],
            durability=QosDurability[self._qos.durability.name])

    def publish(self, message: Any) -> None:
        """Collect a message or its bytes."""
        if self.wanted:
            data = message if isinstance(message, bytes) else serialize_message(message)
            self._collected.append((self.name, data))

    def get_subscription_count(self) -> int:
        """Return the number of readers: 1 if messages are collected, else 0."""
        return int(self.wanted)


class BagPublishers:
    """
    What the outputs need of a node: it creates publishers.

    :param namespace: of the topics.
    :param unwanted: topics that are left out, without the namespace.
    """

    def __init__(self, namespace: str, unwanted: Collection[str]) -> None:
        self._namespace = namespace
        self._unwanted = unwanted
        self._publishers: list[BagPublisher] = []
        self._collected: list[tuple[str, bytes]] = []

    @property
    def topics(self) -> dict[str, BagPublisher]:
        """The topics that are written, by full name."""
        return {each.name: each for each in self._publishers if each.wanted}

    def drain(self) -> list[tuple[str, bytes]]:
        """Return topics and messages that were published since the last call, in order."""
        drained = list(self._collected)
        self._collected.clear()
        return drained

    def create_lifecycle_publisher(
        self, kind: type, topic: str, qos: QoSProfile, *,
        qos_overriding_options: QoSOverridingOptions | None = None,
    ) -> BagPublisher:
        """Create a publisher that is active from the start; a bag has no overrides of QoS."""
        publisher = BagPublisher(resolve_topic(self._namespace, topic), kind, qos,
                                 topic not in self._unwanted, self._collected)
        self._publishers.append(publisher)
        return publisher

    create_publisher = create_lifecycle_publisher
