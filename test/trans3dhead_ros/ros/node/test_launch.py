"""The launch files and their configuration; really started where `ros2 launch` is installed."""

import ast
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.node import Node
from ros_graph import OUTPUTS, start_ros
from synthetic import small_network
from trans3dhead.msg import HeadArray
from trans3dhead.srv import LoadModel

from trans3dhead_ros.media.clip_truth import bundled_clip
from trans3dhead_ros.media.sources import open_source
from trans3dhead_ros.model_files.model_metadata import bundled_model
from trans3dhead_ros.network.checkpoint import save_checkpoint
from trans3dhead_ros.ros.markers import NAMESPACES
from trans3dhead_ros.ros.tracker_parameters import (
    declare_tracker_parameters,
    read_tracker_parameters,
)

pytestmark = pytest.mark.ros

ROOT = Path(__file__).resolve().parents[4]
CONFIG = ROOT / 'config'
LAUNCH_FILES = sorted((ROOT / 'launch').glob('*.launch.py'))
DOCUMENT = (ROOT / 'docs' / 'launch.md').read_text()
# What the RViz files use of rviz_common and rviz_default_plugins: properties by display, which RViz
# would ignore in silence if they were misspelt, and those of every display with a topic.
DISPLAYS = {
    'Image': {'Max Value', 'Median window', 'Min Value', 'Normalize Range'},
    'MarkerArray': {'Namespaces'},
    'PointCloud2': {'Alpha', 'Color', 'Color Transformer', 'Decay Time', 'Position Transformer',
                    'Size (m)', 'Size (Pixels)', 'Style', 'Use Fixed Frame'},
    'Pose': {'Alpha', 'Axes Length', 'Axes Radius', 'Color', 'Head Length', 'Head Radius',
             'Shaft Length', 'Shaft Radius', 'Shape'},
    'TF': {'Frame Timeout', 'Frames', 'Marker Scale', 'Show Arrows', 'Show Axes', 'Show Names',
           'Update Interval'},
}
EVERY_DISPLAY = {'Class', 'Enabled', 'Name', 'Topic', 'Value'}
TOPIC = {'Depth', 'Durability Policy', 'Filter size', 'History Policy', 'Reliability Policy',
         'Value'}
TOOLS = {'MoveCamera', 'Select', 'FocusCamera', 'Measure'}


# -- the files themselves ------------------------------------------------------------------------


def arguments_of(path: Path) -> dict[str, dict[str, str]]:
    """Name -> its keywords, as text; what is computed stays an expression."""
    found = {}
    for call in ast.walk(ast.parse(path.read_text())):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == 'DeclareLaunchArgument':
            found[call.args[0].value] = {
                word.arg: word.value.value if isinstance(word.value, ast.Constant)
                else ast.unparse(word.value) for word in call.keywords}
    return found


@pytest.mark.parametrize('path', LAUNCH_FILES, ids=lambda path: path.name)
def test_every_argument_has_a_description_and_a_default(path):
    arguments = arguments_of(path)
    assert arguments
    for name, words in arguments.items():
        assert words.get('description') and 'default_value' in words, name


@pytest.mark.parametrize('path', LAUNCH_FILES, ids=lambda path: path.name)
def test_the_page_on_launching_lists_the_arguments_as_they_are(path):
    section = DOCUMENT.split(f'`{path.name}`\n', 1)[1].split('\n## ', 1)[0]
    rows = re.findall(r'^\| `(\w+)` \| (.*?) \| (.*) \|$', section, re.MULTILINE)
    expected = []
    for name, words in arguments_of(path).items():
        default = words['default_value']
        in_config = re.search(r"'([\w.]+)'\)$", default)
        default = f'config/{in_config[1]}' if in_config else default
        expected.append((name, f'`{default}`' if default else '', words['description']))
    assert rows == expected


def test_every_driver_has_its_parameter_file():
    tree = ast.parse((ROOT / 'launch' / 'head_tracking.launch.py').read_text())
    drivers = next(node.value for node in tree.body if isinstance(node, ast.Assign)
                   and node.targets[0].id == 'DRIVERS')
    files = {f'camera_{key.value}.yaml' for key in drivers.keys}
    assert files == {path.name for path in CONFIG.glob('camera_*.yaml')}
    for name in files:
        (root,) = yaml.safe_load((CONFIG / name).read_text()).items()
        assert root[0] == '/**' and root[1]['ros__parameters'], name


