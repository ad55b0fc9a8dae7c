"""The demo: three processes over DDS, from a source to the files of the recorder."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from bags import stamp_ns, turning_heads, types
from rosbags.rosbag2 import Reader
from synthetic import write_turning_head

from trans3dhead_ros.cli.main import main
from trans3dhead_ros.network.checkpoint import load_head_model

pytestmark = pytest.mark.ros
COMMAND = [sys.executable, '-m', 'trans3dhead_ros.ros.demo.demo']


def demo(*arguments, timeout=240):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True,
                          timeout=timeout)


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    """Return a folder of four pictures; the second one is empty."""
    folder, heads = tmp_path_factory.mktemp('pictures'), turning_heads()
    for index, image in enumerate((heads[6], heads[2], heads[9], heads[12])):
        cv2.imwrite(str(folder / f'{index}.png'), image)
    return folder


@pytest.fixture(scope='module')
def result(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp('result')
    return folder, demo('--source', pictures, '--output', folder)


def rows_of(folder):
    return [json.loads(line) for line in (folder / 'heads.jsonl').read_text().splitlines()]


def test_there_is_one_row_per_frame_even_without_a_head(result):
    folder, run = result
    assert run.returncode == 0, run.stderr
    rows = rows_of(folder)
    assert [row['frame'] for row in rows] == [0, 1, 2, 3]
    assert [row['stamp'] for row in rows] == [0.0, 0.1, 0.2, 0.3]
    assert [len(row['heads']) for row in rows] == [1, 0, 1, 1]
    head = rows[0]['heads'][0]
    assert set(head) == {'id', 'score', 'box', 'euler_deg', 'position', 'quaternion', 'landmarks',
                         'face_visible'}
    assert head['face_visible']
    assert np.shape(head['landmarks']) == (68, 3)


def test_there_is_a_video_and_a_picture(result, pictures):
    folder, _ = result
    capture = cv2.VideoCapture(str(folder / 'overlay.mp4'))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    assert len(frames) == 4
    source = cv2.imread(str(pictures / '0.png'))
    picture = cv2.imread(str(folder / 'overlay.png'))
    assert picture.shape == frames[0].shape == source.shape
    # Something is drawn, but most of it is the source.
    changed = np.abs(frames[0].astype(int) - source).max(axis=-1) > 40
    assert 0.005 < changed.mean() < 0.5


def test_there_is_a_bag_of_what_was_published(result):
    folder, _ = result
    with Reader(folder / 'bag') as bag:
        counts = {c.topic: c.msgcount for c in bag.connections}
        heads = [types().deserialize_cdr(data, c.msgtype) for c, _, data in bag.messages()
                 if c.topic == '/heads']
        images = [types().deserialize_cdr(data, c.msgtype) for c, _, data in bag.messages()
                  if c.topic == '/image_raw/compressed']
    assert counts['/heads'] == counts['/image_raw/compressed'] == 4
    assert counts['/head_pose'] == counts['/tf'] == 3
    assert [len(message.heads) for message in heads] == [1, 0, 1, 1]
    assert [*map(stamp_ns, heads)] == [*map(stamp_ns, images)]


def test_an_update_collects_the_heads_of_its_bag(result, tmp_path):
    pytest.importorskip('torch')
    folder, _ = result
    # The four images were recorded as fast as they were answered.
    assert main(['update', str(folder / 'bag'), '--output', str(tmp_path / 'run'), '--rate-hz',
                 '1000', '--stages', 'collect']) == 0
    with np.load(tmp_path / 'run' / 'collected' / 'tracked.npz') as tracked:
        assert len(tracked['stamp']) == 3
    assert [*(tmp_path / 'run' / 'collected' / 'crops').iterdir()]


def test_a_summary_is_printed(result):
    _, run = result
    assert run.stderr == ''
    for part in ('frames: 4, with a head: 3, drops: 0', 'fps: ', 'latency: p50 ', 'pose range'):
        assert part in run.stdout
    assert 'pose error' not in run.stdout


def test_in_real_time_the_pose_error_and_drops_are_printed(tmp_path):
    clip = write_turning_head(tmp_path / 'clip', load_head_model(), frames=15)
    run = demo('--source', clip, '--pace', 'realtime', '--output', tmp_path / 'out')
    assert run.returncode == 0, run.stderr
    rows = rows_of(tmp_path / 'out')
    assert [row['frame'] for row in rows] == list(range(15))
    assert 'pose error: ' in run.stdout and 'drops: ' in run.stdout
    with Reader(tmp_path / 'out' / 'bag') as bag:
        # The camera of a rendered clip is known.
        assert any(c.topic == '/camera_info' for c in bag.connections)


@pytest.mark.parametrize(('arguments', 'word'), [
    (['--source', '/no/such/clip.mp4'], 'clip.mp4'),
    (['--source', __file__], 'cannot be opened'),
    (['--pace', 'slow'], 'slow'),
    (['--sauce', 'x'], '--sauce'),
])
def test_user_mistakes_are_one_line_and_code_two(arguments, word, tmp_path):
    run = demo(*arguments, '--output', tmp_path)
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1 and word in run.stderr
    assert not (tmp_path / 'heads.jsonl').exists()


@pytest.mark.parametrize('name', ['bag', 'log'])
def test_files_that_are_not_of_a_demo_are_not_replaced(name, pictures, tmp_path):
    (tmp_path / name).mkdir()
    (tmp_path / name / 'dear.txt').write_text('to somebody')
    run = demo('--source', pictures, '--output', tmp_path)
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1 and 'output: ' in run.stderr
    assert (tmp_path / name / 'dear.txt').exists()


def test_results_of_other_programs_and_the_source_are_not_replaced(pictures, tmp_path):
    (tmp_path / 'heads.jsonl').write_text('mine')
    run = demo('--source', pictures, '--output', tmp_path)
    assert run.returncode == 2 and 'heads.jsonl exists and is not from a demo' in run.stderr
    (tmp_path / 'heads.jsonl').unlink()
    picture = (pictures / '0.png').read_bytes()
    (tmp_path / 'overlay.png').write_bytes(picture)
    run = demo('--source', tmp_path / 'overlay.png', '--output', tmp_path)
    assert run.returncode == 2 and 'is or holds the source' in run.stderr
    assert (tmp_path / 'overlay.png').read_bytes() == picture


def test_a_failing_process_ends_the_demo_with_its_reason(pictures, tmp_path):
    run = demo('--source', pictures, '--output', tmp_path, '--model', '/no/such.safetensors')
    assert run.returncode == 1
    assert len(run.stderr.splitlines()) == 1 and 'no such checkpoint' in run.stderr


def children_of(parent):
    # The fourth field, behind the name in brackets, is the parent.
    children = []
    for path in Path('/proc').glob('[0-9]*/stat'):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            stat = path.read_text()
            if int(stat.rpartition(')')[2].split()[1]) == parent:
                children.append(int(stat.split()[0]))
    return children


def test_an_interrupted_demo_leaves_no_process(pictures, tmp_path):
    process = subprocess.Popen(
        [*COMMAND, '--source', str(pictures), '--output', str(tmp_path)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while len(children := children_of(process.pid)) < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert 'Traceback' not in process.stderr.read()
    assert len(children) == 3
    for pid in children:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize('name', ['image_publisher', 'recorder'])
def test_what_only_publishes_or_records_does_not_load_pytorch(name):
    run = subprocess.run(
        [sys.executable, '-c', f'import sys, trans3dhead_ros.ros.demo.{name}\n'
         'sys.exit("torch" in sys.modules)'])
    assert run.returncode == 0
