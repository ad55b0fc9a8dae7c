"""`trans3dhead track BAG` writes the messages of the node, with the stamps of the recording."""

import json
import subprocess
import sys

import cv2
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from bags import (
    FRAME,
    compressed_image,
    file_of,
    heads_of,
    messages_of,
    raw_image,
    recorded_at,
    stamp_ns,
    stamp_of,
    types,
    write_bag,
)
from rosbags.rosbag2 import Reader

from trans3dhead_ros.bags.bag_writer import BagWriter

pytestmark = pytest.mark.ros
TRACKED = {'/heads', '/head_pose', '/head_landmarks', '/tf'}


@pytest.mark.parametrize(('storage', 'as_file', 'output', 'compressed'), [
    ('mcap', True, 'out.mcap', False),
    ('mcap', False, 'out', True),
    ('sqlite3', False, 'out.mcap', True),
    ('sqlite3', True, 'out.db3', False),
])
def test_every_image_is_processed_in_every_format(
        images, tmp_path, track, storage, as_file, output, compressed):
    bag = write_bag(tmp_path / 'bag', images[1:4], storage, compressed=compressed)
    output = tmp_path / 'new' / output
    assert track(file_of(bag) if as_file else bag, output) == 0
    written = messages_of(output)
    assert {topic for topic, *_ in written} == TRACKED
    assert [len(message.heads) for message in heads_of(output)] == [1, 0, 1]
    assert [topic for topic, *_ in written].count('/head_pose') == 2
    assert not (tmp_path / 'new' / f'{output.name}.partial').exists()


def test_messages_carry_the_stamps_frames_and_times_of_the_recording(short_bag, tmp_path, track):
    assert track(short_bag, tmp_path / 'out.mcap') == 0
    written = messages_of(tmp_path / 'out.mcap')
    assert [stamp for _, stamp, _ in written] == sorted(stamp for _, stamp, _ in written)
    assert [stamp for topic, stamp, _ in written if topic == '/heads'] \
        == [recorded_at(index) for index in range(3)]
    heads = heads_of(tmp_path / 'out.mcap')
    assert [stamp_ns(message) for message in heads] == [stamp_of(index) for index in range(3)]
    assert {message.header.frame_id for message in heads} == {FRAME}
    transforms = [transform for topic, _, data in written if topic == '/tf' for transform in
                  types().deserialize_cdr(data, 'tf2_msgs/msg/TFMessage').transforms]
    assert {transform.header.frame_id for transform in transforms} == {FRAME}
    # The calibration came behind the first image, and that is known in a bag.
    assert all(head.metric for message in heads for head in message.heads)


def test_topics_and_types_are_those_of_the_definitions(short_bag, tmp_path, track):
    assert track(short_bag, tmp_path / 'out', '--namespace', 'front', '--markers', '--mesh') == 0
    with Reader(tmp_path / 'out') as reader:
        names = {connection.topic for connection in reader.connections}
        for connection, _, data in reader.messages():
            types().deserialize_cdr(data, connection.msgtype)
        counts = {connection.topic: connection.msgcount for connection in reader.connections}
    assert names == {'/tf', '/front/heads', '/front/head_pose', '/front/head_landmarks',
                     '/front/head_markers', '/front/head_mesh', '/front/head_mesh/triangles'}
    assert counts['/front/head_mesh'] == 3 and counts['/front/head_mesh/triangles'] == 1


def test_copied_messages_are_next_to_those_of_the_tracker(short_bag, tmp_path, track):
    assert track(short_bag, tmp_path / 'out.mcap', '--copy', '--json', tmp_path / 'a.jsonl') == 0
    written, source = messages_of(tmp_path / 'out.mcap'), messages_of(short_bag)
    assert [m for m in written if m[0].startswith('/cam/')] == source
    assert len(heads_of(tmp_path / 'out.mcap')) == 3
    assert [stamp for _, stamp, _ in written] == sorted(stamp for _, stamp, _ in written)
    rows = [json.loads(line) for line in (tmp_path / 'a.jsonl').read_text().splitlines()]
    assert [row['frame'] for row in rows] == list(range(3))
    # Once more, from the result: older messages of the tracker are not mixed with the new ones.
    assert track(tmp_path / 'out.mcap', tmp_path / 'again.mcap', '--copy', 'all') == 0
    assert len(heads_of(tmp_path / 'again.mcap')) == 3


