"""A bag that is cut off or damaged is read up to there; no bag can fill the memory."""

import struct

import numpy as np
import pytest
import zstandard
from bags import IMAGES, file_of, messages_of, recompress, recorded_at, write_bag
from mcap.writer import CompressionType, Writer

from trans3dhead_ros.bags import bag_recovery
from trans3dhead_ros.bags.bag_reader import BagReader

NOISE = np.random.default_rng(3).integers(0, 256, (8, 48, 64, 3), np.uint8)


def read(path):
    """Return the times of recording of the images of a bag, and its damage."""
    with BagReader(path) as reader:
        return [message.stamp for message in reader.messages([IMAGES])], reader.damage


@pytest.mark.parametrize('share', [0.2, 0.5, 0.8, 0.97])
def test_a_cut_mcap_is_read_to_its_last_whole_message(tmp_path, share):
    bag = write_bag(tmp_path / 'bag', NOISE)
    file = file_of(bag)
    data, images = file.read_bytes(), [m for m in messages_of(bag) if m[0] == IMAGES]
    cut = round(share * data.index(b'metadata'))
    whole = [stamp for _, stamp, image in images if data.index(image) + len(image) <= cut]
    file.write_bytes(data[:cut])
    stamps, damage = read(bag)
    assert stamps == whole and 0 < len(stamps) < 8
    assert str(bag) in damage


@pytest.mark.parametrize('compression', list(CompressionType))
@pytest.mark.parametrize('chunked', [True, False])
def test_every_compression_of_chunks_is_recovered(tmp_path, compression, chunked):
    path = tmp_path / 'cut.mcap'
    with path.open('wb') as stream:
        writer = Writer(stream, compression=compression, chunk_size=40_000, use_chunking=chunked)
        writer.start('ros2')
        schema = writer.register_schema('sensor_msgs/msg/Image', 'ros2msg', b'uint8[] data')
        channel = writer.register_channel(IMAGES, 'cdr', schema)
        for index, image in enumerate(NOISE):
            writer.add_message(channel, recorded_at(index), image.tobytes(), 0)
        writer.flush()
    # No index and no end; the last bytes of the last message are missing as well.
    path.write_bytes(path.read_bytes()[:-1000])
    with BagReader(path) as reader:
        assert reader.damage
        messages = list(reader.messages([IMAGES]))
        assert reader.topics[IMAGES].count == len(messages)
    assert 4 <= len(messages) < 8
    for index, message in enumerate(messages):
        assert message == (IMAGES, recorded_at(index), NOISE[index].tobytes())


@pytest.mark.parametrize(('storage', 'compressed'), [('mcap', True), ('sqlite3', False)])
def test_what_comes_before_the_cut_is_read(tmp_path, storage, compressed):
    images = np.random.default_rng(3).integers(0, 256, (8, 240, 320, 3), np.uint8)
    bag = write_bag(tmp_path / 'bag', images, storage)
    if compressed:
        bag = recompress(bag, tmp_path / 'compressed')
    file = file_of(bag)
    data = file.read_bytes()
    file.write_bytes(data[:len(data) * 2 // 3])
    stamps, damage = read(bag)
    assert 4 <= len(stamps) < 8
    assert stamps == [recorded_at(index) for index in range(len(stamps))]
    assert damage


def test_reading_stops_at_damage_in_the_middle(tmp_path):
    # Of few values: noise would not be compressed.
    images = np.random.default_rng(3).integers(0, 4, (14, 240, 320, 3), np.uint8)
    bag = recompress(write_bag(tmp_path / 'bag', images), tmp_path / 'compressed')
    file = file_of(bag)
    data = bytearray(file.read_bytes())
    half = len(data) // 2
    data[half:half + 2000] = bytes(2000)
    file.write_bytes(bytes(data))
    stamps, damage = read(bag)
    assert 'compressed' in damage
    assert 0 < len(stamps) < 14
    assert stamps == [recorded_at(index) for index in range(len(stamps))]


def test_reading_stops_at_a_garbled_record(tmp_path):
    file = file_of(write_bag(tmp_path / 'bag', NOISE))
    data = file.read_bytes()
    expected, _ = read(file)
    assert expected
    # In the place of the index, a channel that claims a longer name than its record has.
    record = struct.pack('<HHI', 7, 7, 1 << 20) + b'short'
    end = data.rindex(b'\x0f' + struct.pack('<Q', 4))
    cut = tmp_path / 'cut.mcap'
    cut.write_bytes(data[:end] + b'\x04' + struct.pack('<Q', len(record)) + record)
    stamps, damage = read(cut)
    assert stamps == expected
    assert damage


def test_reading_stops_at_a_record_that_claims_to_be_huge(tmp_path):
    file = file_of(write_bag(tmp_path / 'bag', NOISE))
    data = file.read_bytes()
    end = data.rindex(b'\x0f' + struct.pack('<Q', 4))
    file.write_bytes(data[:end] + b'\x05' + struct.pack('<Q', 1 << 62))
    stamps, damage = read(file)
    assert stamps == [recorded_at(index) for index in range(8)]
    assert damage


def test_a_few_bytes_do_not_fill_the_memory(tmp_path):
    bomb = zstandard.compress(bytes(1 << 29))
    assert len(bomb) < 1 << 20
    assert len(bag_recovery.decompressed(bomb)) <= 1 << 28
    (tmp_path / 'a.zstd').write_bytes(zstandard.compress(b'whole' * 100_000))
    bag_recovery.decompress_file(tmp_path / 'a.zstd', tmp_path / 'a')
    assert (tmp_path / 'a').read_bytes() == b'whole' * 100_000
