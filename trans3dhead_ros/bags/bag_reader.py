"""Read ROS 2 bags, including damaged ones: MCAP files, SQLite files, or folders with either."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Protocol

from rosbags.rosbag2 import Reader

from trans3dhead_ros.bags.bag_files import COMPRESSED_FILE_SUFFIX, bag_files
from trans3dhead_ros.bags.bag_recovery import (
    ZSTD_MAGIC,
    TruncatedMcap,
    TruncatedSqlite,
    decompress_file,
    decompressed,
)
from trans3dhead_ros.bags.bag_topic import Message, Topic
from trans3dhead_ros.errors import UserError

_TRUNCATED = {'.mcap': TruncatedMcap, '.db3': TruncatedSqlite}


class _Source(Protocol):
    """A file of a bag, or a whole bag."""

    topics: list[Topic]

    def messages(self, names: Collection[str]) -> Iterator[Message]:
        """Yield the messages of the topics."""

    def close(self) -> None:
        """Close the file."""


class BagReader:
    """
    A bag that is open for reading; use it as a context manager, or `close` it.

    Of a damaged bag, everything before the damage is read.

    Example::

        with BagReader('drive.mcap') as bag:
            for message in bag.messages(['/image_raw']):
                print(message.stamp, len(message.data))
        print(bag.damage or 'the bag is whole')

    :param path: an MCAP or SQLite file, or the folder of a bag.
    :ivar topics: the topics by name.
    :ivar damage: one line that says what is damaged, complete once all messages are read; empty for
        a whole bag.
    :raises UserError: if it cannot be read as a bag at all.
    """

    def __init__(self, path: str | Path) -> None:
        self.damage = ''
        self._sources: list[_Source] = []
        self._decompressed: TemporaryDirectory | None = None
        self._path = path = Path(path)
        files = bag_files(path)
        try:
            if any(map(_has_write_ahead_log, files)):
                raise UserError('the recording was not closed (write-ahead log present)')
            self._sources.append(_RosbagsReader(path))
        except Exception as error:
            # rosbags fails in many ways on damaged files.
            self.damage = _damage(path, error)
            self._sources += filter(None, map(self._open, files))
        self.topics: dict[str, Topic] = {}
        for topic in (topic for source in self._sources for topic in source.topics):
            count = self.topics[topic.name].count if topic.name in self.topics else 0
            self.topics[topic.name] = topic._replace(count=count + topic.count)
        if not self.topics:
            self.close()
            raise UserError(f'{self.damage or path}: no topic can be read from this bag')

    def messages(self, names: Collection[str]) -> Iterator[Message]:
        """Yield the messages of the topics in order of time, up to the first damage."""
        found = Counter[str]()
        for source in self._sources:
            try:
                for message in source.messages(names):
                    # Only the metadata of a bag say that its messages are compressed one by one.
                    compressed = message.data.startswith(ZSTD_MAGIC)
                    found[message.topic] += 1
                    yield message._replace(data=decompressed(message.data)) if compressed \
                        else message
            except GeneratorExit:
                raise
            except Exception as error:
                self.damage = self.damage or _damage(self._path, error)
                return
        for topic in self.topics.values():
            if topic.name in names and found[topic.name] < topic.count and not self.damage:
                self.damage = (f'{self._path}: {found[topic.name]} of the {topic.count} messages '
                               f'of {topic.name} were found')

    def close(self) -> None:
        """Close all files."""
        for source in self._sources:
            source.close()
        self._sources = []
        if self._decompressed is not None:
            self._decompressed.cleanup()

    def __enter__(self) -> BagReader:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _open(self, file: Path) -> _Source | None:
        """Open a file in full, else up to the damage; None if it is not a bag file."""
        if file.suffix == COMPRESSED_FILE_SUFFIX:
            self._decompressed = self._decompressed or TemporaryDirectory()
            target = Path(self._decompressed.name) / file.stem
            decompress_file(file, target)
            file = target
        whole = [] if _has_write_ahead_log(file) else [_RosbagsReader]
        for kind in (*whole, _TRUNCATED[file.suffix]):
            try:
                return kind(file)
            except Exception as error:
                self.damage = _damage(file, error)
        return None


class _RosbagsReader:
    """A bag or a file that rosbags can read."""

    def __init__(self, path: Path) -> None:
        self._reader = Reader(path)
        self._reader.open()
        self.topics = [Topic(c.topic, c.msgtype, c.msgdef, c.msgcount,
                             tuple(c.ext.offered_qos_profiles))
                       for c in self._reader.connections]

    def messages(self, names: Collection[str]) -> Iterator[Message]:
        """Yield the messages of the topics in order of time."""
        chosen = [c for c in self._reader.connections if c.topic in names]
        if chosen:
            for connection, stamp, data in self._reader.messages(chosen):
                yield Message(connection.topic, stamp, bytes(data))

    def close(self) -> None:
        """Close the bag."""
        self._reader.close()


def _has_write_ahead_log(file: Path) -> bool:
    """Whether SQLite has messages beside the file, where rosbags does not look."""
    log = Path(f'{file}-wal')
    return log.exists() and log.stat().st_size > 0


def _damage(path: Path, error: Exception) -> str:
    """Return one line that names the file and what is wrong with it."""
    text = ' '.join(str(error).split()).removeprefix(f'{path}: ')
    return f'{path}: {text or type(error).__name__}'
