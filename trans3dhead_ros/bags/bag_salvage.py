"""
Reads bags whose end is missing, from the front, as far as they can be read.

A recorder that was killed leaves an MCAP without its index, or an SQLite file without its folder's
metadata; a full disk cuts either anywhere. Readers that begin at the index refuse such files.
"""

from __future__ import annotations

import shutil
import sqlite3
import struct
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

from lz4.frame import LZ4FrameDecompressor
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat

from trans3dhead_ros.bags.bag_topic import Message, Topic
from trans3dhead_ros.errors import UserError

try:
    from backports import zstd
except ImportError:  # Python 3.14 has it
    from compression import zstd

#: What rosbag2 puts behind the name of a file that it has compressed.
PACKED_SUFFIX = '.zstd'
#: No message begins so.
ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'

_MAGIC = b'\x89MCAP0\r\n'
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 0x03, 0x04, 0x05, 0x06
# Writers begin a new chunk after a megabyte or a few; a size beyond this is garbage.
_LARGEST_RECORD = 1 << 28
_PIECE = 1 << 16
_LARGEST_PART = 1 << 20
_MOST_OF_DISK = 0.9
_FORMATS = {'ros2msg': MessageDefinitionFormat.MSG, 'ros2idl': MessageDefinitionFormat.IDL}


class CutMcap:
    """
    An MCAP file that is read record by record; of a chunk that is cut, what was before the cut.

    :raises ValueError: for a file that does not begin as an MCAP.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open('rb') as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise UserError(f'{path}: is no MCAP file')
        self._channels: dict[int, Topic] = {}
        counts: Counter[int] = Counter()
        for message in self._messages():
            counts[message[0]] += 1
        self.topics = [topic._replace(count=counts[channel])
                       for channel, topic in self._channels.items()]

    def messages(self, names: Collection[str]) -> Iterator[Message]:
        """Yield the messages of the topics, in the order of the file."""
        for channel, stamp, data in self._messages():
            topic = self._channels[channel].name
            if topic in names:
                yield Message(topic, stamp, data)

    def close(self) -> None:
        """Nothing stays open between reads."""

    def _messages(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield channel, log time and data; a chunk's in order of time."""
        schemas: dict[int, tuple[str, MessageDefinition]] = {}
        with self._path.open('rb') as file:
            file.seek(len(_MAGIC))
            for opcode, content in _records(file):
                inner = _chunk(content) if opcode == _CHUNK else [(opcode, content)]
                found, damaged = [], False
                try:
                    for record in inner:
                        found.append(self._take(*record, schemas))
                except (struct.error, UnicodeDecodeError):
                    # What stands behind the damage means nothing.
                    damaged = True
                yield from sorted(filter(None, found), key=lambda message: message[1])
                if damaged:
                    return

    def _take(
        self, opcode: int, content: bytes, schemas: dict[int, tuple[str, MessageDefinition]],
    ) -> tuple[int, int, bytes] | None:
        """Note a schema or a channel; return a message."""
        if opcode == _MESSAGE:
            channel, _, stamp, _ = struct.unpack_from('<HIQQ', content)
            return (channel, stamp, content[22:]) if channel in self._channels else None
        if opcode == _SCHEMA:
            key, = struct.unpack_from('<H', content)
            (name, encoding, text), _ = _strings(content, 2, 3)
            definition = MessageDefinition(
                _FORMATS.get(encoding, MessageDefinitionFormat.NONE), text)
            schemas[key] = name, definition
        elif opcode == _CHANNEL:
            key, schema = struct.unpack_from('<HH', content)
            (name, _), _ = _strings(content, 4, 2)
            if schema in schemas:
                self._channels[key] = Topic(name, *schemas[schema])
        return None


