"""The viewer shows what a bag contains, at the stamps of the messages."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
pytest.importorskip('rerun',
                    reason='Rerun is not installed: pip install -r requirements/viewer.txt')

from bags import (
    IMAGES,
    calibration,
    header,
    heads_of,
    message,
    raw_image,
    stamp_of,
    turning_heads,
    types,
)
from rerun_recordings import read, stamps_of

from trans3dhead_ros.bags.bag_writer import BagWriter
from trans3dhead_ros.cli.main import main

pytestmark = pytest.mark.ros
ROOT = Path(__file__).resolve().parents[3]
STAMPS = [stamp_of(index) for index in range(7)]
WITH_HEAD = STAMPS[:4]


def diagnostics(stamp):
    """Return a report of a node, serialized."""
    known, package = types().types, 'diagnostic_msgs/msg'
    values = [known[f'{package}/KeyValue'](*pair)
              for pair in (('inference p50 (ms)', '12.5'), ('device', 'cpu'))]
    status = known[f'{package}/DiagnosticStatus'](
        level=1, name='head_tracker: tracking', message='2 bad messages', hardware_id='',
        values=values)
    return message(f'{package}/DiagnosticArray', header=header(stamp), status=[status])


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    """Return a bag with images, the heads in them and their meshes, and a report of a node."""
    folder = tmp_path_factory.mktemp('bag')
    heads = turning_heads()
    with BagWriter(folder / 'recorded') as bag:
        for stamp, image in zip(STAMPS, (*heads[4:8], *[heads[2]] * 3), strict=True):
            bag.write('/cam/camera_info', 'sensor_msgs/msg/CameraInfo', stamp, calibration(stamp))
            bag.write(IMAGES, 'sensor_msgs/msg/Image', stamp, raw_image(stamp, image))
        bag.write('/diagnostics', 'diagnostic_msgs/msg/DiagnosticArray', STAMPS[3],
                  diagnostics(STAMPS[3]))
    assert main(['track', str(folder / 'recorded'), '--output', str(folder / 'heads.mcap'),
                 '--mesh', '--copy', 'all']) == 0
    return folder / 'heads.mcap'


@pytest.fixture(scope='module')
def recording(bag, tmp_path_factory):
    path = tmp_path_factory.mktemp('view') / 'seen.rrd'
    assert main(['view', str(bag), '--save', str(path)]) == 0
    return read(path)


def test_every_message_of_a_bag_is_shown_at_its_stamp(recording):
    head = next(path.split('/')[3] for path in recording if path.startswith('/camera/heads/'))
    for entity, component, stamps in (
            ('/camera/image', 'EncodedImage:blob', STAMPS),
            ('/camera/image', 'Pinhole:image_from_camera', STAMPS),
            (f'/camera/image/heads/{head}/landmarks', 'Points2D:positions', WITH_HEAD),
            (f'/camera/image/heads/{head}/box', 'Boxes2D:half_sizes', WITH_HEAD),
            (f'/camera/heads/{head}/landmarks', 'Points3D:positions', WITH_HEAD),
            (f'/camera/heads/{head}/axes', 'Transform3D:quaternion', WITH_HEAD),
            (f'/camera/heads/{head}/mesh', 'Mesh3D:vertex_positions', WITH_HEAD),
            (f'/camera/heads/{head}/mesh', 'Mesh3D:triangle_indices', [None]),
            (f'/camera/heads/{head}/trail', 'LineStrips3D:strips', WITH_HEAD),
            (f'/plots/position/{head}', 'Scalars:scalars', WITH_HEAD),
            (f'/plots/angles/{head}', 'Scalars:scalars', WITH_HEAD),
            ('/diagnostics/inference_p50_ms', 'Scalars:scalars', [STAMPS[3]]),
            ('/diagnostics/log', 'TextLog:text', [STAMPS[3]])):
        assert stamps_of(recording[entity][component]) == stamps, (entity, component)
    # The device is not a number.
    assert '/diagnostics/device' not in recording


def test_numbers_are_those_of_the_messages(recording, bag):
    head = heads_of(bag)[0].heads[0]
    _, points = recording[f'/camera/image/heads/{head.id}/landmarks']['Points2D:positions'][0]
    expected = np.reshape(head.landmarks_px, (68, 3))[:, :2]
    np.testing.assert_allclose(points.as_py(), expected, rtol=1e-6)
    _, position = recording[f'/plots/position/{head.id}']['Scalars:scalars'][0]
    at = head.pose.pose.position
    np.testing.assert_allclose(position.as_py(), [at.x, at.y, at.z])
    _, trail = recording[f'/camera/heads/{head.id}/trail']['LineStrips3D:strips'][-1]
    assert np.shape(trail.as_py()) == (1, 4, 3)


def test_a_lost_head_is_removed(recording):
    head = next(path.split('/')[3] for path in recording if path.startswith('/camera/heads/'))
    for entity in (f'/camera/heads/{head}', f'/camera/image/heads/{head}'):
        assert stamps_of(recording[entity]['Clear:is_recursive']) == [STAMPS[4]]


def test_meshes_that_were_not_recorded_are_rebuilt(bag, tmp_path):
    # -p: another size than the model's, which the coefficients do not tell.
    for name, arguments in (('with', ['--mesh']), ('without', [])):
        assert main(['track', str(bag), '--output', str(tmp_path / f'{name}.mcap'), *arguments,
                     '-p', 'head_scale:=0.8']) == 0
        assert main(['view', str(tmp_path / f'{name}.mcap'), '--save',
                     str(tmp_path / f'{name}.rrd')]) == 0
    meshes = [[np.array(value.as_py()) for entity in found if entity.endswith('/mesh')
               for stamp, value in found[entity]['Mesh3D:vertex_positions']]
              for found in (read(tmp_path / 'with.rrd'), read(tmp_path / 'without.rrd'))]
    assert len(meshes[0]) == len(meshes[1]) == 4
    for made, recorded in zip(*meshes, strict=True):
        np.testing.assert_allclose(made, recorded, atol=1e-4)


def test_a_bag_is_shown_without_ros(bag, recording, tmp_path):
    blocked = ('rclpy', 'ament_index_python', 'trans3dhead', 'sensor_msgs', 'std_msgs')
    script = (f'import sys; sys.modules.update(dict.fromkeys({blocked!r}))\n'
              'from trans3dhead_ros.cli.main import main\n'
              f'sys.exit(main(["view", {str(bag)!r}, "--save", {str(tmp_path / "a.rrd")!r}]))')
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / 'a.rrd').keys() == recording.keys()


def test_a_damaged_bag_is_shown_up_to_the_damage(bag, tmp_path, capsys):
    cut = tmp_path / 'cut.mcap'
    data = bag.read_bytes()
    cut.write_bytes(data[:len(data) * 2 // 3])
    assert main(['view', str(cut), '--save', str(tmp_path / 'a.rrd')]) == 1
    assert 'the bag is damaged, the readable part is shown' in capsys.readouterr().err
    stamps = stamps_of(read(tmp_path / 'a.rrd')['/camera/image']['EncodedImage:blob'])
    assert stamps and stamps == STAMPS[:len(stamps)]


def test_a_browser_is_served(bag):
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    viewer = subprocess.Popen(
        [sys.executable, '-m', 'trans3dhead_ros.cli.main', 'view', str(bag), '--web', '--port',
         str(port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, [
            str(ROOT), os.environ.get('PYTHONPATH')]))})
    try:
        page, deadline = '', time.monotonic() + 60.0
        while not page and viewer.poll() is None and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f'http://127.0.0.1:{port}', timeout=5) as answer:
                    page = answer.read().decode()
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        assert '<html' in page.lower()
        assert f'http://localhost:{port}/?url=' in viewer.stdout.readline()
        while 'served until' not in viewer.stderr.readline() and viewer.poll() is None:
            pass
    finally:
        viewer.send_signal(signal.SIGINT)
    assert viewer.wait(60) == 0


@pytest.mark.parametrize(('arguments', 'message'), [
    (['{bag}'], 'no display'),
    ([], 'no display'),
    (['{tmp}/none.mcap', '--web'], 'none.mcap does not exist'),
    (['{bag}', '--save', '{tmp}/there.rrd'], 'there.rrd exists'),
    (['{bag}', '--save', '{tmp}/a.rrd', '--namespace', 'front'], 'namespace of one of /heads'),
    (['{bag}', '--save', '{tmp}/a.rrd', '--image', '/rear'], '/rear has no images'),
    (['{raw}', '--save', '{tmp}/a.rrd'], 'trans3dhead track'),
    (['--save', '{tmp}/a.rrd', '--duration', '-1'], 'duration'),
    (['--save', '{tmp}/a.rrd', '--web'], 'not allowed with'),
    (['--web', '--port', '70000'], 'port'),
])
def test_a_mistake_is_one_line_and_code_two(
        bag, tmp_path, capsys, monkeypatch, arguments, message):
    for variable in ('DISPLAY', 'WAYLAND_DISPLAY'):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / 'there.rrd').write_text('dear to somebody')
    names = {'bag': bag, 'tmp': tmp_path, 'raw': bag.parent / 'recorded'}
    assert main(['view', *(argument.format(**names) for argument in arguments)]) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.err.count('\n') == 1 and not printed.out
    assert not (tmp_path / 'a.rrd').exists()
