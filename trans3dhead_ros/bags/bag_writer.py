"""Writes serialised messages into a ROS 2 bag (MCAP or SQLite), without rosbag2."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from ament_index_python.packages import get_package_share_directory
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
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from trans3dhead_ros.errors import UserError

#: How the messages of a bag are stored -> the ending of its files.
STORAGES = {'mcap': '.mcap', 'sqlite3': '.db3'}

_METADATA_VERSION = 8
_FOREVER = QosTime(0, 0)


def check_replaceable(path: Path) -> None:
    """Raise `ValueError` where there is a folder with something else than a bag in it."""
    if not path.is_dir():
        return
    # SQLite leaves X.db3-journal, -wal and -shm beside a bag that was not closed.
    others = [file.name for file in path.iterdir() if file.name != 'metadata.yaml'
              and not any(ending in file.name for ending in STORAGES.values())]
    if others:
        raise UserError(f'output: {path} is a folder with other things than a bag in it, such as '
                         f'{sorted(others)[0]}: it is not replaced')


class Bag:
    """
    A bag that is being written; use it as a context manager, or `close` it.

    :param path: folder of the bag; a bag that is there is replaced.
    :param storage: one of `STORAGES`.
    :raises ValueError: where the folder holds something else.
    """

    def __init__(self, path: str | Path, storage: str = 'mcap') -> None:
        check_replaceable(Path(path))
        shutil.rmtree(path, ignore_errors=True)
        self._types = typestore()
        self._writer = Writer(path, version=_METADATA_VERSION,
                              storage_plugin=StoragePlugin[storage.upper()])
        self._writer.open()
        self._connections: dict[str, Connection] = {}

    def declare(
        self, topic: str, message_type: str, *, types: Typestore | None = None,
        qos: Sequence[Qos] | None = None,
    ) -> None:
        """
        Add a topic that is not one of ours; ours declare themselves when they are written.

        :param types: knows the definition; by default that of the common messages and of ours.
        :param qos: that its publishers offered.
        """
        self._connections[topic] = self._writer.add_connection(
            topic, message_type, typestore=types or self._types,
            offered_qos_profiles=[QOS] if qos is None else list(qos))

    def write(self, topic: str, message_type: str, stamp: int, message: bytes) -> None:
        """
        Append a message.

        :param message_type: such as 'sensor_msgs/msg/Image'.
        :param stamp: ns, when it was received.
        :param message: serialised.
        """
        if topic not in self._connections:
            self.declare(topic, message_type)
        self._writer.write(self._connections[topic], stamp, message)

    def close(self) -> None:
        """Complete the bag; without this it cannot be read."""
        self._writer.close()

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def typestore() -> Typestore:
    """Return the definitions of the common messages and of ours."""
    types = get_typestore(Stores.ROS2_HUMBLE)
    folder = Path(get_package_share_directory('trans3dhead')) / 'msg'
    for file in sorted(folder.glob('*.msg')):
        types.register(get_types_from_msg(file.read_text(), f'trans3dhead/msg/{file.stem}'))
    return types


#: What the tracker offers on its topics.
QOS = Qos(QosHistory.KEEP_LAST, 10, QosReliability.RELIABLE, QosDurability.VOLATILE, _FOREVER,
          _FOREVER, QosLiveliness.AUTOMATIC, _FOREVER, False)