def flat(parameters: dict, prefix: str = '') -> dict[str, object]:
    """{'front': {'max_rate': 5.0}} as {'front.max_rate': 5.0}."""
    found = {}
    for name, value in parameters.items():
        if isinstance(value, dict):
            found |= flat(value, f'{prefix}{name}.')
        else:
            found[prefix + name] = value
    return found


@pytest.mark.parametrize('name', ['head_tracker.yaml', 'multi_camera.yaml'])
def test_the_node_knows_and_takes_every_parameter_of_the_file(name):
    start_ros()
    node = Node('any_name', namespace='anywhere',
                cli_args=['--ros-args', '--params-file', str(CONFIG / name)])
    try:
        declare_tracker_parameters(node)
        wanted = flat(yaml.safe_load((CONFIG / name).read_text())['/**']['ros__parameters'])
        assert {key: node.get_parameter(key).value for key in wanted} == wanted
        assert read_tracker_parameters(node).camera_names() == (
            ('front', 'rear') if name.startswith('multi') else ('',))
    finally:
        node.destroy_node()


def displays(name: str) -> list[dict]:
    return yaml.safe_load((CONFIG / name).read_text())['Visualization Manager']['Displays']


@pytest.mark.parametrize(('name', 'prefixes'), [
    ('head_tracking.rviz', ['']), ('multi_camera.rviz', ['front/', 'rear/'])])
def test_rviz_shows_what_the_node_publishes(name, prefixes):
    known = {prefix + topic for prefix in prefixes for topic in [*OUTPUTS, 'image_raw']}
    shown = {display['Topic']['Value'] for display in displays(name) if 'Topic' in display}
    assert shown <= known
    for prefix in prefixes:
        assert {f'{prefix}overlay', f'{prefix}head_markers'} <= shown
    for display in displays(name):
        kind = display['Class'].removeprefix('rviz_default_plugins/')
        assert {*display} <= EVERY_DISPLAY | DISPLAYS[kind]
        assert {*display.get('Topic', {})} <= TOPIC
        assert set(display.get('Namespaces', NAMESPACES)) == set(NAMESPACES)
    tools = yaml.safe_load((CONFIG / name).read_text())['Visualization Manager']['Tools']
    assert {tool['Class'].removeprefix('rviz_default_plugins/') for tool in tools} <= TOOLS


# -- what the launch files make of their arguments ------------------------------------------------


@pytest.fixture
def prefix(tmp_path_factory, monkeypatch) -> Path:
    """Return a prefix with the files of the working tree, as an overlay on what is sourced."""
    # Not 'launch': Python takes our folder of that name for a package.
    pytest.importorskip('launch_ros', reason='launch and launch_ros are not installed')
    folder = tmp_path_factory.mktemp('prefix')
    share, programs = folder / 'share' / 'trans3dhead', folder / 'lib' / 'trans3dhead'
    index = folder / 'share' / 'ament_index' / 'resource_index' / 'packages'
    for path in (share, programs, index):
        path.mkdir(parents=True)
    (index / 'trans3dhead').touch()
    shutil.copy(ROOT / 'package.xml', share)
    for name in ('launch', 'config', 'msg', 'srv'):
        shutil.copytree(ROOT / name, share / name)
    for name, module in (('head_tracker', 'node.head_tracker'),
                         ('image_publisher', 'demo.image_publisher'),
                         ('recorder', 'demo.recorder')):
        script = programs / name
        script.write_text(
            f'#!/bin/sh\nexec {sys.executable} -m trans3dhead_ros.ros.{module} "$@"\n')
        script.chmod(0o755)
    for path in (ROOT / 'examples').glob('*.py'):
        shutil.copy(path, programs)
    monkeypatch.setenv('AMENT_PREFIX_PATH', os.pathsep.join(
        [str(folder), os.environ.get('AMENT_PREFIX_PATH', '')]))
    return folder


def module_of(name: str):
    path = ROOT / 'launch' / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def nodes_of(name: str, **given: str) -> list:
    """What a launch file starts with these arguments."""
    import launch
    module = module_of(name)
    context = launch.LaunchContext()
    context.launch_configurations.update(given)
    for argument in module.ARGUMENTS:
        argument.visit(context)
    return module.nodes(context)


