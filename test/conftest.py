"""Tiers of the tests, a ROS domain of their own, and what is expensive to make for many of them."""

import os
import random
from collections import defaultdict
from pathlib import Path

import pytest

# A random domain keeps concurrent test runs apart. Up to 101, DDS ports stay clear of the ports
# that Linux hands out by itself.
os.environ['ROS_DOMAIN_ID'] = str(random.SystemRandom().randint(1, 101))
if os.environ.get('ROS_DISTRO') == 'humble':
    os.environ['ROS_LOCALHOST_ONLY'] = '1'
else:
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'


# First, because pytest deselects by marker in the same hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark every test as `unit` that is neither `ros` nor `train`."""
    for item in items:
        if not any(item.iter_markers('ros')) and not any(item.iter_markers('train')):
            item.add_marker(pytest.mark.unit)


def pytest_terminal_summary(terminalreporter):
    """Name what this machine could not run, by what it lacks."""
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
def people_cache(tmp_path_factory) -> Path:
    """Where the assets of synthetic people are kept once the first test has registered them."""
    return tmp_path_factory.mktemp('cache') / 'people'


@pytest.fixture(scope='session')
def prepared(tmp_path_factory) -> Path:
    """Return the folder of a small training set."""
    from training_set import write_training_set

    return write_training_set(tmp_path_factory.mktemp('training'))


@pytest.fixture(scope='session')
def model_pair(tmp_path_factory) -> Path:
    """Return the checkpoint of a small network that finds heads anywhere, with its graph beside."""
    for package in ('onnx', 'onnxruntime', 'onnxscript'):
        pytest.importorskip(package)
    from model_pairs import write_pair

    return write_pair(tmp_path_factory.mktemp('pair') / 'small.safetensors')
