"""What a user imports: three names, without ROS, and cheap until they are used."""

import subprocess
import sys

import pytest

import trans3dhead_ros


def run(code):
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)


def test_the_public_names_are_these_and_only_these():
    assert sorted(trans3dhead_ros.__all__) == ['Camera', 'Head', 'HeadPipeline']
    for name in trans3dhead_ros.__all__:
        assert getattr(trans3dhead_ros, name).__name__ == name
    with pytest.raises(AttributeError, match='Heads'):
        trans3dhead_ros.Heads  # noqa: B018
    with pytest.raises(ImportError):
        exec('from trans3dhead_ros import Heads')


def test_importing_the_package_loads_nothing_heavy():
    done = run('import sys, trans3dhead_ros\n'
               'loaded = {name for name, module in sys.modules.items() if module}\n'
               'heavy = {"torch", "cv2", "scipy", "rclpy"} & loaded\n'
               'sys.exit(", ".join(heavy) or 0)')
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('module', [
    'trans3dhead_ros.perception.pipeline', 'trans3dhead_ros.ros.node.head_tracker_node'])
def test_what_starts_with_the_node_is_imported_fast(module):
    pytest.importorskip('rclpy', reason='ROS 2 is not installed')
    done = run(f'import sys, {module}\n'
               'loaded = {name for name, module in sys.modules.items() if module}\n'
               'heavy = {"torch", "scipy", "PIL", "matplotlib", "rosbags"} & loaded\n'
               'sys.exit(", ".join(heavy) or 0)')
    assert done.returncode == 0, done.stderr


def test_the_library_needs_no_ros():
    done = run('import sys\n'
               'class NoRos:\n'
               '    def find_spec(self, name, *_):\n'
               '        if name.split(".")[0] in ("rclpy", "sensor_msgs", "trans3dhead"):\n'
               '            raise ImportError(name)\n'
               'sys.meta_path.insert(0, NoRos())\n'
               'from trans3dhead_ros import Camera, Head, HeadPipeline\n'
               'import trans3dhead_ros.cli.main\n')
    assert done.returncode == 0, done.stderr