@pytest.mark.parametrize(('given', 'message'), [
    ({'camera': 'pinhole'}, 'pinhole'),
    ({'image_transport': 'smoke'}, 'smoke'),
    ({'rviz': 'yes'}, 'yes'),
    ({'camera': 'file'}, 'source:=FILE'),
    ({'camera': 'file', 'source': 'nothing.mp4'}, 'nothing.mp4 does not exist'),
    ({'camera': 'file', 'source': '0', 'image_transport': 'compressed'}, 'raw images'),
    ({'params_file': 'nothing.yaml'}, 'params_file:=nothing.yaml is not a file'),
    ({'cameras': 'a,b', 'image': '/image'}, 'same for several cameras'),
    ({'cameras': 'a,b', 'image': 'x,y,z'}, '3 entries for 2 cameras'),
    ({'cameras': 'a,b', 'image': '/eyes/x,/eyes/y'}, 'camera_info.*same for several cameras'),
    ({'respawn_limit': 'often'}, 'respawn_limit:=often is not a number'),
])
def test_a_mistake_is_reported_before_anything_is_started(prefix, given, message):
    with pytest.raises(RuntimeError, match=message):
        nodes_of('head_tracking.launch.py', **given)


@pytest.mark.parametrize(('given', 'package'), [
    ({'rviz': 'true'}, 'rviz2'), ({'camera': 'usb_cam'}, 'usb-cam'),
    ({'camera': 'v4l2_camera'}, 'v4l2-camera'), ({'rep155': 'true'}, 'hri-msgs'),
    ({'diagnostics': 'true'}, 'diagnostic-aggregator')])
def test_what_is_not_installed_is_named_with_its_apt_package(prefix, given, package):
    from ament_index_python.packages import get_packages_with_prefixes
    if package.replace('-', '_') in get_packages_with_prefixes():
        pytest.skip(f'{package} is installed')
    with pytest.raises(RuntimeError, match=f'sudo apt install ros-.*-{package}$'):
        nodes_of('head_tracking.launch.py', **given)


def test_topics_of_cameras_are_prefixed_with_their_names_unless_absolute(prefix):
    module = module_of('head_tracking.launch.py')
    cameras = ['front', 'rear']
    given = {'cameras': 'front,rear', 'image': 'image_rect'}
    assert module.topics(given, 'image', cameras) == ['front/image_rect', 'rear/image_rect']
    given['image'] = '/a/image, image_raw'
    assert module.topics(given, 'image', cameras) == ['/a/image', 'rear/image_raw']
    assert module.topics({'image': '/a/image'}, 'image', ['']) == ['/a/image']
    beside = given | {'camera_info': ''}
    assert module.topics(beside, 'camera_info', cameras) == ['/a/camera_info', 'rear/camera_info']
    beside['camera_info'] = '/b/info, info'
    assert module.topics(beside, 'camera_info', cameras) == ['/b/info', 'rear/info']


