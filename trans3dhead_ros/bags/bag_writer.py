"""Write serialized messages to a ROS 2 bag (MCAP or SQLite), without rosbag2."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys.store import Typestore

from trans3dhead_ros.bags.message_types import common_types
from trans3dhead_ros.errors import UserError

STORAGE_SUFFIXES = {'mcap': '.mcap', 'sqlite3': '.db3'}
"""Storage plugin of rosbag2 -> suffix of its files."""

_METADATA_VERSION = 8
_UNLIMITED = QosTime(0, 0)

DEFAULT_QOS = Qos(
    QosHistory.KEEP_LAST, 10, QosReliability.RELIABLE, QosDurability.VOLATILE, _UNLIMITED,
    _UNLIMITED, QosLiveliness.AUTOMATIC, _UNLIMITED, False)
"""What the tracker offers on its topics."""


class BagWriter:
    """
    A bag that is being written; use it as a context manager, or `close` it.

    Example::

        with BagWriter('drive') as bag:
            bag.write('/image_raw', 'sensor_msgs/msg/Image', 1_700_000_000_000_000_000, data)

    :param path: folder of the bag; an existing bag is replaced.
    :param storage: one of `STORAGE_SUFFIXES`.
    :raises UserError: if the folder holds anything but a bag.
    """

    def __init__(self, path: str | Path, storage: str = 'mcap') -> None:
        check_replaceable(Path(path))
        shutil.rmtree(path, ignore_errors=True)
        self._types = common_types()
        self._writer = Writer(path, version=_METADATA_VERSION,
                              storage_plugin=StoragePlugin[storage.upper()])
        self._writer.open()
        self._connections: dict[str, Connection] = {}

    def add_topic(
        self, topic: str, message_type: str, *, types: Typestore | None = None,
        qos: Sequence[Qos] | None = None,
    ) -> None:
        """
        Add a topic; `write` adds one with a common type and the default profile by itself.

        :param topic: full name.
        :param message_type: such as 'sensor_msgs/msg/Image'.
        :param types: a type store with the type; None for `common_types`.
        :param qos: profiles that its publishers offered; None for `DEFAULT_QOS`.
        """
        self._connections[topic] = self._writer.add_connection(
            topic, message_type, typestore=types or self._types,
            offered_qos_profiles=[DEFAULT_QOS] if qos is None else list(qos))

    def write(self, topic: str, message_type: str, stamp: int, data: bytes) -> None:
        """
        Append a message.

        :param topic: full name.
        :param message_type: such as 'sensor_msgs/msg/Image'.
        :param stamp: time of recording in ns.
        :param data: the serialized message.
        """
        if topic not in self._connections:
            self.add_topic(topic, message_type)
        self._writer.write(self._connections[topic], stamp, data)

    def close(self) -> None:
        """Complete the bag, which cannot be read before."""
        self._writer.close()

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def check_replaceable(path: Path) -> None:
    """
    Refuse to replace a folder that holds anything but a bag.

    :param path: what would be replaced; it need not exist.
    :raises UserError: if there is another file in it; the message names it.
    """
    if not path.is_dir():
        return
    # SQLite leaves X.db3-journal, -wal and -shm beside a bag that was not closed.
    others = [file.name for file in path.iterdir() if file.name != 'metadata.yaml'
              and not any(suffix in file.name for suffix in STORAGE_SUFFIXES.values())]
    if others:
        raise UserError(f'output: {path} holds something other than a bag, such as '
                        f'{sorted(others)[0]}; it is not replaced')
