"""Test tiers, a ROS domain for each process, and expensive fixtures that many tests share."""

import fcntl
import os
import random
import re
import shutil
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest


def ros_domain() -> int:
    """
    Return a ROS domain that no other process of this run has.

    It is random, to keep concurrent runs apart. Up to 101, DDS ports stay clear of the ports that
    Linux hands out by itself.
    """
    run = os.environ.get('PYTEST_XDIST_TESTRUNUID')
    first = (random.SystemRandom() if run is None else random.Random(run)).randrange(101)
    worker = int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw'))
    return 1 + (first + worker) % 101


os.environ['ROS_DOMAIN_ID'] = str(ros_domain())
if os.environ.get('ROS_DISTRO') == 'humble':
    os.environ['ROS_LOCALHOST_ONLY'] = '1'
else:
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'


HELPERS = Path(__file__).parent / 'helpers'
TORCH = re.compile(r'^(?:import|from) (?:torch|trans3dhead_training|trans3dhead_ros\.network'
                   r'|trans3dhead_ros\.inference\.torch_engine|tools\.soak)\b', re.M)


@cache
def imports_torch(path: Path) -> bool:
    """Return whether a file, or a helper that it imports, imports torch when it is imported."""
    text = path.read_text()
    helpers = (HELPERS / f'{name}.py' for name in re.findall(r'^(?:import|from) (\w+)', text, re.M))
    return bool(TORCH.search(text)) or any(imports_torch(helper) for helper in helpers
                                           if helper.is_file())


def pytest_ignore_collect(collection_path):
    """Skip files that import torch where it is not installed; everything else must work without."""
    if find_spec('torch') is None and collection_path.suffix == '.py':
        return imports_torch(collection_path) or None
    return None


# First, because pytest deselects by marker in the same hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark every test as `unit` that is neither `ros` nor `train` nor `slow`."""
    for item in items:
        if not {'ros', 'train', 'slow'} & {marker.name for marker in item.iter_markers()}:
            item.add_marker(pytest.mark.unit)


def pytest_terminal_summary(terminalreporter):
    """List what this machine could not run, by what it lacks."""
    lacking = defaultdict(list)
    for report in terminalreporter.getreports('skipped'):
        if isinstance(report.longrepr, tuple):
            lacking[report.longrepr[2].removeprefix('Skipped: ')].append(report.nodeid)
    if lacking:
        terminalreporter.section('not run on this machine')
        for reason, tests in sorted(lacking.items()):
            terminalreporter.line(f'{len(tests):4d}  {reason}')
            for test in tests:
                terminalreporter.line(f'        {test}')


@pytest.fixture(scope='session')
def shared_folder(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """
    Return a function that returns the folder of a name, filled once in a run.

    The first process of the run that needs it fills it, and the others wait.
    """
    root = tmp_path_factory.getbasetemp()
    if 'PYTEST_XDIST_WORKER' in os.environ:
        root = root.parent

    def shared_folder(name: str, fill: Callable[[Path], object]) -> Path:
        folder, complete = root / f'shared-{name}', root / f'shared-{name}.complete'
        with (root / f'shared-{name}.lock').open('w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not complete.exists():
                # What a failed attempt may have left.
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                complete.touch()
        return folder
    return shared_folder


@pytest.fixture(scope='session')
def people_cache(shared_folder) -> Path:
    """Return the folder with the registered assets of synthetic people."""
    from clips import data

    from trans3dhead_training.synthesis.people.person_assets import PersonAssets

    data('appearance', 'makehuman', 'base.obj')
    root = data('head_model', 'ict_facekit.npz').parent.parent
    return shared_folder('people', lambda folder: PersonAssets.load(root, folder))


@pytest.fixture(scope='session')
def prepared(shared_folder) -> Path:
    """Return the folder of a small training set."""
    from training_set import write_training_set

    return shared_folder('training-set', write_training_set)


@pytest.fixture(scope='session')
def model_pair(shared_folder) -> Path:
    """Return the checkpoint of a small network that finds heads anywhere, with its graph beside."""
    for package in ('torch', 'onnx', 'onnxruntime', 'onnxscript'):
        pytest.importorskip(package)
    from model_pairs import write_pair

    folder = shared_folder('model-pair', lambda folder: write_pair(folder / 'small.safetensors'))
    return folder / 'small.safetensors'
