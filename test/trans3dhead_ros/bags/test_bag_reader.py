"""Bags are read whole, compressed in every way, and without what a recorder writes last."""

import os
import sqlite3

import numpy as np
import pytest
from bags import IMAGES, file_of, messages_of, recompress, recorded_at, stamp_of, write_bag
from rosbags.rosbag2 import CompressionMode

from trans3dhead_ros.bags.bag_reader import BagReader
from trans3dhead_ros.errors import UserError

TOPICS = {IMAGES: 'sensor_msgs/msg/Image', '/cam/camera_info': 'sensor_msgs/msg/CameraInfo'}
NOISE = np.random.default_rng(3).integers(0, 256, (4, 24, 32, 3), np.uint8)


def read(path, names=TOPICS):
    """Return the messages and the damage of a bag."""
    with BagReader(path) as reader:
        return [tuple(message) for message in reader.messages(names)], reader.damage


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('as_file', [True, False])
def test_a_whole_bag_is_read_in_order(tmp_path, storage, as_file):
    bag = write_bag(tmp_path / 'bag', NOISE, storage)
    expected = messages_of(bag)
    assert read(file_of(bag) if as_file else bag) == (expected, '')
    with BagReader(bag) as reader:
        assert {name: topic.type for name, topic in reader.topics.items()} == TOPICS
        assert [topic.count for topic in reader.topics.values()] == [4, 4]
        assert [message.stamp for message in reader.messages([IMAGES])] \
            == [recorded_at(index) for index in range(4)]


@pytest.mark.parametrize(('change', 'left'), [
    ('delete from messages where id = 3', 3),
    ("update topics set serialization_format = 'json' where name like '%raw'", 0)])
def test_messages_listed_in_the_metadata_but_missing_are_reported(tmp_path, change, left):
    bag = write_bag(tmp_path / 'bag', NOISE, 'sqlite3')
    with sqlite3.connect(file_of(bag)) as database:
        database.execute(change)
    messages, damage = read(bag)
    assert len(messages) == 4 + left
    assert damage == f'{bag}: {left} of the 4 messages of {IMAGES} were found'


def test_a_pipe_named_like_a_bag_does_not_block(tmp_path):
    os.mkfifo(tmp_path / 'a.mcap')
    with pytest.raises(UserError, match='is not a ROS 2 bag'):
        BagReader(tmp_path)
    write_bag(tmp_path / 'bag', NOISE)
    os.mkfifo(tmp_path / 'bag' / 'z.mcap')
    assert read(tmp_path / 'bag') == (messages_of(tmp_path / 'bag'), '')


@pytest.mark.parametrize('mode', list(CompressionMode)[1:])
def test_a_compressed_bag_is_read_also_without_its_metadata(tmp_path, mode):
    bag = write_bag(tmp_path / 'bag', NOISE)
    compressed = recompress(bag, tmp_path / 'compressed', mode)
    assert read(compressed) == (messages_of(bag), '')
    (compressed / 'metadata.yaml').unlink()
    messages, damage = read(compressed)
    assert messages == messages_of(bag)
    assert 'compressed' in damage


def test_files_of_one_bag_are_read_in_the_order_of_their_numbers(tmp_path):
    folder = tmp_path / 'split'
    folder.mkdir()
    for number in (2, 10):
        bag = write_bag(tmp_path / f'{number}', NOISE[:number // 2 % 4])
        file_of(bag).rename(folder / f'split_{number}.mcap')
    messages, _ = read(folder, [IMAGES])
    assert [stamp for _, stamp, _ in messages] == [recorded_at(0), recorded_at(0)]


def test_the_write_ahead_log_of_a_killed_recorder_is_read(tmp_path):
    bag = write_bag(tmp_path / 'bag', NOISE[:3], 'sqlite3')
    (bag / 'metadata.yaml').unlink()
    # A recorder that writes ahead leaves the newest messages beside the file.
    database = sqlite3.connect(file_of(bag))
    database.execute('PRAGMA journal_mode=WAL')
    database.execute('INSERT INTO messages (topic_id, timestamp, data) SELECT topic_id, ?, data '
                     'FROM messages WHERE id = 1', [stamp_of(5)])
    database.commit()
    messages, damage = read(bag, [IMAGES])
    database.close()
    assert [stamp for _, stamp, _ in messages] == [*map(recorded_at, range(3)), stamp_of(5)]
    assert 'was not closed' in damage


@pytest.mark.parametrize(('name', 'text', 'message'), [
    ('text.mcap', 'this is not a bag', 'is not an MCAP file'),
    ('text.db3', 'this is not a bag', 'cannot be read as a bag'),
    ('text.txt', 'this is not a bag', 'is not a ROS 2 bag'),
    ('cut.mcap', '\x89MCAP0\r\n' + 100 * '\0', 'no topic can be read from this bag'),
])
def test_what_is_not_a_bag_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_bytes(text.encode('latin-1'))
    with pytest.raises(ValueError, match=message) as refusal:
        BagReader(tmp_path / name)
    assert str(refusal.value).count(name) == 1


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match='is not a ROS 2 bag'):
        BagReader(tmp_path)
