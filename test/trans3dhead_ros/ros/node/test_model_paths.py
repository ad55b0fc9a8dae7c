"""Which files a client of ~/load_model may name."""

import dataclasses
import os
import re

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from trans3dhead_ros.model_files.model_metadata import bundled_model
from trans3dhead_ros.ros.node.model_service import allowed_model
from trans3dhead_ros.ros.tracker_parameters import TrackerParameters

BUNDLED = bundled_model().resolve()
DEFAULTS = TrackerParameters()
pytestmark = pytest.mark.ros


def parameters(**values):
    return dataclasses.replace(DEFAULTS, **{name: str(value) if name.startswith('model') else value
                                            for name, value in values.items()})


@pytest.fixture
def folder(tmp_path):
    """A folder with a model, beside another one that it has links to."""
    inside, outside = tmp_path / 'inside', tmp_path / 'outside'
    for place in (inside / 'deep', outside):
        place.mkdir(parents=True)
    for file in (inside / 'a.safetensors', inside / 'deep' / 'b.safetensors', outside / 'c'):
        file.write_text('no model')
    (inside / 'link').symlink_to(outside / 'c')
    (inside / 'links').symlink_to(outside)
    (outside / 'back').symlink_to(inside / 'a.safetensors')
    (inside / 'loop').symlink_to(inside / 'loop')
    return inside


@pytest.mark.parametrize('name', ['a.safetensors', 'deep/b.safetensors', 'deep/../a.safetensors',
                                  'new.safetensors', 'links/back'])
def test_files_of_the_folder_are_allowed_by_either_name(folder, name):
    allowed = parameters(model_folder=folder)
    whole = allowed_model(name, allowed)
    assert folder in whole.parents and whole == whole.resolve()
    assert allowed_model(str(folder / name), allowed) == whole


@pytest.mark.parametrize('name', [
    '../outside/c', 'link', 'links/c', 'links/../a.safetensors', '/etc/passwd', '..', '.', '~/c',
    '/proc/self/root/etc/passwd', '../inside_too/a.safetensors', 'a\0b', 'x' * 5000, '/',
])
def test_everything_else_is_refused(folder, name):
    try:
        allowed = allowed_model(name, parameters(model_folder=folder))
    except ValueError as error:
        assert re.match('path: ', str(error))
    else:
        # '~' means nothing here: it is a folder that is not there.
        assert folder in allowed.parents and not os.path.lexists(allowed)


def test_without_a_folder_it_is_that_of_the_model(folder):
    beside = parameters(model=folder / 'a.safetensors')
    assert allowed_model('deep/b.safetensors', beside) == folder / 'deep' / 'b.safetensors'
    with pytest.raises(ValueError, match='is not inside .*model_folder'):
        allowed_model(str(BUNDLED.with_name('other')), beside)
    assert allowed_model('other', parameters()) == BUNDLED.with_name('other')


def test_the_bundled_model_is_always_allowed(folder):
    for path in ('', str(BUNDLED)):
        assert allowed_model(path, parameters(model_folder=folder)) == BUNDLED
    assert allowed_model('default', parameters(model_folder=folder)) == BUNDLED
    assert allowed_model(BUNDLED.name, parameters(model='default')) == BUNDLED


def test_everything_is_allowed_where_the_operator_says_so(folder):
    anything = parameters(model_folder=folder, allow_any_model_path=True)
    assert allowed_model('../outside/c', anything) == folder.parent / 'outside' / 'c'