class CutSqlite:
    """
    An SQLite file of a bag, read in the order in which it was written.

    :raises ValueError: for a file without the tables of a bag.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with closing(self._connect()) as database:
                topics = database.execute('SELECT id, name, type FROM topics').fetchall()
        except sqlite3.Error as error:
            raise UserError(f'{path}: cannot be read as a bag ({error})') from None
        self._names = {key: name for key, name, _ in topics}
        counts: Counter[str] = Counter(message.topic for message in self._all('topic_id'))
        self.topics = [Topic(name, kind, MessageDefinition(MessageDefinitionFormat.NONE, ''),
                             counts[name]) for _, name, kind in topics]

    def messages(self, names: Collection[str]) -> Iterator[Message]:
        """Yield the messages of the topics, in the order of the file."""
        for message in self._all('data'):
            if message.topic in names:
                yield message

    def close(self) -> None:
        """Nothing stays open between reads."""

    def _all(self, column: str) -> Iterator[Message]:
        with closing(self._connect()) as database:
            rows = database.execute(f'SELECT topic_id, timestamp, {column} FROM messages '
                                    'ORDER BY id')
            while True:
                try:
                    row = rows.fetchone()
                except sqlite3.Error:
                    return
                if row is None:
                    return
                if row[0] in self._names:
                    yield Message(self._names[row[0]], row[1], row[2])

    def _connect(self) -> sqlite3.Connection:
        # Not `immutable`: what a killed recorder left in its journal belongs to the bag.
        database = sqlite3.connect(f'file:{self._path}?mode=ro', uri=True)
        # Else SQLite refuses a file that is shorter than its header says.
        database.execute('PRAGMA writable_schema=ON')
        return database


def _records(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield opcode and content; a chunk also where it is cut, any other record when it is whole."""
    while len(head := stream.read(9)) == 9:
        opcode, size = head[0], int.from_bytes(head[1:], 'little')
        content = stream.read(min(size, _LARGEST_RECORD))
        if len(content) == size or opcode == _CHUNK:
            yield opcode, content
        if len(content) < size:
            return


def _chunk(content: bytes) -> list[tuple[int, bytes]]:
    """Return the records of a chunk up to the cut; none where its checksum is wrong."""
    if len(content) < 28:
        return []
    _, _, size, checksum = struct.unpack_from('<QQQI', content)
    try:
        (compression,), at = _strings(content, 28, 1)
    except (struct.error, UnicodeDecodeError):
        return []
    data = _decompressed(compression, content[at + 8:])
    if len(data) == size and checksum and crc32(data) != checksum:
        return []
    return list(_records(BytesIO(data)))


def unpacked(data: bytes) -> bytes:
    """Return what can be decompressed of zstd's output."""
    return _decompressed('zstd', data)


def unpack_file(source: Path, target: Path) -> None:
    """Decompress a file as far as that goes."""
    decompressor = zstd.ZstdDecompressor()
    # A few bytes may say that they are a disk full.
    limit = round(_MOST_OF_DISK * shutil.disk_usage(target.parent).free)
    with source.open('rb') as packed, target.open('wb') as file:
        for part in _pieces(decompressor, iter(lambda: packed.read(_PIECE), b''), limit):
            file.write(part)


def _decompressed(compression: str, data: bytes) -> bytes:
    if not compression:
        return data
    makers: dict[str, Any] = {'zstd': zstd.ZstdDecompressor, 'lz4': LZ4FrameDecompressor}
    if compression not in makers:
        return b''
    pieces = (data[at:at + _PIECE] for at in range(0, len(data), _PIECE))
    return b''.join(_pieces(makers[compression](), pieces, _LARGEST_RECORD))


def _pieces(decompressor: Any, packed: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Yield what comes out, up to damage, the end, or so many bytes."""
    made = 0
    for piece in packed:
        while True:
            # The libraries have an error class each, and either means that here is the damage.
            try:
                part = decompressor.decompress(piece, max_length=_LARGEST_PART)
            except Exception:
                return
            made += len(part)
            if made > limit:
                return
            yield part
            if decompressor.eof:
                return
            if decompressor.needs_input:
                break
            piece = b''


def _strings(content: bytes, at: int, count: int) -> tuple[list[str], int]:
    """Return strings that follow each other, each behind its length, and where they end."""
    found = []
    for _ in range(count):
        size, = struct.unpack_from('<I', content, at)
        found.append(content[at + 4:at + 4 + size].decode())
        at += 4 + size
    return found, at