def test_a_damaged_bag_is_processed_up_to_the_damage(images, tmp_path, track, capsys):
    bag = write_bag(tmp_path / 'bag', images[:3])
    file = file_of(bag)
    data = file.read_bytes()
    file.write_bytes(data[:len(data) * 8 // 10])
    assert track(bag, tmp_path / 'out.mcap') == 1
    assert [stamp_ns(message) for message in heads_of(tmp_path / 'out.mcap')] \
        == [stamp_of(0), stamp_of(1)]
    assert f'the bag is damaged, the readable part was processed: {bag}' \
        in capsys.readouterr().err


def test_an_image_that_cannot_be_decoded_is_reported(images, tmp_path, track, capsys):
    topic, kind = '/image_raw/compressed', 'sensor_msgs/msg/CompressedImage'
    with BagWriter(tmp_path / 'bag') as bag:
        for index in range(3):
            data = cv2.imencode('.jpg', images[index])[1].tobytes()
            bag.write(topic, kind, stamp_of(index), compressed_image(
                stamp_of(index), data[:40] if index == 1 else data, 'jpeg'))
        bag.write(topic, kind, stamp_of(3), b'\0\1')
    assert track(tmp_path / 'bag', tmp_path / 'out.mcap', '--json', tmp_path / 'a.jsonl') == 1
    printed = capsys.readouterr()
    assert 'truncated' in printed.err and 'the CompressedImage cannot be read' in printed.err
    assert '2 images of /image_raw/compressed processed' in printed.out
    assert [stamp_ns(message) for message in heads_of(tmp_path / 'out.mcap')] \
        == [stamp_of(0), stamp_of(2)]
    rows = [json.loads(line) for line in (tmp_path / 'a.jsonl').read_text().splitlines()]
    assert [row['frame'] for row in rows] == [0, 2]


def test_one_of_several_cameras_is_chosen(images, tmp_path, track, capsys):
    with BagWriter(tmp_path / 'stereo') as bag:
        for topic in ('/left/image_raw', '/right/image_raw'):
            bag.write(topic, 'sensor_msgs/msg/Image', stamp_of(0),
                      raw_image(stamp_of(0), images[0]))
    bag, out = tmp_path / 'stereo', tmp_path / 'out.mcap'
    assert track(bag, out) == 2
    printed = capsys.readouterr().err
    assert '/left/image_raw (1 images)' in printed and '/right/image_raw' in printed
    assert track(bag, out, '--topic', '/right/image_raw') == 0
    assert 'no camera_info in the namespace of the images' in capsys.readouterr().out
    assert not heads_of(out)[0].heads[0].metric
    assert track(bag, out, '--topic', '/left/image_raw', '--fov', '60', '--force') == 0
    assert heads_of(out)[0].heads[0].metric


def test_an_existing_output_is_replaced_only_by_force(short_bag, tmp_path, track, capsys):
    output = tmp_path / 'out.mcap'
    output.write_text('dear to somebody')
    assert track(short_bag, output) == 2
    assert 'out.mcap exists' in capsys.readouterr().err
    assert output.read_text() == 'dear to somebody'
    assert track(short_bag, output, '--force') == 0
    assert len(heads_of(output)) == 3


@pytest.mark.parametrize(('name', 'message'), [
    ('rclpy', 'this needs ROS 2, and rclpy is not installed'),
    ('rosbags', 'this needs the Python package rosbags, which is not installed'),
    ('mcap', 'this needs the Python package mcap, which is not installed')])
def test_a_package_that_a_bag_needs_is_named_in_one_line(name, message, short_bag, tmp_path):
    script = (f'import sys; sys.modules[{name!r}] = None\n'
              'from trans3dhead_ros.cli.main import main\n'
              f'sys.exit(main(["track", {str(short_bag)!r}, "--output", {str(tmp_path / "a")!r}]))')
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count('\n') == 1
