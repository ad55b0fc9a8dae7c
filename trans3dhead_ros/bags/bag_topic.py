"""The topics and the messages of a bag."""

from __future__ import annotations

from typing import NamedTuple

from rosbags.interfaces import MessageDefinition, Qos


class Topic(NamedTuple):
    """One topic of a bag."""

    name: str

    type: str
    """Such as 'sensor_msgs/msg/Image'."""

    definition: MessageDefinition
    """Of the type, where the bag has it."""

    count: int = 0
    """Number of messages."""

    qos: tuple[Qos, ...] = ()
    """Profiles that the publishers offered."""


class Message(NamedTuple):
    """One message of a bag."""

    topic: str

    stamp: int
    """Time of recording in ns."""

    data: bytes
    """The serialized message (CDR)."""
