"""Reads ROS 2 bags, also damaged ones: an MCAP, an SQLite file, or a folder with either."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Protocol

from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from trans3dhead_ros.bags.bag_salvage import (
    PACKED_SUFFIX,
    ZSTD_MAGIC,
    CutMcap,
    CutSqlite,
    unpack_file,
    unpacked,
)
from trans3dhead_ros.bags.bag_topic import Message, Topic
from trans3dhead_ros.errors import UserError

_CUT = {'.mcap': CutMcap, '.db3': CutSqlite}


class _Part(Protocol):
    """A file of a bag, or a whole bag."""

    topics: list[Topic]

    def messages(self, names: Collection[str]) -> Iterator[Message]:
        """Yield the messages of the topics."""

    def close(self) -> None:
        """Close the file."""


class BagReader:
    """
    A bag that is open for reading; use it as a context manager, or `close` it.

    Of a bag that is damaged everything before the damage is read; `damage` says then what is wrong
    with it, at the latest when its messages have been read.

    :raises ValueError: when it cannot be read as a bag at all.
    """

    def __init__(self, path: str | Path) -> None:
        #: One line, or empty.
        self.damage = ''
        self._parts: list[_Part] = []
        self._unpacked: TemporaryDirectory | None = None
        self._path = path = Path(path)
        files = bag_files(path)
        try:
            if any(map(_was_left_open, files)):
                raise UserError('its recorder did not close it')
            self._parts.append(_Whole(path))
        except Exception as error:
            # Damaged files make rosbags stumble in many ways.
            self.damage = f'{path}: {_reason(error)}'
            self._parts += filter(None, map(self._opened, files))
        self.topics: dict[str, Topic] = {}
        for topic in (topic for part in self._parts for topic in part.topics):
            count = self.topics[topic.name].count if topic.name in self.topics else 0
            self.topics[topic.name] = topic._replace(count=count + topic.count)
        if not self.topics:
            self.close()
            raise UserError(self.damage or f'{path}: the bag is empty')

    def messages(self, names: Collection[str]) -> Iterator[Message]:
        """Yield the messages of the topics in the order of time, up to the first damage."""
        for part in self._parts:
            try:
                for message in part.messages(names):
                    # Only a bag's metadata says that its messages are packed one by one.
                    packed = message.data.startswith(ZSTD_MAGIC)
                    yield message._replace(data=unpacked(message.data)) if packed else message
            except GeneratorExit:
                raise
            except Exception as error:
                self.damage = self.damage or f'{self._path}: {_reason(error)}'
                return

    def close(self) -> None:
        """Close all files."""
        for part in self._parts:
            part.close()
        self._parts = []
        if self._unpacked is not None:
            self._unpacked.cleanup()

    def __enter__(self) -> BagReader:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _opened(self, file: Path) -> _Part | None:
        """Return a file as a whole or else as far as it goes; None for one that is no bag."""
        if file.suffix == PACKED_SUFFIX:
            self._unpacked = self._unpacked or TemporaryDirectory()
            target = Path(self._unpacked.name) / file.stem
            unpack_file(file, target)
            file = target
        whole = [] if _was_left_open(file) else [_Whole]
        for kind in (*whole, _CUT[file.suffix]):
            try:
                return kind(file)
            except Exception as error:
                self.damage = f'{file}: {_reason(error)}'
        return None


class _Whole:
    """A bag that rosbags can read."""

    def __init__(self, path: Path) -> None:
        self._reader = Reader(path)
        self._reader.open()
        self.topics = [Topic(c.topic, c.msgtype, c.msgdef, c.msgcount,
                             tuple(c.ext.offered_qos_profiles))
                       for c in self._reader.connections]

    def messages(self, names: Collection[str]) -> Iterator[Message]:
        """Yield the messages of the topics, in the order of time."""
        chosen = [c for c in self._reader.connections if c.topic in names]
        if chosen:
            for connection, stamp, data in self._reader.messages(chosen):
                yield Message(connection.topic, stamp, bytes(data))

    def close(self) -> None:
        """Close the bag."""
        self._reader.close()


def bag_files(path: Path) -> list[Path]:
    """
    Return the files with the messages of a bag, in the order of their numbers.

    :raises ValueError: where there is none.
    """
    if path.is_file() and path.suffix in _CUT:
        return [path]
    if path.is_dir():
        files = [file for file in path.iterdir() if {*file.suffixes} & {*_CUT}
                 and file.suffix in (*_CUT, PACKED_SUFFIX)]
        if files:
            return sorted(files, key=lambda file: [
                int(part) if part.isdigit() else part for part in re.split(r'(\d+)', file.name)])
    raise UserError(f'{path}: is no ROS 2 bag (.mcap, .db3, or a folder with one of them)')


def definitions(topic: Topic, known: Typestore) -> Typestore:
    """
    Return what defines the type of a topic: the bag itself where it does, else `known`.

    :raises ValueError: where neither does.
    """
    if topic.definition.format == MessageDefinitionFormat.MSG:
        found = get_types_from_msg(topic.definition.data, topic.type)
    elif topic.definition.format == MessageDefinitionFormat.IDL:
        found = {}
        for part in re.split(r'^=+\nIDL: .*\n', topic.definition.data, flags=re.MULTILINE):
            found.update(get_types_from_idl(part) if part.strip() else {})
    elif topic.type in known.types:
        return known
    else:
        raise UserError(f'{topic.name}: the bag does not define its type {topic.type}')
    types = get_typestore(Stores.EMPTY)
    types.register(found)
    return types


def _was_left_open(file: Path) -> bool:
    """Whether SQLite has messages beside the file, where rosbags does not look."""
    journal = Path(f'{file}-wal')
    return journal.exists() and journal.stat().st_size > 0


def _reason(error: Exception) -> str:
    text = ' '.join(str(error).split())
    return text or type(error).__name__
