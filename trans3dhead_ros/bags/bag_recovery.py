"""
Read bags whose end is missing, from the front up to the last whole message.

A recorder that was killed leaves an MCAP file without its index, or an SQLite file without the
metadata of its folder; a full disk cuts off either anywhere. Readers that begin at the index refuse
such files.
"""

from __future__ import annotations

import shutil
import sqlite3
import struct
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

import lz4.frame
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, McapRecord, Metadata, Schema
from mcap.records import Message as McapMessage
from mcap.writer import MCAP0_MAGIC
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat

from trans3dhead_ros.bags.bag_topic import Message, Topic
from trans3dhead_ros.errors import UserError

ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'
"""How compressed data begin; no serialized message does."""

# Writers begin a new chunk after a few megabytes. A larger size is damage, or an attack on memory.
_MAX_RECORD_BYTES = 1 << 28
_PIECE_BYTES = 1 << 20
_MAX_DISK_SHARE = 0.9
_FORMATS = {'ros2msg': MessageDefinitionFormat.MSG, 'ros2idl': MessageDefinitionFormat.IDL}
_KINDS = {Opcode.CHANNEL: Channel, Opcode.CHUNK: Chunk, Opcode.METADATA: Metadata,
          Opcode.SCHEMA: Schema}


class TruncatedMcap:
    """
    An MCAP file without its end; of a chunk that is cut off, the messages before the cut are read.

    :param path: the file.
    :ivar topics: the topics and how many messages of each can be read.
    :raises UserError: if it is not an MCAP file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open('rb') as file:
            if file.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
                raise UserError(f'{path}: is not an MCAP file')
        self._topics: dict[int, Topic] = {}
        counts = Counter(message.channel_id for message in self._messages())
        self.topics = [topic._replace(count=counts[channel])
                       for channel, topic in self._topics.items()]

    def messages(self, names: Collection[str]) -> Iterator[Message]:
        """Yield the messages of the topics in the order of the file."""
        for message in self._messages():
            topic = self._topics[message.channel_id].name
            if topic in names:
                yield Message(topic, message.log_time, message.data)

    def close(self) -> None:
        """Do nothing: no file stays open between reads."""

    def _messages(self) -> Iterator[McapMessage]:
        """Yield the messages, sorted by time within each chunk; note schemas and channels."""
        schemas: dict[int, Schema] = {}
        with self._path.open('rb') as file:
            file.seek(len(MCAP0_MAGIC))
            for record in mcap_records(file, cut_chunk=True):
                inner = _chunk_records(record) if isinstance(record, Chunk) else [record]
                found = []
                for each in inner:
                    if isinstance(each, Schema):
                        schemas[each.id] = each
                    elif isinstance(each, Channel) and each.schema_id in schemas:
                        self._topics[each.id] = _topic(each, schemas[each.schema_id])
                    elif isinstance(each, McapMessage) and each.channel_id in self._topics:
                        found.append(each)
                yield from sorted(found, key=lambda message: message.log_time)


class TruncatedSqlite:
    """
    An SQLite file of a bag, read in the order in which it was written.

    :param path: the file.
    :ivar topics: the topics and how many messages of each can be read.
    :raises UserError: if it does not have the tables of a bag.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with closing(self._connect()) as database:
                topics = database.execute('SELECT id, name, type FROM topics').fetchall()
        except sqlite3.Error as error:
            raise UserError(f'{path}: cannot be read as a bag ({error})') from None
        self._names = {key: name for key, name, _ in topics}
        counts = Counter(message.topic for message in self._messages('topic_id'))
        self.topics = [Topic(name, kind, MessageDefinition(MessageDefinitionFormat.NONE, ''),
                             counts[name]) for _, name, kind in topics]

    def messages(self, names: Collection[str]) -> Iterator[Message]:
        """Yield the messages of the topics in the order of the file."""
        for message in self._messages('data'):
            if message.topic in names:
                yield message

    def close(self) -> None:
        """Do nothing: no file stays open between reads."""

    def _messages(self, column: str) -> Iterator[Message]:
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
        # Not `immutable`: what a killed recorder left in the write-ahead log belongs to the bag.
        database = sqlite3.connect(f'file:{self._path}?mode=ro', uri=True)
        # Without it SQLite refuses a file that is shorter than its header says.
        database.execute('PRAGMA writable_schema=ON')
        return database


