"""Bags: what the node would have said to a recording, whatever happens to the bag or to the run."""

import contextlib
import json
import os
import resource
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import ros_graph
from rclpy.serialization import deserialize_message, serialize_message
from rclpy.time import Time
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage
from trans3dhead.msg import HeadArray
from visualization_msgs.msg import Marker, MarkerArray

from trans3dhead_ros.bags.bag_reader import BagReader
from trans3dhead_ros.bags.bag_writer import Bag, check_replaceable, typestore
from trans3dhead_ros.camera import Camera
from trans3dhead_ros.cli.main import main
from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.network.checkpoint import load_head_model
from trans3dhead_ros.perception.pipeline import HeadPipeline
from trans3dhead_ros.perception.state import pipeline_state, restore_pipeline
from trans3dhead_ros.ros.camera_info import camera_info
from trans3dhead_ros.ros.messages import bgr_image
from trans3dhead_training.synthesis.preview.head_renderer import HeadRenderer

ROOT = Path(__file__).resolve().parents[3]
SIZE = (320, 240)
CAMERA = Camera.from_fov(SIZE, 60.0)
FRAME = 'some_camera_optical_frame'
FIRST = 1_700_000_000_000_000_000  # ns
LATE = 7_000_000  # ns from a stamp to its recording
ANSWERS = {'/heads', '/head_pose', '/head_landmarks', '/tf'}


def stamp_of(index):
    return FIRST + index * 40_000_000


def header_of(index):
    return Header(stamp=Time(nanoseconds=stamp_of(index)).to_msg(), frame_id=FRAME)


def nanoseconds(header):
    return Time.from_msg(header.stamp).nanoseconds


@pytest.fixture(scope='module')
def pictures():
    """Fourteen pictures of the head model as it turns; the third one is empty."""
    renderer, wall = HeadRenderer.of(load_head_model()), np.full((*SIZE[::-1], 3), 120, np.uint8)
    return [wall if index == 2 else renderer.render(
                wall, CAMERA, rotation_from_euler(np.array([index - 6.0, -3.0, 0.0])),
                np.array([0.001 * index, 0.0, 0.45]))
            for index in range(14)]


def write_bag(path, pictures, storage='mcap', topic='/cam/image_raw', calibrated=True,
              compressed=False):
    """Write images, and a calibration that comes just behind each image, as it often does."""
    with Bag(path, storage) as bag:
        for index, picture in enumerate(pictures):
            header, logged = header_of(index), stamp_of(index) + LATE
            if compressed:
                data = cv2.imencode('.png', picture)[1].tobytes()
                message = CompressedImage(header=header, format='png', data=data)
                bag.write(f'{topic}/compressed', 'sensor_msgs/msg/CompressedImage', logged,
                          serialize_message(message))
            else:
                bag.write(topic, 'sensor_msgs/msg/Image', logged,
                          serialize_message(bgr_image(header, picture)))
            if calibrated:
                info = camera_info(CAMERA)
                info.header = header
                bag.write(f'{topic.rpartition("/")[0]}/camera_info', 'sensor_msgs/msg/CameraInfo',
                          logged + 1000, serialize_message(info))
    return path


@pytest.fixture(scope='module')
def bag(pictures, tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp('bag') / 'bag', pictures)


@pytest.fixture(scope='module')
def short(pictures, tmp_path_factory):
    """The same with three images, for what is not about the answers."""
    return write_bag(tmp_path_factory.mktemp('short') / 'bag', pictures[:3])


def file_of(folder):
    return next(path for path in folder.iterdir() if path.suffix in ('.mcap', '.db3'))


def messages_of(path):
    """Every message of a bag: topic, time of recording, bytes."""
    with Reader(path) as reader:
        return [(connection.topic, stamp, bytes(data))
                for connection, stamp, data in reader.messages()]


def canonical(path):
    """Every message of a bag without what lies between its fields, which nobody has written."""
    types = typestore()

    def bare(kind, data):
        # Their points take long to read; a marker too few or too many is another length.
        if kind == 'visualization_msgs/msg/MarkerArray':
            return len(data)
        return bytes(types.serialize_cdr(types.deserialize_cdr(data, kind), kind))

    with Reader(path) as reader:
        return [(c.topic, stamp, bare(c.msgtype, data)) for c, stamp, data in reader.messages()]