def test_models_are_paths_from_here_or_names_of_bundled_ones(prefix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = module_of('head_tracking.launch.py')
    assert [module.path_or_name(model) for model in ('open', 'default', 'own.onnx', '/a/b')] == [
        'open', 'default', f'{tmp_path}/own.onnx', '/a/b']


# -- started for real ------------------------------------------------------------------------------


class Launch:
    """`ros2 launch trans3dhead …` with its output in a file."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        ros2 = shutil.which('ros2')
        if ros2 is None:
            pytest.skip('ros2 is not installed')
        self.log = folder / 'launch.log'
        with self.log.open('w') as file:
            self.popen = subprocess.Popen(
                [ros2, 'launch', 'trans3dhead', *arguments], cwd=folder, stdout=file,
                stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, 'ROS_LOG_DIR': str(folder / 'log')})

    def __enter__(self) -> 'Launch':
        return self

    def __exit__(self, *_: object) -> None:
        if self.popen.poll() is None:
            os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()

    def text(self) -> str:
        return self.log.read_text()

    def pid_of(self, process: str) -> int:
        return int(re.findall(rf'{process}\]: process started with pid \[(\d+)\]', self.text())[-1])

    def interrupt(self) -> int:
        """Press Ctrl-C and return the exit code."""
        os.killpg(self.popen.pid, signal.SIGINT)
        return self.popen.wait(90)

    def assert_clean(self, *processes: str) -> None:
        text = self.text()
        assert 'Traceback' not in text and 'escalating' not in text, text
        for process in processes:
            assert f'{process}]: process has finished cleanly' in text, text


class Listener(Node):
    """Collects heads by topic."""

    def __init__(self, *topics: str) -> None:
        super().__init__('listener')
        self.received: dict[str, list[HeadArray]] = {topic: [] for topic in topics}
        for topic in topics:
            self.create_subscription(HeadArray, topic, self.received[topic].append, 10)

    def wait(self, condition, launch: Launch, seconds: float = 180.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline and launch.popen.poll() is None, launch.text()
            rclpy.spin_once(self, timeout_sec=0.1)

    def restarts(self) -> str:
        """Return the value of the next report on /diagnostics."""
        reports = []
        subscription = self.create_subscription(DiagnosticArray, '/diagnostics', reports.append, 10)
        while not reports:
            rclpy.spin_once(self)
        self.destroy_subscription(subscription)
        return next(value.value for value in reports[0].status[0].values if value.key == 'restarts')

    def some_heads(self, topic: str) -> HeadArray | None:
        return next((message for message in self.received[topic] if message.heads), None)


@pytest.fixture
def listen():
    start_ros()
    nodes = []

    def make(*topics: str) -> Listener:
        nodes.append(Listener(*topics))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


def test_head_tracking_processes_a_file_and_ends_cleanly(prefix, tmp_path, listen):
    listener = listen('/robot/heads')
    with Launch(tmp_path, 'head_tracking.launch.py', 'namespace:=robot', 'camera:=file',
                f'source:={bundled_clip()}', 'frame_id:=eye', 'device:=cpu') as launched:
        listener.wait(lambda: listener.some_heads('/robot/heads'), launched)
        assert listener.some_heads('/robot/heads').header.frame_id == 'eye'
        assert launched.interrupt() == 0
        launched.assert_clean('head_tracker-1')


def test_launch_testing_sees_heads_and_a_clean_exit(prefix, tmp_path):
    command = shutil.which('launch_test')
    if command is None:
        pytest.skip('launch_testing is not installed')
    done = subprocess.run(
        [command, str(Path(__file__).with_name('launch_test_head_tracking.py'))], cwd=tmp_path,
        env={**os.environ, 'ROS_LOG_DIR': str(tmp_path)}, capture_output=True, text=True,
        timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_example_starts_beside_the_tracker_in_its_namespace(prefix, tmp_path, listen):
    listener = listen('/robot/heads')
    with Launch(tmp_path, 'example.launch.py', 'example:=smile_detector', 'namespace:=robot',
                'camera:=file', f'source:={bundled_clip()}', 'device:=cpu') as launched:
        listener.wait(lambda: listener.some_heads('/robot/heads'), launched)
        assert ('smile_detector', '/robot') in listener.get_node_names_and_namespaces()
        assert launched.interrupt() == 0
        launched.assert_clean('head_tracker-1', 'smile_detector.py-3')


def test_own_models_are_loaded_at_the_start_and_while_a_picture_repeats(
        prefix, tmp_path, listen):
    listener = listen('/heads')
    answers = listener.received['/heads']
    save_checkpoint(tmp_path / 'own.safetensors', small_network(), {'name': 'own'})
    with open_source(bundled_clip()) as source:
        cv2.imwrite(str(tmp_path / 'picture.png'), next(iter(source)).image)
    with Launch(tmp_path, 'head_tracking.launch.py', 'model:=own.safetensors', 'camera:=file',
                'source:=picture.png', 'repeat:=true') as launched:
        listener.wait(lambda: len(answers) > 2, launched)
        assert all(answer.model.startswith('own') for answer in answers)
        client = listener.create_client(LoadModel, '/head_tracker/load_model')
        listener.wait(client.service_is_ready, launched)
        shutil.copy(bundled_model(), tmp_path / 'next.safetensors')
        future = client.call_async(LoadModel.Request(path='next.safetensors'))
        listener.wait(future.done, launched)
        assert future.result().success, future.result().message
        listener.wait(lambda: answers[-1].model == future.result().version, launched)
        assert launched.interrupt() == 0
        launched.assert_clean('head_tracker-1', 'image_publisher-2')


def test_several_cameras_share_one_process(prefix, tmp_path, listen):
    listener = listen('/left/heads', '/right/heads')
    with Launch(tmp_path, 'multi_camera.launch.py', 'cameras:=left,right', 'camera:=file',
                f'source:={bundled_clip()},{bundled_clip()}') as launched:
        listener.wait(lambda: all(map(listener.some_heads, listener.received)), launched)
        left, right = map(listener.some_heads, listener.received)
        assert (left.header.frame_id, right.header.frame_id) == (
            'left_camera_optical_frame', 'right_camera_optical_frame')
        assert not {head.id for head in left.heads} & {head.id for head in right.heads}
        assert launched.text().count('head_tracker-1]: process started') == 1
        assert launched.interrupt() == 0
        launched.assert_clean('head_tracker-1')


def test_the_demo_ends_by_itself_and_leaves_its_results(prefix, tmp_path):
    pictures = tmp_path / 'pictures'
    pictures.mkdir()
    with open_source(bundled_clip()) as source:
        for frame, _ in zip(source, range(6), strict=False):
            cv2.imwrite(str(pictures / f'{frame.index}.png'), frame.image)
    with Launch(tmp_path, 'demo.launch.py', f'source:={pictures}', 'output:=results') as launched:
        assert launched.popen.wait(240) == 0, launched.text()
        launched.assert_clean('recorder-1', 'head_tracker-2', 'image_publisher-3')
    assert len((tmp_path / 'results' / 'heads.jsonl').read_text().splitlines()) == 6
    assert (tmp_path / 'results' / 'overlay.mp4').exists()


def test_without_autostart_the_node_waits_for_its_lifecycle(prefix, tmp_path, listen):
    listener = listen()
    with Launch(tmp_path, 'head_tracking.launch.py', 'autostart:=false') as launched:
        client = listener.create_client(GetState, '/head_tracker/get_state')
        listener.wait(client.service_is_ready, launched)
        future = client.call_async(GetState.Request())
        listener.wait(future.done, launched)
        assert future.result().current_state.id == State.PRIMARY_STATE_UNCONFIGURED
        assert launched.interrupt() == 0


def test_a_killed_tracker_is_restarted(prefix, tmp_path, listen):
    listener = listen()
    with Launch(tmp_path, 'head_tracking.launch.py', 'respawn:=true') as launched:
        listener.wait(lambda: launched.text().count('subscribed to') == 1, launched)
        os.kill(launched.pid_of('head_tracker-1'), signal.SIGKILL)
        listener.wait(lambda: launched.text().count('subscribed to') == 2, launched)
        assert 'exit code -9) and is started again: 1 of 5' in launched.text()
        assert listener.restarts() == '1'
        assert launched.interrupt() == 0


@pytest.mark.parametrize('name', ['head_tracking.launch.py', 'demo.launch.py'])
def test_a_tracker_that_cannot_start_ends_the_launch_with_an_error(prefix, tmp_path, name):
    with Launch(tmp_path, name, 'device:=toaster') as launched:
        assert launched.popen.wait(120) == 1
        assert 'parameter device' in launched.text()
        assert 'Traceback' not in launched.text()


def test_a_tracker_that_is_asked_to_stop_ends_the_launch(prefix, tmp_path, listen):
    listener = listen()
    with Launch(tmp_path, 'head_tracking.launch.py', 'autostart:=false') as launched:
        client = listener.create_client(GetState, '/head_tracker/get_state')
        listener.wait(client.service_is_ready, launched)
        os.kill(launched.pid_of('head_tracker-1'), signal.SIGINT)
        assert launched.popen.wait(60) == 0
        launched.assert_clean('head_tracker-1')


def test_large_data_without_effect_is_reported(prefix, tmp_path, monkeypatch):
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    with Launch(tmp_path, 'head_tracking.launch.py', 'large_data:=true', 'device:=toaster') as one:
        one.popen.wait(120)
        assert 'large_data:=true has no effect' in one.text()
