"""A run that was stopped or killed resumes after the last image, and loses nothing before it."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import bags

from trans3dhead_ros.bags.bag_reader import BagReader

pytestmark = [pytest.mark.ros, pytest.mark.alone]


def partial_heads(output):
    """Return the serialized HeadArray messages that an unfinished run has left."""
    try:
        with BagReader(f'{output}.partial') as reader:
            return [message.data for message in reader.messages(['/heads'])]
    except ValueError:
        return []


class StopAfter:
    """Send SIGINT to this process when an unfinished run has processed so many images."""

    def __init__(self, output, count):
        self._output, self._count = output, count
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        # The run replaces this handler; a signal behind its end stops nothing else.
        self._previous = signal.signal(signal.SIGINT, lambda *_: None)
        self._thread.start()

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()
        signal.signal(signal.SIGINT, self._previous)

    def _watch(self):
        while not self._ended.wait(0.002):
            if len(partial_heads(self._output)) >= self._count:
                os.kill(os.getpid(), signal.SIGINT)
                return


def test_the_output_of_a_killed_run_is_kept_and_the_same_command_resumes_it(
        images, tmp_path, track, capsys):
    bag, output = bags.write_bag(tmp_path / 'bag', images), tmp_path / 'out.mcap'
    process = subprocess.Popen(
        [sys.executable, '-m', 'trans3dhead_ros.cli.main', 'track', bag, '--output', output,
         '--markers', '--mesh'], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        # It would finish while the file is read.
        process.send_signal(signal.SIGSTOP)
        if len(partial_heads(output)) >= 4:
            break
        process.send_signal(signal.SIGCONT)
        time.sleep(0.005)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    assert not output.exists()
    kept = partial_heads(output)
    assert 4 <= len(kept) < 14
    assert track(bag, output, '--markers', '--mesh') == 0
    assert 'resuming after' in capsys.readouterr().err
    written = bags.messages_of(output)
    assert [data for topic, _, data in written if topic == '/heads'][:len(kept)] == kept
    assert [stamp for topic, stamp, _ in written if topic == '/heads'] \
        == [bags.recorded_at(index) for index in range(14)]
    heads = bags.heads_of(output)
    assert [len(message.heads) for message in heads] == [1, 1, 0, *[1] * 11]
    assert all(head.metric for message in heads for head in message.heads)
    assert [topic for topic, *_ in written].count('/head_mesh/triangles') == 1
    assert not (tmp_path / 'out.mcap.partial').exists()


def test_ids_of_a_resumed_run_are_new_and_older_markers_are_removed(
        images, tmp_path, track, capsys):
    bag, output = bags.write_bag(tmp_path / 'bag', images[3:10]), tmp_path / 'out.mcap'
    with StopAfter(output, 2):
        assert track(bag, output, '--markers') == 130
    assert 'repeat the command to resume there' in capsys.readouterr().err
    count = len(partial_heads(output))
    assert 2 <= count < 7
    assert track(bag, output, '--markers') == 0
    ids = [message.heads[0].id for message in bags.heads_of(output)]
    assert len({*ids[:count]}) == len({*ids[count:]}) == 1
    assert ids[-1] > ids[0]
    kind = 'visualization_msgs/msg/MarkerArray'
    arrays = [bags.types().deserialize_cdr(data, kind)
              for topic, _, data in bags.messages_of(output) if topic == '/head_markers']
    deletions = [index for index, array in enumerate(arrays)
                 if array.markers[0].action == array.markers[0].DELETEALL]
    assert deletions == [count]


def test_a_run_continues_where_stamps_go_backwards(images, tmp_path, track):
    # Two recorders at once: the second file begins before the first one ends.
    source, output = tmp_path / 'both', tmp_path / 'out.mcap'
    source.mkdir()
    for name, part in (('0', images[4:10:2]), ('1', images[5:11:2])):
        written = bags.file_of(bags.write_bag(tmp_path / name, part, calibrated=False))
        written.rename(source / f'both_{name}.mcap')
    with StopAfter(output, 4):
        assert track(source, output, '--fov', 60) == 130
    assert track(source, output, '--fov', 60) == 1
    stamps = [bags.stamp_ns(message) for message in bags.heads_of(output)]
    assert sorted(stamps) == sorted([bags.stamp_of(index) for index in range(3)] * 2)


def test_a_run_with_other_options_does_not_resume(short_bag, tmp_path, track, capsys):
    output = tmp_path / 'out.mcap'
    with StopAfter(output, 1):
        assert track(short_bag, output) == 130
    assert track(short_bag, output, '-p', 'head_scale:=0.8') == 2
    assert 'another parameters' in capsys.readouterr().err
    assert track(short_bag, output, '-p', 'head_scale:=0.8', '--force') == 0
    near = bags.heads_of(output)[0].heads[0].pose.pose.position.z
    assert near == pytest.approx(0.8 * 0.45, rel=0.15)


def test_a_full_disk_is_reported_and_the_run_can_be_resumed_once_there_is_space(
        bag, tmp_path, track, capsys):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        assert track(bag, tmp_path / 'out.mcap') == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    printed = capsys.readouterr().err
    assert 'cannot be written' in printed and printed.count('\n') == 1
    assert track(bag, tmp_path / 'out.mcap') == 0
    assert 'resuming after' in capsys.readouterr().err
    assert len(bags.heads_of(tmp_path / 'out.mcap')) == 14
