"""
The messages of a run that is not finished: an MCAP file that a later run appends to.

The messages of each image are followed by a metadata record with the progress of the run. Whatever
comes after the last of these records belongs to an image that was not finished; the next run cuts
it off.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from mcap.records import Channel, McapRecord, Message, Metadata
from mcap.writer import MCAP0_MAGIC, CompressionType, IndexType, Writer

from trans3dhead_ros.bags.bag_recovery import mcap_records
from trans3dhead_ros.bags.message_types import common_types
from trans3dhead_ros.errors import UserError

_OPTIONS, _PROGRESS = 'trans3dhead options', 'trans3dhead progress'


class TrackedMessage(NamedTuple):
    """One message of the tracker about an image."""

    topic: str

    stamp: int
    """Time of recording of the image in ns."""

    image: int
    """Index of the image in its topic, from 0."""

    data: bytes
    """The serialized message."""


class PartialBag:
    """
    A file that is being appended to; use it as a context manager, or `close` it.

    :param path: the file; made with its folder if it does not exist.
    :param options: what the messages depend on, as JSON values.
    :param topics: the topics of the messages, and their types.
    :param restart: discard what a run with other options has left.
    :ivar progress: of the run before, as it was given to `commit`; None at the start.
    :raises UserError: if a run with other options has left the file, another run is writing it, or
        it is not of a run.
    """

    def __init__(
        self, path: Path, options: Mapping[str, Any], topics: Mapping[str, str],
        restart: bool = False,
    ) -> None:
        self.progress: dict[str, Any] | None = None
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open('a+b')
        try:
            self._lock()
            self._file.truncate(self._resume({**options, 'topics': dict(topics)}, restart))
            self._writer, self._channels = self._start(options, topics)
        except BaseException:
            self.close()
            raise

    def append(self, topic: str, stamp: int, data: bytes) -> None:
        """
        Append a message about the current image.

        :param topic: one of the topics.
        :param stamp: time of recording of the image in ns.
        :param data: the serialized message.
        """
        self._writer.add_message(self._channels[topic], stamp, data, stamp)

    def commit(self, progress: Mapping[str, Any]) -> None:
        """
        Complete the current image: a later run resumes after it.

        :param progress: JSON values; `images` is the number of images so far.
        """
        self._writer.add_metadata(_PROGRESS, {'json': json.dumps(progress)})
        # To the operating system: a run that is killed loses nothing of the image.
        self._file.flush()

    def messages(self) -> Iterator[TrackedMessage]:
        """Yield all messages of complete images."""
        topics: dict[int, str] = {}
        current: list[Message] = []
        for record in self._records():
            if isinstance(record, Channel):
                topics[record.id] = record.topic
            elif isinstance(record, Message):
                current.append(record)
            elif isinstance(record, Metadata) and record.name == _PROGRESS:
                image = json.loads(record.metadata['json'])['images'] - 1
                for message in current:
                    yield TrackedMessage(topics[message.channel_id], message.log_time, image,
                                         message.data)
                current = []

    def close(self) -> None:
        """Leave the file to a later run."""
        self._file.close()

    def __enter__(self) -> PartialBag:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f'output: another run is writing {self._path}') from None

    def _resume(self, options: dict[str, Any], restart: bool) -> int:
        """Set the progress of the run before and return how many bytes of the file are valid."""
        if not self._path.stat().st_size:
            return 0
        before, end = None, 0
        for record in self._records():
            if isinstance(record, Metadata) and record.name == _OPTIONS:
                before, end = json.loads(record.metadata['json']), self._file.tell()
            elif isinstance(record, Metadata) and record.name == _PROGRESS:
                self.progress, end = json.loads(record.metadata['json']), self._file.tell()
        if before is None:
            raise UserError(f'output: {self._path} was not left by a run of this command; '
                            'move it elsewhere')
        # As they come back from JSON.
        options = json.loads(json.dumps(options))
        if before == options:
            return end
        if not restart:
            names = sorted(name for name in {*before, *options}
                           if before.get(name) != options.get(name))
            raise UserError(f'output: {self._path} was left by a run with another '
                            f'{" and ".join(names)}; repeat that command, or start over with '
                            '--force')
        self.progress = None
        return 0

    def _start(
        self, options: Mapping[str, Any], topics: Mapping[str, str],
    ) -> tuple[Writer, dict[str, int]]:
        """Return a writer and the ids of its channels."""
        writer = Writer(self._file, compression=CompressionType.NONE, use_chunking=False,
                        index_types=IndexType.NONE)
        resumed = self._path.stat().st_size > 0
        if not resumed:
            writer.start('ros2', 'trans3dhead')
        # A file may repeat schemas and channels; those of the same topics have the same ids.
        types, channels = common_types(), {}
        for topic, kind in topics.items():
            definition, _ = types.generate_msgdef(kind, ros_version=2)
            schema = writer.register_schema(kind, 'ros2msg', definition.encode())
            channels[topic] = writer.register_channel(topic, 'cdr', schema)
        if not resumed:
            text = json.dumps({**options, 'topics': dict(topics)})
            writer.add_metadata(_OPTIONS, {'json': text})
        try:
            self._file.flush()
        except OSError:
            # A header that is cut off would be of no run.
            self._path.unlink()
            raise
        return writer, channels

    def _records(self) -> Iterator[McapRecord]:
        self._file.flush()
        self._file.seek(len(MCAP0_MAGIC))
        yield from mcap_records(self._file)