def mcap_records(stream: BinaryIO, cut_chunk: bool = False) -> Iterator[McapRecord]:
    """
    Yield the records of an MCAP stream up to the first that is damaged or cut off.

    Only channels, chunks, messages, metadata and schemas are yielded.

    :param stream: positioned after the magic bytes; after each record, it is positioned after it.
    :param cut_chunk: yield a last chunk that is cut off, too, with the data that are there.
    """
    while len(head := stream.read(9)) == 9:
        opcode, size = struct.unpack('<BQ', head)
        content = stream.read(min(size, _MAX_RECORD_BYTES))
        whole = len(content) == size
        if whole or (cut_chunk and opcode == Opcode.CHUNK):
            try:
                record = _record(opcode, content)
            except (McapError, struct.error, UnicodeDecodeError):
                return
            if record is not None:
                yield record
        if not whole:
            return


def decompressed(data: bytes, compression: str = 'zstd') -> bytes:
    """
    Decompress as far as possible: up to damage, the end, or a limit of 256 MB.

    :param data: compressed data, perhaps cut off.
    :param compression: 'zstd', 'lz4', or empty for none; of any other, nothing can be decompressed.
    :return: the decompressed data.
    """
    if not compression:
        return data
    if compression not in _DECOMPRESSORS:
        return b''
    return b''.join(_pieces(_DECOMPRESSORS[compression](BytesIO(data)), _MAX_RECORD_BYTES))


def decompress_file(source: Path, target: Path) -> None:
    """Decompress a zstd file as far as possible, up to 90 % of the free space of the disk."""
    # A few bytes may claim to be a disk full.
    limit = round(_MAX_DISK_SHARE * shutil.disk_usage(target.parent).free)
    with source.open('rb') as compressed, target.open('wb') as file:
        for piece in _pieces(_DECOMPRESSORS['zstd'](compressed), limit):
            file.write(piece)


_DECOMPRESSORS: dict[str, Any] = {
    'zstd': lambda stream: zstandard.ZstdDecompressor().stream_reader(stream),
    'lz4': lz4.frame.open,
}


def _pieces(stream: Any, limit: int) -> Iterator[bytes]:
    """Yield what a decompressing stream gives, up to damage, the end, or a number of bytes."""
    size = 0
    while True:
        try:
            piece = stream.read1(_PIECE_BYTES)
        except Exception:
            # Each library has its own error classes; all of them mean that here is the damage.
            return
        size += len(piece)
        if not piece or size > limit:
            return
        yield piece


def _record(opcode: int, content: bytes) -> McapRecord | None:
    stream = ReadDataStream(BytesIO(content))
    if opcode == Opcode.MESSAGE:
        return McapMessage.read(stream, len(content))
    kind = _KINDS.get(opcode)
    return kind.read(stream) if kind else None


def _chunk_records(chunk: Chunk) -> list[McapRecord]:
    """Return the records of a chunk up to the cut; none if its checksum is wrong."""
    data = decompressed(chunk.data, chunk.compression)
    if len(data) == chunk.uncompressed_size and chunk.uncompressed_crc \
            and crc32(data) != chunk.uncompressed_crc:
        return []
    return list(mcap_records(BytesIO(data)))


def _topic(channel: Channel, schema: Schema) -> Topic:
    definition = MessageDefinition(_FORMATS.get(schema.encoding, MessageDefinitionFormat.NONE),
                                   schema.data.decode(errors='replace'))
    return Topic(channel.topic, schema.name, definition)
