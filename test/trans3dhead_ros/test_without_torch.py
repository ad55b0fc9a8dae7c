"""A model's ONNX file alone runs where torch cannot be imported."""

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from trans3dhead_ros.media.clip_truth import bundled_clip
from trans3dhead_ros.media.sources import open_source

ROOT = Path(__file__).resolve().parents[2]
# None in sys.modules makes `import` fail as it does where the package is not installed.
BLOCK = "import sys; sys.modules.update(dict.fromkeys(('torch', 'safetensors', 'onnx')))\n"
NODE = """
import rclpy
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image
from trans3dhead.msg import HeadArray
from trans3dhead_ros.media.clip_truth import bundled_clip
from trans3dhead_ros.media.sources import open_source
from trans3dhead_ros.ros import messages
from trans3dhead_ros.ros.node.head_tracker_node import HeadTracker
from std_msgs.msg import Header
import time

rclpy.init(args=['--ros-args', '-p', f'model:={sys.argv[1]}', '-p', 'autostart:=true'])
tracker, other = HeadTracker(), Node('other')
tracker.start()
executor = MultiThreadedExecutor()
executor.add_node(tracker), executor.add_node(other)
found = []
other.create_subscription(HeadArray, 'heads', found.append, 10)
images = other.create_publisher(Image, 'image_raw', 1)
with open_source(bundled_clip()) as source:
    image = next(iter(source)).image
end = time.monotonic() + 60.0
while not any(message.heads for message in found) and time.monotonic() < end:
    images.publish(messages.bgr_image(Header(frame_id='camera'), image))
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        executor.spin_once(timeout_sec=0.1)
print(len(next(message.heads for message in found if message.heads)))
tracker.stop()
rclpy.shutdown()
"""


@pytest.fixture(scope='module')
def graph(model_pair, tmp_path_factory) -> Path:
    return Path(shutil.copy(model_pair.with_suffix('.onnx'), tmp_path_factory.mktemp('lone')))


def run(script: str, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-c', BLOCK + script, *map(str, arguments)],
                          capture_output=True, text=True, timeout=120, cwd=ROOT)


COMMAND = 'from trans3dhead_ros.cli.main import main; sys.exit(main(sys.argv[1:]))'


def test_the_library_aligns(graph):
    done = run("""
import numpy as np
import trans3dhead_ros
pipeline = trans3dhead_ros.HeadPipeline.load(sys.argv[1])
image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
head, = pipeline.align(image, [[20, 30, 60, 80]])
assert head.vertices.shape == (200, 3) and np.isfinite(head.landmarks).all()
print(pipeline.aligner.backend)
""", graph)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ('onnxruntime', 'openvino', 'opencv')


@pytest.fixture(scope='module')
def frames(tmp_path_factory) -> Path:
    """Return a folder with the first frames of the clip."""
    folder = tmp_path_factory.mktemp('frames')
    with open_source(bundled_clip()) as source:
        for index, frame in enumerate(itertools.islice(source, 3)):
            cv2.imwrite(str(folder / f'{index}.png'), frame.image)
    return folder


@pytest.mark.parametrize('command', ['track', 'detect'])
def test_heads_are_found(graph, frames, tmp_path, command):
    path = tmp_path / 'heads.jsonl'
    done = run(COMMAND, command, frames, '--json', path, '--model', graph)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 3 and all(row['heads'] for row in rows)


def test_info_describes_both_files(graph, model_pair):
    for path in (graph, model_pair):
        done = run(COMMAND, 'info', path, '--json')
        assert done.returncode == 0, done.stderr
        about = json.loads(done.stdout)
        assert about['licence'] == 'CC0 1.0' and about['head_model']['vertices'] == 200


def test_a_lone_checkpoint_says_what_makes_it_run(model_pair, tmp_path):
    lone = shutil.copy(model_pair, tmp_path)
    done = run(COMMAND, 'track', bundled_clip(), '--json', tmp_path / 'no.jsonl', '--model', lone)
    assert done.returncode == 2 and '`trans3dhead export`' in done.stderr
    assert done.stderr.count('\n') == 1


@pytest.mark.ros
def test_the_node_finds_heads(graph):
    pytest.importorskip('rclpy', reason='ROS 2 is not installed')
    done = run(NODE, graph)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) >= 1
