"""The viewer gets what a bag or live topics hold, with their stamps."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
pytest.importorskip('rerun',
                    reason='Rerun is not installed: pip install -r requirements/viewer.txt')

import rerun as rr
import ros_graph
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.serialization import deserialize_message, serialize_message
from rclpy.time import Time
from std_msgs.msg import Header
from trans3dhead.msg import HeadArray

from trans3dhead_ros.bags.bag_reader import BagReader
from trans3dhead_ros.bags.bag_writer import Bag
from trans3dhead_ros.camera import Camera
from trans3dhead_ros.cli.main import main
from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.network.checkpoint import load_head_model
from trans3dhead_ros.ros.camera_info import camera_info
from trans3dhead_ros.ros.messages import bgr_image
from trans3dhead_training.synthesis.preview.head_renderer import HeadRenderer

ROOT = Path(__file__).resolve().parents[3]
SIZE = (320, 240)
CAMERA = Camera.from_fov(SIZE, 60.0)
FIRST = 1_700_000_000_000_000_000  # ns
STAMPS = [FIRST + index * 40_000_000 for index in range(10)]


def header_at(stamp):
    return Header(stamp=Time(nanoseconds=stamp).to_msg(), frame_id='camera')


@pytest.fixture(scope='module')
def pictures():
    """Four pictures of a turning head, then six empty ones."""
    renderer, wall = HeadRenderer.of(load_head_model()), np.full((*SIZE[::-1], 3), 120, np.uint8)
    return [renderer.render(wall, CAMERA, rotation_from_euler(np.array([yaw, -3.0, 0.0])),
                            np.array([0.01, 0.0, 0.45]))
            for yaw in (-4.0, -2.0, 0.0, 2.0)] + [wall] * 6


@pytest.fixture(scope='module')
def bag(pictures, tmp_path_factory):
    """What was recorded, the heads in it and their meshes, and a report of a node."""
    folder = tmp_path_factory.mktemp('bag')
    with Bag(folder / 'recorded') as bag:
        for stamp, picture in zip(STAMPS, pictures, strict=True):
            info = camera_info(CAMERA)
            info.header = header_at(stamp)
            bag.write('/camera_info', 'sensor_msgs/msg/CameraInfo', stamp, serialize_message(info))
            bag.write('/image_raw', 'sensor_msgs/msg/Image', stamp,
                      serialize_message(bgr_image(header_at(stamp), picture)))
        status = DiagnosticStatus(level=DiagnosticStatus.WARN, name='head_tracker: tracking',
                                  message='2 bad messages', values=[
            KeyValue(key='inference p50 (ms)', value='12.5'),
            KeyValue(key='device', value='cpu')])
        bag.write('/diagnostics', 'diagnostic_msgs/msg/DiagnosticArray', STAMPS[3],
                  serialize_message(DiagnosticArray(header=header_at(STAMPS[3]), status=[status])))
    assert main(['track', str(folder / 'recorded'), '--output', str(folder / 'heads.mcap'),
                 '--mesh', '--copy', 'all']) == 0
    return folder / 'heads.mcap'


def read(path):
    """Return what a recording holds: entity -> component -> [(stamp or None, value)]."""
    found = defaultdict(lambda: defaultdict(list))
    for chunk in rr.chunk.RrdReader(str(path)).stream():
        batch = chunk.to_record_batch()
        stamps = batch.column('stamp').cast('int64').to_pylist() \
            if 'stamp' in batch.schema.names else [None] * batch.num_rows
        for name in batch.schema.names:
            if ':' in name:
                found[chunk.entity_path][name].extend(zip(stamps, batch.column(name), strict=True))
    return found


def stamps_of(rows):
    return [stamp for stamp, _ in rows]


@pytest.fixture(scope='module')
def recording(bag, tmp_path_factory):
    path = tmp_path_factory.mktemp('view') / 'seen.rrd'
    assert main(['view', str(bag), '--save', str(path)]) == 0
    return read(path)


def test_every_message_of_a_bag_is_seen_at_its_stamp(recording):
    with_head = STAMPS[:4]
    identity = next(path.split('/')[3] for path in recording if path.startswith('/camera/heads/'))
    for entity, component, stamps in (
            ('/camera/image', 'EncodedImage:blob', STAMPS),
            ('/camera/image', 'Pinhole:image_from_camera', STAMPS),
            (f'/camera/image/heads/{identity}/landmarks', 'Points2D:positions', with_head),
            (f'/camera/image/heads/{identity}/box', 'Boxes2D:half_sizes', with_head),
            (f'/camera/heads/{identity}/landmarks', 'Points3D:positions', with_head),
            (f'/camera/heads/{identity}/axes', 'Transform3D:quaternion', with_head),
            (f'/camera/heads/{identity}/mesh', 'Mesh3D:vertex_positions', with_head),
            (f'/camera/heads/{identity}/mesh', 'Mesh3D:triangle_indices', [None]),
            (f'/camera/heads/{identity}/trail', 'LineStrips3D:strips', with_head),
            (f'/plots/position/{identity}', 'Scalars:scalars', with_head),
            (f'/plots/angles/{identity}', 'Scalars:scalars', with_head),
            ('/diagnostics/inference_p50_ms', 'Scalars:scalars', [STAMPS[3]]),
            ('/diagnostics/log', 'TextLog:text', [STAMPS[3]])):
        assert stamps_of(recording[entity][component]) == stamps, (entity, component)
    # The device is no number.
    assert '/diagnostics/device' not in recording


def test_numbers_are_those_of_the_messages(recording, bag):
    with BagReader(bag) as reader:
        head = deserialize_message(next(reader.messages(['/heads'])).data, HeadArray).heads[0]
    identity = head.id
    _, points = recording[f'/camera/image/heads/{identity}/landmarks']['Points2D:positions'][0]
    expected = np.reshape(head.landmarks_px, (68, 3))[:, :2]
    np.testing.assert_allclose(points.as_py(), expected, rtol=1e-6)
    _, position = recording[f'/plots/position/{identity}']['Scalars:scalars'][0]
    at = head.pose.pose.position
    np.testing.assert_allclose(position.as_py(), [at.x, at.y, at.z])
    _, trail = recording[f'/camera/heads/{identity}/trail']['LineStrips3D:strips'][-1]
    assert np.shape(trail.as_py()) == (1, 4, 3)


def test_a_head_that_is_lost_is_taken_away(recording):
    identity = next(path.split('/')[3] for path in recording if path.startswith('/camera/heads/'))
    for entity in (f'/camera/heads/{identity}', f'/camera/image/heads/{identity}'):
        assert stamps_of(recording[entity]['Clear:is_recursive']) == [STAMPS[4]]


def test_meshes_that_were_not_recorded_are_made_from_the_coefficients(
        recording, bag, tmp_path_factory):
    folder = tmp_path_factory.mktemp('bare')
    # -p: another size than the model's, which the coefficients do not tell.
    for name, arguments in (('with', ['--mesh']), ('without', [])):
        assert main(['track', str(bag), '--output', str(folder / f'{name}.mcap'), *arguments,
                     '-p', 'head_scale:=0.8']) == 0
        assert main(['view', str(folder / f'{name}.mcap'), '--save',
                     str(folder / f'{name}.rrd')]) == 0
    meshes = [[np.array(value.as_py()) for entity in found if entity.endswith('/mesh')
               for stamp, value in found[entity]['Mesh3D:vertex_positions']]
              for found in (read(folder / 'with.rrd'), read(folder / 'without.rrd'))]
    assert len(meshes[0]) == len(meshes[1]) == 4
    for made, recorded in zip(*meshes, strict=True):
        np.testing.assert_allclose(made, recorded, atol=1e-4)


def test_live_topics_are_recorded_without_a_display(pictures, tmp_path):
    import rclpy
    ros_graph.start_ros()
    tracker = ros_graph.TrackerProcess(tmp_path / 'tracker.txt', '-p', 'autostart:=true')
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    environment = {k: v for k, v in os.environ.items() if k not in ('DISPLAY', 'WAYLAND_DISPLAY')}
    viewer = subprocess.Popen(
        [sys.executable, '-m', 'trans3dhead_ros.cli.main', 'view', '--save', tmp_path / 'live.rrd'],
        stderr=subprocess.PIPE, text=True, env={**environment, 'PYTHONPATH': path})
    client = ros_graph.Client()
    client.wait_for_tracker()
    nodes = {'head_tracker', 'trans3dhead_view'}
    assert client.spin_until(lambda: nodes <= {
        end.node_name for end in client.get_subscriptions_info_by_topic('/image_raw')}, 60.0)
    client.diagnostics()
    asked = {}
    deadline = time.monotonic() + 60.0
    # As long as it takes until everything has come through at least once.
    while time.monotonic() < deadline:
        info = camera_info(CAMERA)
        info.header = client.header()
        client.infos.publish(info)
        header = client.send(pictures[len(asked) % 4])
        asked[Time.from_msg(header.stamp).nanoseconds] = client.answer(header)
        client.spin_for(0.2)
        size = (tmp_path / 'live.rrd').stat().st_size if len(asked) > 8 else 0
        if size > 500_000 and len(client.received['/diagnostics']) > 2:
            break
    viewer.send_signal(signal.SIGINT)
    assert viewer.wait(60) == 0, viewer.stderr.read()
    assert 'Traceback' not in viewer.stderr.read()
    client.close()
    assert tracker.stop() == 0, tracker.text()
    rclpy.try_shutdown()
    found = read(tmp_path / 'live.rrd')
    positions = [entity for entity in found if entity.startswith('/plots/position/')]
    stamps = stamps_of(found[positions[0]]['Scalars:scalars'])
    stamps = [stamp for stamp in stamps if stamp is not None]
    assert len(stamps) > 1 and {*stamps} <= {*asked}
    assert {*stamps_of(found['/camera/image']['EncodedImage:blob'])} & {*asked}
    assert any(entity.endswith('/mesh') and 'Mesh3D:vertex_positions' in found[entity]
               for entity in found)
    assert found['/diagnostics/images_answered']['Scalars:scalars']


def test_a_browser_is_served(bag):
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    viewer = subprocess.Popen(
        [sys.executable, '-m', 'trans3dhead_ros.cli.main', 'view', str(bag), '--web', '--port',
         str(port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)})
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
    told = capsys.readouterr()
    assert message in told.err and told.err.count('\n') == 1 and not told.out
    assert not (tmp_path / 'a.rrd').exists()


def test_without_rerun_it_is_said_how_to_install_it(bag):
    script = ('import sys; sys.modules["rerun"] = None\n'
              'from trans3dhead_ros.cli.main import main\n'
              f'sys.exit(main(["view", {str(bag)!r}]))')
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count('\n') == 1
    pinned = (ROOT / 'requirements' / 'viewer.txt').read_text().split()
    assert next(word for word in pinned if word.startswith('rerun-sdk==')) in done.stderr
