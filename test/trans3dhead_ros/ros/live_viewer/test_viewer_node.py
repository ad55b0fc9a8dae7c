"""The viewer records the topics of a running tracker."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
pytest.importorskip('rerun',
                    reason='Rerun is not installed: pip install -r requirements/viewer.txt')

import rclpy
import ros_graph
from bags import CAMERA, turning_heads
from rclpy.time import Time
from rerun_recordings import read, stamps_of

from trans3dhead_ros.ros.camera_info import camera_info

pytestmark = pytest.mark.ros
ROOT = Path(__file__).resolve().parents[4]


def test_live_topics_are_recorded_without_a_display(tmp_path):
    images = turning_heads()[4:8]
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
        header = client.send(images[len(asked) % 4])
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
