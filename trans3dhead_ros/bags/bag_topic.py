"""What a bag is made of: topics and messages."""

from __future__ import annotations

from typing import NamedTuple

from rosbags.interfaces import MessageDefinition, Qos


class Topic(NamedTuple):
    """One topic of a bag."""

    name: str
    #: Such as 'sensor_msgs/msg/Image'.
    type: str
    definition: MessageDefinition
    count: int = 0
    qos: tuple[Qos, ...] = ()


class Message(NamedTuple):
    """One message of a bag."""

    topic: str
    #: ns, when it was recorded.
    stamp: int
    #: Serialised.
    data: bytes