def heads_of(path):
    return [deserialize_message(data, HeadArray) for topic, _, data in messages_of(path)
            if topic.endswith('heads')]


def track(source, output, *arguments):
    return main(['track', str(source), '--output', str(output), *map(str, arguments)])


def command(*arguments):
    """Return the real command as a process of its own."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    return subprocess.Popen(
        [sys.executable, '-m', 'trans3dhead_ros.cli.main', 'track', *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'})


@pytest.mark.parametrize(('storage', 'as_file', 'output', 'compressed'), [
    ('mcap', True, 'out.mcap', False),
    ('mcap', False, 'out', True),
    ('sqlite3', False, 'out.mcap', True),
    ('sqlite3', True, 'out.db3', False),
])
def test_every_image_is_answered_in_every_format(
        pictures, tmp_path, storage, as_file, output, compressed):
    bag = write_bag(tmp_path / 'bag', pictures[:4], storage, compressed=compressed)
    output = tmp_path / 'new' / output
    assert track(file_of(bag) if as_file else bag, output) == 0
    written = messages_of(output)
    assert {topic for topic, *_ in written} == ANSWERS
    answers = heads_of(output)
    assert [len(answer.heads) for answer in answers] == [1, 1, 0, 1]
    assert [topic for topic, *_ in written].count('/head_pose') == 3
    assert not (tmp_path / 'new' / f'{output.name}.partial').exists()


def test_answers_carry_the_stamps_frames_and_times_of_the_recording(bag, tmp_path):
    assert track(bag, tmp_path / 'out.mcap') == 0
    written = messages_of(tmp_path / 'out.mcap')
    assert [stamp for _, stamp, _ in written] == sorted(stamp for _, stamp, _ in written)
    heads = [(stamp, deserialize_message(data, HeadArray))
             for topic, stamp, data in written if topic == '/heads']
    assert [stamp for stamp, _ in heads] == [stamp_of(index) + LATE for index in range(14)]
    assert [nanoseconds(head.header) for _, head in heads] == [stamp_of(i) for i in range(14)]
    assert {head.header.frame_id for _, head in heads} == {FRAME}
    transforms = [transform for topic, _, data in written if topic == '/tf'
                  for transform in deserialize_message(data, TFMessage).transforms]
    assert {transform.header.frame_id for transform in transforms} == {FRAME}
    # The calibration came behind the first image, and that is known in a bag.
    assert all(head.metric for _, answer in heads for head in answer.heads)


def test_topics_and_types_are_those_that_the_definitions_say(short, tmp_path):
    assert track(short, tmp_path / 'out', '--namespace', 'front', '--markers', '--mesh') == 0
    types = typestore()
    with Reader(tmp_path / 'out') as reader:
        names = {connection.topic for connection in reader.connections}
        for connection, _, data in reader.messages():
            types.deserialize_cdr(data, connection.msgtype)
        counts = {connection.topic: connection.msgcount for connection in reader.connections}
    assert names == {'/tf', '/front/heads', '/front/head_pose', '/front/head_landmarks',
                     '/front/head_markers', '/front/head_mesh', '/front/head_mesh/triangles'}
    assert counts['/front/head_mesh'] == 3 and counts['/front/head_mesh/triangles'] == 1


@pytest.fixture(scope='module')
def live(pictures, tmp_path_factory):
    """What a node says to the pictures over DDS, one after the other, by topic."""
    rclpy = pytest.importorskip('rclpy')
    ros_graph.start_ros()
    process = ros_graph.TrackerProcess(tmp_path_factory.mktemp('live') / 'log.txt',
                                       '-p', 'autostart:=true')
    client = ros_graph.Client()
    client.wait_for_tracker()
    # Until the calibration has arrived, too.
    for _ in range(100):
        client.infos.publish(camera_info(CAMERA))
        answer = client.ask(pictures[0])
        if answer.heads and answer.heads[0].metric:
            break
    client.call(Trigger, 'head_tracker/reset', Trigger.Request())
    for messages in client.received.values():
        messages.clear()
    for index, picture in enumerate(pictures):
        header = header_of(index)
        client.images.publish(bgr_image(header, picture))
        client.answer(header)
    found = [m for m in client.received['heads'] if m.heads]
    for topic in ('head_pose', '/tf', 'head_landmarks', 'head_markers', 'head_mesh'):
        client.of(topic, found[-1].header)
    # What was said to the picture before may come behind.
    received = {topic: [m for index in range(len(pictures))
                        for m in client.all_of(topic, header_of(index))]
                for topic in ('heads', 'head_pose', '/tf', 'head_landmarks', 'head_markers',
                              'head_mesh')}
    client.close()
    assert process.stop() == 0, process.text()
    rclpy.try_shutdown()
    return received


def numbers(message):
    """All numbers of a message in order, without ids; texts are left out."""
    if isinstance(message, (bool, int, float)):
        return [float(message)]
    if isinstance(message, (str, bytes)):
        return []
    if hasattr(message, 'get_fields_and_field_types'):
        fields = [name for name in message.get_fields_and_field_types()
                  if name not in ('id', 'ids')]
        return [n for name in fields for n in numbers(getattr(message, name))]
    if isinstance(message, np.ndarray) or hasattr(message, 'typecode'):
        return list(map(float, message))
    return [n for part in message for n in numbers(part)]


def test_a_bag_is_answered_as_the_live_node_answers(live, bag, tmp_path):
    assert track(bag, tmp_path / 'out.mcap', '--markers', '--mesh') == 0
    written = {}
    for topic, _, data in messages_of(tmp_path / 'out.mcap'):
        written.setdefault(topic, []).append(data)
    for topic in ('heads', 'head_pose', '/tf', 'head_landmarks', 'head_markers', 'head_mesh'):
        expected = live[topic]
        if topic == 'head_markers':
            # The first one takes the head before the reset away, too.
            first = [marker for marker in expected[0].markers if marker.action == Marker.ADD]
            expected = [MarkerArray(markers=first), *expected[1:]]
        made = [deserialize_message(data, type(expected[0]))
                for data in written[f'/{topic.strip("/")}']]
        assert len(made) == len(expected), topic
        # The points of markers take long to compare.
        count = 3 if topic == 'head_markers' else len(made)
        for one, other in zip(made[:count], expected[:count], strict=True):
            np.testing.assert_allclose(numbers(one), numbers(other), rtol=1e-5, atol=1e-5)
    heads = [deserialize_message(data, HeadArray) for data in written['/heads']]
    first, live_first = heads[0].heads[0].id, live['heads'][0].heads[0].id
    assert [[h.id - first for h in answer.heads] for answer in heads] \
        == [[h.id - live_first for h in answer.heads] for answer in live['heads']]
    assert {(h.model, tuple(h.expression_names)) for h in heads} \
        == {(h.model, tuple(h.expression_names)) for h in live['heads']}


def test_a_run_that_was_stopped_goes_on_and_loses_nothing(pictures, tmp_path):
    # There and back, so that the run is long enough to be stopped amid it.
    bag = write_bag(tmp_path / 'bag', pictures + pictures[::-1])
    arguments = ('--markers', '--mesh', '--checkpoint', 3)
    whole = command(bag, '--output', tmp_path / 'whole.mcap', *arguments)
    assert whole.wait(120) == 0, whole.stderr.read()
    state = tmp_path / 'out.mcap.partial' / 'state.json'

    def images():
        left = json.loads(state.read_text())['state'] if state.exists() else None
        return left['progress']['images'] if left else 0

    for least, number, code in ((3, signal.SIGKILL, -signal.SIGKILL), (9, signal.SIGINT, 130)):
        process, deadline = command(bag, '--output', tmp_path / 'out.mcap', *arguments), \
            time.monotonic() + 120
        while images() < least and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(number)
        assert process.wait(60) == code
        assert not (tmp_path / 'out.mcap').exists()
    told = process.stderr.read()
    assert 'the same command goes on' in told and 'Traceback' not in told
    process = command(bag, '--output', tmp_path / 'out.mcap', *arguments)
    assert process.wait(120) == 0
    assert 'going on after' in process.stderr.read()
    assert canonical(tmp_path / 'out.mcap') == canonical(tmp_path / 'whole.mcap')


def test_a_run_goes_on_exactly_where_stamps_go_backwards(pictures, tmp_path, monkeypatch):
    from trans3dhead_ros.ros.bag_tracking import track_bag
    # Two recorders at once: the second file begins before the first one ends.
    source = tmp_path / 'both'
    source.mkdir()
    for name, part in (('0', pictures[::2]), ('1', pictures[1::2])):
        written = file_of(write_bag(tmp_path / name, part[:4], calibrated=False))
        written.rename(source / f'both_{name}.mcap')
    whole, parted = tmp_path / 'whole.mcap', tmp_path / 'parted.mcap'
    assert track(source, whole, '--fov', 60) in (0, 1)

    @contextlib.contextmanager
    def stopping_after(count):
        looked = iter(range(count + 1))
        yield SimpleNamespace(is_set=lambda: next(looked, count) == count)
    for count in (2, 3):
        with monkeypatch.context() as patch:
            patch.setattr(track_bag, '_asked_to_stop', lambda count=count: stopping_after(count))
            assert track(source, parted, '--fov', 60) == 130
    assert track(source, parted, '--fov', 60) in (0, 1)
    def told(path):
        # Ids go on from run to run of one process.
        return [(nanoseconds(answer.header), [head.landmarks_px.tobytes() for head in answer.heads])
                for answer in heads_of(path)]

    assert len(told(whole)) == 8
    assert told(parted) == told(whole)


def test_a_few_bytes_do_not_become_a_memory_full(tmp_path):
    from trans3dhead_ros.bags import bag_salvage
    packed = bag_salvage.zstd.compress(bytes(1 << 30))
    assert len(packed) < 1 << 20
    assert len(bag_salvage.unpacked(packed)) <= 1 << 28
    (tmp_path / 'a.zstd').write_bytes(bag_salvage.zstd.compress(b'whole' * 100_000))
    bag_salvage.unpack_file(tmp_path / 'a.zstd', tmp_path / 'a')
    assert (tmp_path / 'a').read_bytes() == b'whole' * 100_000


def test_a_garbled_record_ends_the_reading_there(pictures, tmp_path):
    file = file_of(write_bag(tmp_path / 'bag', pictures[:6]))
    data = file.read_bytes()
    # A channel that claims a longer name than its record has, in the place of the index.
    cut = tmp_path / 'cut.mcap'
    record = struct.pack('<HHI', 7, 7, 1 << 20) + b'short'
    end = data.rindex(b'\x0f' + struct.pack('<Q', 4))
    with BagReader(file) as reader:
        expected = [message.stamp for message in reader.messages(['/cam/image_raw'])]
    assert expected
    cut.write_bytes(data[:end] + b'\x04' + struct.pack('<Q', len(record)) + record)
    with BagReader(cut) as reader:
        assert [m.stamp for m in reader.messages(['/cam/image_raw'])] == expected
        assert reader.damage


def test_what_a_pipeline_remembers_survives_json_exactly(pictures):
    first = HeadPipeline.load()
    for index in range(5):
        first.track(pictures[index], 0.04 * index, CAMERA)
    text = json.dumps(pipeline_state(first))
    second = HeadPipeline(first.aligner, first.detector)
    restore_pipeline(second, json.loads(text))
    for index in range(5, 8):
        # One after the other: the ids of a process are counted together.
        one, other = (p.track(pictures[index], 0.04 * index, CAMERA) for p in (first, second))
        assert len(one) == len(other) == 1 and one[0].track_id == other[0].track_id
        for name in ('landmarks', 'rotation', 'translation', 'shape', 'vertices'):
            np.testing.assert_array_equal(getattr(one[0], name), getattr(other[0], name))
    with pytest.raises(ValueError, match='state'):
        restore_pipeline(second, {'tracker': {'class': 'Popen', 'fields': {}}, 'next_id': 1})


@pytest.mark.parametrize(('storage', 'compressed'), [
    ('mcap', False), ('mcap', True), ('sqlite3', False)])
def test_what_comes_before_the_damage_is_answered(
        pictures, tmp_path, storage, compressed, capsys):
    bag = write_bag(tmp_path / 'bag', pictures[:8], storage)
    if compressed:
        bag = recompressed(bag, tmp_path / 'packed')
    file = file_of(bag)
    data = file.read_bytes()
    file.write_bytes(data[:len(data) * 2 // 3])
    assert track(bag, tmp_path / 'out.mcap') == 1
    answers = heads_of(tmp_path / 'out.mcap')
    # Compressed, what is left of a chunk ends anywhere.
    assert (1 if compressed else 4) <= len(answers) < 8
    assert [nanoseconds(answer.header) for answer in answers] \
        == [stamp_of(index) for index in range(len(answers))]
    assert 'damaged' in capsys.readouterr().err


@pytest.mark.parametrize('mode', [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_compressed_bags_are_read_also_without_their_metadata(pictures, tmp_path, mode):
    bag = recompressed(write_bag(tmp_path / 'bag', pictures[:2]), tmp_path / 'packed', mode)
    assert track(bag, tmp_path / 'whole.mcap') == 0
    (bag / 'metadata.yaml').unlink()
    assert track(bag, tmp_path / 'out.mcap') == 1
    assert len(heads_of(tmp_path / 'out.mcap')) == len(heads_of(tmp_path / 'whole.mcap')) == 2


def recompressed(bag, path, mode=CompressionMode.STORAGE):
    """Copy a bag with its chunks compressed, as recorders do by default, or otherwise."""
    types = typestore()
    writer = Writer(path, version=8, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with Reader(bag) as reader, writer:
        made = {c.id: writer.add_connection(c.topic, c.msgtype, typestore=types)
                for c in reader.connections}
        for connection, stamp, data in reader.messages():
            writer.write(made[connection.id], stamp, data)
    return path


def test_a_bag_whose_recorder_was_killed_is_read(pictures, tmp_path, capsys):
    bag = write_bag(tmp_path / 'bag', pictures[:3], 'sqlite3')
    (bag / 'metadata.yaml').unlink()
    # A recorder that writes ahead leaves the newest messages beside the file.
    database = sqlite3.connect(file_of(bag))
    database.execute('PRAGMA journal_mode=WAL')
    database.execute('INSERT INTO messages (topic_id, timestamp, data) SELECT topic_id, ?, data '
                     'FROM messages WHERE id = 1', [stamp_of(5)])
    database.commit()
    assert track(bag, tmp_path / 'out.mcap') == 1
    assert 'did not close it' in capsys.readouterr().err
    assert len(heads_of(tmp_path / 'out.mcap')) == 4
    database.close()


def test_an_image_that_is_no_good_is_told(pictures, tmp_path, capsys):
    with Bag(tmp_path / 'bag') as bag:
        for index in range(3):
            data = cv2.imencode('.jpg', pictures[index])[1].tobytes()
            message = CompressedImage(header=header_of(index), format='jpeg',
                                      data=data[:40] if index == 1 else data)
            bag.write('/image_raw/compressed', 'sensor_msgs/msg/CompressedImage', stamp_of(index),
                      serialize_message(message))
        bag.write('/image_raw/compressed', 'sensor_msgs/msg/CompressedImage', stamp_of(3), b'\0\1')
    assert track(tmp_path / 'bag', tmp_path / 'out.mcap') == 1
    told = capsys.readouterr()
    assert 'truncated' in told.err and 'the CompressedImage cannot be read' in told.err
    assert '2 images of /image_raw/compressed answered' in told.out
    assert [nanoseconds(h.header) for h in heads_of(tmp_path / 'out.mcap')] \
        == [stamp_of(0), stamp_of(2)]


def test_copies_stand_beside_the_answers(short, tmp_path):
    assert track(short, tmp_path / 'out.mcap', '--copy', '--json', tmp_path / 'heads.jsonl') == 0
    written, source = messages_of(tmp_path / 'out.mcap'), messages_of(short)
    assert [m for m in written if m[0].startswith('/cam/')] == source
    assert len(heads_of(tmp_path / 'out.mcap')) == 3
    assert [stamp for _, stamp, _ in written] == sorted(stamp for _, stamp, _ in written)
    rows = [json.loads(line) for line in (tmp_path / 'heads.jsonl').read_text().splitlines()]
    assert [row['frame'] for row in rows] == list(range(3))
    # Once more, from the result: the older answers are not mixed with the new ones.
    assert track(tmp_path / 'out.mcap', tmp_path / 'again.mcap', '--copy', 'all') == 0
    assert len(heads_of(tmp_path / 'again.mcap')) == 3


def test_existing_output_is_replaced_only_by_force(short, tmp_path, capsys):
    output = tmp_path / 'out.mcap'
    output.write_text('dear to somebody')
    assert track(short, output) == 2
    assert 'out.mcap exists' in capsys.readouterr().err
    assert output.read_text() == 'dear to somebody'
    assert track(short, output, '--force') == 0
    assert len(heads_of(output)) == 3


def test_another_run_is_not_continued(short, tmp_path, capsys, monkeypatch):
    from trans3dhead_ros.ros.bag_tracking import track_bag
    def stop(*_):
        raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(track_bag, '_written_bag', stop)
        assert track(short, tmp_path / 'out.mcap') == 130
    assert track(short, tmp_path / 'out.mcap', '-p', 'head_scale:=0.8') == 2
    assert 'another parameters' in capsys.readouterr().err
    assert track(short, tmp_path / 'out.mcap', '-p', 'head_scale:=0.8', '--force') == 0
    near = heads_of(tmp_path / 'out.mcap')[0].heads[0].pose.pose.position.z
    assert near == pytest.approx(0.8 * 0.45, rel=0.15)


def test_a_full_disk_is_told_and_the_run_goes_on_when_it_is_mended(bag, tmp_path, capsys):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        assert track(bag, tmp_path / 'out.mcap', '--checkpoint', 2) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    told = capsys.readouterr().err
    assert 'cannot be written' in told and told.count('\n') == 1
    assert track(bag, tmp_path / 'out.mcap', '--checkpoint', 2) == 0
    assert 'going on after' in capsys.readouterr().err
    assert len(heads_of(tmp_path / 'out.mcap')) == 14


@pytest.fixture(scope='module')
def stereo(pictures, tmp_path_factory):
    """A bag with the images of two cameras, one of them without calibration."""
    path = tmp_path_factory.mktemp('stereo') / 'stereo'
    with Bag(path) as bag:
        for topic in ('/left/image_raw', '/right/image_raw'):
            bag.write(topic, 'sensor_msgs/msg/Image', stamp_of(0),
                      serialize_message(bgr_image(header_of(0), pictures[0])))
    return path


def test_one_of_several_cameras_is_chosen(stereo, tmp_path, capsys):
    assert track(stereo, tmp_path / 'out.mcap') == 2
    told = capsys.readouterr().err
    assert '/left/image_raw (1 images)' in told and '/right/image_raw' in told
    assert track(stereo, tmp_path / 'out.mcap', '--topic', '/right/image_raw') == 0
    assert 'no camera_info beside the images' in capsys.readouterr().out
    assert not heads_of(tmp_path / 'out.mcap')[0].heads[0].metric
    assert track(stereo, tmp_path / 'fov.mcap', '--topic', '/left/image_raw', '--fov', '60') == 0
    assert heads_of(tmp_path / 'fov.mcap')[0].heads[0].metric


@pytest.mark.parametrize(('arguments', 'message'), [
    (['{bag}'], 'name the bag to write'),
    (['{bag}', '--output', '{tmp}/a.mp4'], 'has none of the endings of a bag'),
    (['{bag}', '--output', '{bag}', '--force'], 'is the source itself'),
    (['{bag}', '--output', '{bag}/inside.mcap'], 'holds the source or lies in it'),
    (['{bag}', '--output', '{bag}/..', '--force'], 'holds the source or lies in it'),
    (['{bag}', '--output', '{tmp}', '--force'], 'other things than a bag'),
    (['{bag}', '--output', '{tmp}/a', '--topic', '/nowhere'], '/nowhere has no images'),
    (['{bag}', '--output', '{tmp}/a', '--camera-info', '/nowhere'], 'use /cam/camera_info'),
    (['{bag}', '--output', '{tmp}/a', '--namespace', 'a b'], 'namespace'),
    (['{bag}', '--output', '{tmp}/a', '-p', 'dance:=1'], 'NAME:=VALUE'),
    (['{bag}', '--output', '{tmp}/a', '-p', 'head_scale:=50'], 'head_scale cannot be 50'),
    (['{bag}', '--output', '{tmp}/a', '-p', 'device:=cpu'], 'given by --device'),
    (['{bag}', '--output', '{tmp}/a', '-p', 'max_rate:=5'], 'no meaning for a bag'),
    (['{bag}', '--output', '{tmp}/a', '-p', 'smoothing:=maybe'], 'smoothing cannot be maybe'),
    (['{bag}', '--output', '{tmp}/a', '--checkpoint', '0'], 'checkpoint'),
    (['{tmp}/none.mcap', '--output', '{tmp}/a'], 'does not exist'),
    (['{tmp}/text.mcap', '--output', '{tmp}/a'], 'is no MCAP file'),
    (['{tmp}/text.db3', '--output', '{tmp}/a'], 'cannot be read as a bag'),
    (['{tmp}/old.bag', '--output', '{tmp}/a'], 'rosbags-convert'),
    (['{tmp}/picture.png', '--topic', '/a'], 'topic: is for bags'),
])
def test_a_mistake_is_one_line_and_code_two(short, tmp_path, capsys, arguments, message):
    for name in ('text.mcap', 'text.db3', 'old.bag', 'picture.png'):
        (tmp_path / name).write_text('this is no bag, however long it may become')
    assert main(['track', *(a.format(bag=short, tmp=tmp_path) for a in arguments)]) == 2
    told = capsys.readouterr()
    assert message in told.err and told.err.count('\n') == 1 and not told.out
    assert not (tmp_path / 'a').exists()


def test_damage_in_the_middle_ends_the_reading_there(pictures, tmp_path):
    bag = recompressed(write_bag(tmp_path / 'bag', pictures), tmp_path / 'packed')
    file = file_of(bag)
    data = bytearray(file.read_bytes())
    half = len(data) // 2
    data[half:half + 2000] = bytes(2000)
    file.write_bytes(bytes(data))
    with BagReader(bag) as reader:
        stamps = [message.stamp for message in reader.messages(['/cam/image_raw'])]
        assert 'packed' in reader.damage
    assert 0 < len(stamps) < 14
    assert stamps == [stamp_of(index) + LATE for index in range(len(stamps))]


@pytest.mark.parametrize(('name', 'message'), [
    ('rclpy', 'a bag needs ROS 2, and rclpy is not installed'),
    ('rosbags', 'a bag needs the Python package rosbags, which is not installed')])
def test_a_package_that_a_bag_needs_is_named_in_one_line(name, message, short, tmp_path):
    script = (f'import sys; sys.modules[{name!r}] = None\n'
              'from trans3dhead_ros.cli.main import main\n'
              f'sys.exit(main(["track", {str(short)!r}, "--output", {str(tmp_path / "a")!r}]))')
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count('\n') == 1


def test_what_a_killed_writer_left_of_a_bag_may_be_replaced(tmp_path):
    for name in ('bag_0.db3', 'bag_0.db3-journal', 'metadata.yaml', 'bag_1.mcap.zstd'):
        (tmp_path / name).touch()
    check_replaceable(tmp_path)
    (tmp_path / 'dear.txt').touch()
    with pytest.raises(ValueError, match='dear.txt'):
        check_replaceable(tmp_path)
