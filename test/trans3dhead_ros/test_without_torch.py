"""What a robot runs needs no torch: the library, the command line, the node and the demo."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from trans3dhead_ros.inference.backends import is_installed
from trans3dhead_ros.media.clip_truth import bundled_clip
from trans3dhead_ros.media.sources import open_source
from trans3dhead_ros.model_files.model_metadata import bundled_model

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

model = sys.argv[1] if sys.argv[1] != 'default' else "''"
rclpy.init(args=['--ros-args', '-p', f'model:={model}', '-p', 'autostart:=true'])
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
def pair(request) -> Path:
    """Return the checkpoint of a model: a small one where torch can write it."""
    return request.getfixturevalue('model_pair') if is_installed('torch') else bundled_model()


@pytest.fixture(scope='module')
def graph(pair, tmp_path_factory) -> Path:
    """Return an ONNX file without its checkpoint."""
    return Path(shutil.copy(pair.with_suffix('.onnx'), tmp_path_factory.mktemp('lone')))


def run(script: str, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-c', BLOCK + script, *map(str, arguments)],
                          capture_output=True, text=True, timeout=120, cwd=ROOT)


COMMAND = 'from trans3dhead_ros.cli.main import main; sys.exit(main(sys.argv[1:]))'


def test_the_library_aligns(graph):
    done = run("""
import numpy as np
import trans3dhead_ros
pipeline = trans3dhead_ros.HeadPipeline.load(sys.argv[1])
vertex_count = len(pipeline.aligner.head_model.mean)
image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
head, = pipeline.align(image, [[20, 30, 60, 80]])
assert head.vertices.shape == (vertex_count, 3) and np.isfinite(head.landmarks).all()
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


def test_info_describes_both_files(graph, pair):
    about = {}
    for path in (graph, pair):
        done = run(COMMAND, 'info', path, '--json')
        assert done.returncode == 0, done.stderr
        about[path] = json.loads(done.stdout)
    for name in ('licence', 'head_model', 'network', 'sha256'):
        assert about[graph][name] == about[pair][name]


def test_a_checkpoint_without_its_graph_says_how_to_run_it(pair, tmp_path):
    lone = shutil.copy(pair, tmp_path)
    done = run(COMMAND, 'track', bundled_clip(), '--json', tmp_path / 'no.jsonl', '--model', lone)
    assert done.returncode == 2 and '`trans3dhead export`' in done.stderr
    assert done.stderr.count('\n') == 1


@pytest.mark.parametrize('command', [
    ['track', '{frames}', '--json', '{json}'], ['detect', '{frames}', '--json', '{json}'],
    ['info'], ['view', '--help']], ids=lambda command: command[0])
def test_the_default_model_runs(frames, tmp_path, command):
    path = tmp_path / 'heads.jsonl'
    done = run(COMMAND, *(part.format(frames=frames, json=path) for part in command))
    assert done.returncode == 0, done.stderr
    if command[0] in ('track', 'detect'):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert [len(row['heads']) for row in rows] == [2, 2, 2]


def test_a_training_command_names_the_packages_that_it_needs(tmp_path):
    done = run(COMMAND, 'train', f'data={tmp_path}')
    assert done.returncode == 2 and done.stderr.count('\n') == 1
    assert "pip install '.[training]'" in done.stderr


@pytest.mark.ros
@pytest.mark.parametrize('model', ['graph', 'default'])
def test_the_node_finds_heads(graph, model):
    pytest.importorskip('rclpy', reason='ROS 2 is not installed')
    done = run(NODE, graph if model == 'graph' else model)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) >= 1


@pytest.mark.ros
def test_the_demo_finds_heads(frames, tmp_path):
    pytest.importorskip('rclpy', reason='ROS 2 is not installed')
    source = tmp_path / 'source'
    source.mkdir()
    # The first picture takes a whole search; the demo goes on to the next ones after a second.
    for index in range(12):
        shutil.copy(frames / f'{index % 3}.png', source / f'{index:02}.png')
    path = os.pathsep.join([str(ROOT / 'test' / 'helpers' / 'without_torch'), str(ROOT)])
    done = subprocess.run(
        [sys.executable, '-m', 'trans3dhead_ros.ros.demo.demo', '--source', source, '--output',
         tmp_path / 'out'], capture_output=True, text=True, timeout=180,
        env=os.environ | {'PYTHONPATH': path})
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / 'out/heads.jsonl').read_text().splitlines()]
    assert len(rows) == 12 and len(rows[-1]['heads']) == 2
