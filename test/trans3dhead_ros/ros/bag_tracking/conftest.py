"""Bags of a turning head, and the command that tracks them."""

import pytest
from bags import turning_heads, write_bag


@pytest.fixture(scope='session')
def images():
    """Return 14 images of a turning head; the third one is empty."""
    pytest.importorskip('torch', reason='rendering heads needs torch')
    return turning_heads()


@pytest.fixture(scope='session')
def bag(images, tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp('bag') / 'bag', images)


@pytest.fixture(scope='session')
def short_bag(images, tmp_path_factory):
    """Return a bag with three images, for what does not depend on their number."""
    return write_bag(tmp_path_factory.mktemp('short') / 'bag', images[:3])


@pytest.fixture
def track():
    """Return a function that runs `trans3dhead track SOURCE --output OUTPUT …`."""
    from trans3dhead_ros.cli.main import main

    return lambda source, output, *arguments: main(
        ['track', str(source), '--output', str(output), *map(str, arguments)])
