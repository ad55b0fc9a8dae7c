"""Keeps the ROS graph of a test run to itself, and what is dear to make for many tests."""

import os
import random
from pathlib import Path

import pytest

# Runs beside each other never meet.

# Up to 101, DDS ports stay clear of the ports that Linux gives out by itself.
os.environ['ROS_DOMAIN_ID'] = str(random.SystemRandom().randint(1, 101))
if os.environ.get('ROS_DISTRO') == 'humble':
    os.environ['ROS_LOCALHOST_ONLY'] = '1'
else:
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'


@pytest.fixture(scope='session')
def people_cache(tmp_path_factory) -> Path:
    """Where the assets of synthetic people are kept once the first test has registered them."""
    return tmp_path_factory.mktemp('cache') / 'people'


@pytest.fixture(scope='session')
def prepared(tmp_path_factory) -> Path:
    """Return the folder of a small training set."""
    from training_set import write_training_set

    return write_training_set(tmp_path_factory.mktemp('training'))
