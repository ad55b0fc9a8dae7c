"""The parameter file and the declared parameters are of one mind."""

import math
from pathlib import Path

import pytest
import yaml

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter

from trans3dhead_ros.ros.parameters import (
    SPECS,
    Settings,
    check_parameters,
    declare_parameters,
    read_settings,
    settings_of_camera,
)

ROOT = Path(__file__).resolve().parents[3]
LAUNCH_ARGUMENTS = {'device', 'image_transport', 'autostart'}
DEFAULTS = {spec.name: spec.default for spec in SPECS}


def test_parameter_file_holds_the_defaults_under_any_node_name():
    content = yaml.safe_load((ROOT / 'config' / 'head_tracker.yaml').read_text())
    assert list(content) == ['/**']
    values = content['/**']['ros__parameters']
    assert values == {k: v for k, v in DEFAULTS.items() if k not in LAUNCH_ARGUMENTS}
    assert [type(v) for v in values.values()] == [type(DEFAULTS[k]) for k in values]


def test_every_parameter_is_described_and_numbers_have_a_range():
    for spec in SPECS:
        assert spec.description
        if type(spec.default) in (int, float):
            low, high = spec.bounds
            assert low <= spec.default <= high


def test_defaults_are_allowed_and_make_a_pipeline():
    parameters = [Parameter(name, value=value) for name, value in DEFAULTS.items()]
    assert check_parameters(parameters).successful
    config = Settings(**DEFAULTS).pipeline()
    assert config.tracking.new_track_threshold == DEFAULTS['new_track_threshold']
    assert config.smoothing.beta == DEFAULTS['smoothing_beta']


@pytest.mark.parametrize(('name', 'value'), [
    ('image_transport', 'theora'), ('image_reliability', 'sometimes'), ('image_rectified', 'yes'),
    ('image_rectified', 1), ('device', 'tpu'), ('device', 'cuda:99'), ('head_frame_prefix', ''),
    ('head_frame_prefix', '/head_'), ('head_frame_prefix', 'my head'), ('max_rate', float('nan')),
    ('smoothing_beta', float('inf')), ('cameras', ['front', 'front']), ('cameras', ['1st']),
    ('cameras', ['front/left']), ('front.image_transport', 'theora'), ('front.max_rate', math.nan),
])
def test_impossible_values_are_refused_with_a_reason(name, value):
    result = check_parameters([Parameter(name, value=value)])
    assert not result.successful
    assert result.reason.startswith(f'{name}: ') and '\n' not in result.reason


@pytest.mark.parametrize(('wanted', 'topic', 'rectified'), [
    ('auto', '/camera/image_raw', False), ('auto', '/camera/image_rect', True),
    ('auto', '/left/image_rect_color/compressed', True), (True, '/camera/image_raw', True),
    (False, '/camera/image_rect', False),
])
def test_rectified_follows_the_topic_unless_it_is_set(wanted, topic, rectified):
    assert Settings(**{**DEFAULTS, 'image_rectified': wanted}).rectified(topic) is rectified


@pytest.fixture
def node():
    rclpy.init()
    yield lambda *arguments: Node('of_cameras', cli_args=['--ros-args', *arguments])
    rclpy.shutdown()


def test_a_camera_has_its_own_value_or_that_of_all(node):
    tracker = node('-p', 'cameras:=[front, rear]', '-p', 'front.image_transport:=compressed',
                   '-p', 'image_reliability:=reliable', '-p', 'rear.max_rate:=5.0')
    declare_parameters(tracker)
    settings = read_settings(tracker)
    assert settings.camera_names() == ('front', 'rear')
    front, rear = (settings_of_camera(tracker, settings, name) for name in ('front', 'rear'))
    assert (front.image_transport, rear.image_transport) == ('compressed', 'raw')
    assert front.image_reliability == rear.image_reliability == 'reliable'
    assert (front.max_rate, rear.max_rate) == (0.0, 5.0)
    tracker.set_parameters([Parameter('max_rate', value=9.0),
                            Parameter('rear.image_rectified', value=True)])
    settings = read_settings(tracker)
    front, rear = (settings_of_camera(tracker, settings, name) for name in ('front', 'rear'))
    assert (front.max_rate, rear.max_rate) == (9.0, 5.0)
    assert (front.image_rectified, rear.image_rectified) == ('auto', True)


def test_without_names_there_is_one_camera_and_no_parameter_more(node):
    tracker = node()
    declare_parameters(tracker)
    settings = read_settings(tracker)
    assert settings.camera_names() == ('',)
    assert settings_of_camera(tracker, settings, '') == settings
    assert not tracker.has_parameter('.image_transport')


def test_a_wrong_value_of_one_camera_is_named(node):
    with pytest.raises(ValueError, match='parameter rear.image_reliability: .*one of'):
        declare_parameters(node('-p', 'cameras:=[rear]', '-p', 'rear.image_reliability:=maybe'))
