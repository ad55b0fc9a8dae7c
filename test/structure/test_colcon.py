"""A workspace gets what its options ask for: packages and weights, and every command once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ros, pytest.mark.slow]
pytest.importorskip('rclpy', reason='ROS 2 is not installed')

ROOT = Path(__file__).resolve().parents[2]
RESEARCH = {'head_tracker': 'open', 'head_detector': 'open_detector'}
"""Weights for research → those for any use, which take their place if they are left out."""
COMMANDS = {'trans3dhead', 'head_tracker', 'image_publisher', 'recorder', 'look_at_me.py',
            'nod_and_shake.py', 'smile_detector.py'}

LOAD_AND_DETECT = """
from trans3dhead_ros import HeadPipeline
from trans3dhead_ros.media.clip_truth import bundled_clip
from trans3dhead_ros.media.sources import open_source

pipeline = HeadPipeline.load()
print(pipeline.aligner.files.path, pipeline.detector.files.path)
with open_source(bundled_clip()) as clip:
    print(len(pipeline.detect(next(iter(clip)).image)))
"""


@pytest.fixture(scope='module')
def workspace(tmp_path_factory) -> Path:
    """Return the folder whose `on` and `off` are install spaces with every option on and off."""
    beside = Path(sys.executable).with_name('colcon')
    colcon = str(beside) if beside.exists() else shutil.which('colcon')
    if colcon is None:
        pytest.skip('colcon is not installed')
    folder = tmp_path_factory.mktemp('workspace')
    environment = dict(os.environ)
    environment['PATH'] = os.pathsep.join([str(beside.parent), environment['PATH']])
    environment['CMAKE_PREFIX_PATH'] = os.pathsep.join(filter(None, [
        sys.prefix, environment.get('CMAKE_PREFIX_PATH')]))
    # A copy: CMake refuses a Python (`.venv`) that lies inside of what it builds.
    shutil.copytree(ROOT, folder / 'src' / 'trans3dhead', ignore=shutil.ignore_patterns(
        '.*', '__pycache__', 'build', 'install', 'log', 'out', 'runs', 'test', 'docs'))
    # Which weights the open files hold does not matter here.
    models = folder / 'src' / 'trans3dhead' / 'trans3dhead_ros' / 'models'
    for research, free in RESEARCH.items():
        for suffix in ('.onnx', '.safetensors'):
            shutil.copy(models / f'{research}{suffix}', models / f'{free}{suffix}')
    # One build space, so that the messages are generated and compiled once.
    for option in ('on', 'off'):
        done = subprocess.run(
            [colcon, 'build', '--install-base', option, '--cmake-args', '-DBUILD_TESTING=OFF',
             f'-DPython3_EXECUTABLE={sys.executable}', f'-DTRANS3DHEAD_TRAINING={option.upper()}',
             f'-DTRANS3DHEAD_RESEARCH_WEIGHTS={option.upper()}'],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-4000:]
    return folder


def installed(workspace: Path, option: str) -> dict[str, Path]:
    """Return what an install space has in its site-packages, by name."""
    (packages,) = (workspace / option / 'trans3dhead').glob('lib/python*/*-packages')
    return {path.name.split('-')[0] + path.suffix: path for path in packages.iterdir()}


def test_training_is_installed_beside_the_runtime(workspace):
    found = installed(workspace, 'on')
    assert {'trans3dhead', 'trans3dhead_ros', 'trans3dhead_training'} <= {*found}
    assert (found['trans3dhead_training'] / 'cli' / 'train.py').is_file()
    assert list((found['trans3dhead_ros'] / 'models').glob('*.safetensors'))
    # Its commands are those of the runtime; installed twice, the later one would win.
    assert not (found['trans3dhead_training.egg-info'] / 'entry_points.txt').exists()
    assert 'matplotlib' not in (
        found['trans3dhead_ros.egg-info'] / 'requires.txt').read_text().split('[')[0]


def test_training_can_be_left_out(workspace):
    assert not [name for name in installed(workspace, 'off') if 'training' in name]


def test_weights_for_research_can_be_left_out(workspace):
    free = {*RESEARCH.values()}
    for option, expected in (('on', {*RESEARCH} | free), ('off', free)):
        models = installed(workspace, option)['trans3dhead_ros'] / 'models'
        assert {path.stem for path in models.iterdir()} == expected


def test_without_the_weights_for_research_the_open_ones_are_the_default(workspace):
    package = installed(workspace, 'off')['trans3dhead_ros']
    done = subprocess.run(
        [sys.executable, '-c', LOAD_AND_DETECT], cwd=workspace, capture_output=True, text=True,
        env={**os.environ, 'PYTHONPATH': str(package.parent)})
    assert done.returncode == 0, done.stderr
    models = package / 'models'
    assert done.stdout.split() == [
        f'{models}/open.safetensors', f'{models}/open_detector.safetensors', '2']


@pytest.mark.parametrize('option', ['on', 'off'])
def test_every_command_is_installed_once(workspace, option):
    library = workspace / option / 'trans3dhead' / 'lib'
    assert {path.name for path in (library / 'trans3dhead').iterdir()} == COMMANDS
    assert not (library.parent / 'bin').exists()
