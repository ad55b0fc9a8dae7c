"""Parameters of all nodes: declaration, ranges, overrides of cameras, and the parameter file."""

import math
from pathlib import Path

import pytest
import yaml

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from rclpy.node import Node
from rclpy.parameter import Parameter

from trans3dhead_ros.perception.smoothing import Smoothing
from trans3dhead_ros.perception.tracker import Tracking
from trans3dhead_ros.ros.demo.image_publisher import PublisherParameters
from trans3dhead_ros.ros.demo.recorder import RecorderParameters
from trans3dhead_ros.ros.parameters import parameter_specs
from trans3dhead_ros.ros.tracker_parameters import (
    TrackerParameters,
    camera_parameters,
    camera_specs,
    declare_tracker_parameters,
    read_tracker_parameters,
    tracker_specs,
)

ROOT = Path(__file__).resolve().parents[3]
LAUNCH_ARGUMENTS = {'device', 'backend', 'image_transport', 'autostart', 'restarts'}
DEFAULTS = {name: spec.default for name, spec in tracker_specs().items()}
pytestmark = pytest.mark.ros


def test_parameter_file_holds_the_defaults_under_any_node_name():
    content = yaml.safe_load((ROOT / 'config' / 'head_tracker.yaml').read_text())
    assert list(content) == ['/**']
    values = content['/**']['ros__parameters']
    assert values == {k: v for k, v in DEFAULTS.items() if k not in LAUNCH_ARGUMENTS}
    assert [type(v) for v in values.values()] == [type(DEFAULTS[k]) for k in values]


@pytest.mark.parametrize(
    'parameters', [TrackerParameters, PublisherParameters, RecorderParameters])
def test_every_parameter_is_described_and_numbers_have_a_range(parameters):
    for spec in parameter_specs(parameters).values():
        assert spec.description, spec.name
        if type(spec.default) in (int, float):
            low, high = spec.bounds
            assert low <= spec.default <= high


def test_defaults_are_allowed_and_those_of_the_pipeline():
    assert not any(spec.refusal(spec.default) for spec in tracker_specs().values())
    config = TrackerParameters().pipeline_config()
    assert (config.tracking, config.smoothing) == (Tracking(), Smoothing())


@pytest.mark.parametrize(('name', 'value'), [
    ('image_transport', 'theora'), ('image_reliability', 'sometimes'), ('image_rectified', 'yes'),
    ('image_rectified', 1), ('device', 'tpu'), ('device', 'cuda:99'), ('backend', 'tensorrt'),
    ('head_frame_prefix', ''),
    ('head_frame_prefix', '/head_'), ('head_frame_prefix', 'my head'), ('max_rate', float('nan')),
    ('smoothing_beta', float('inf')), ('cameras', ['front', 'front']), ('cameras', ['1st']),
    ('cameras', ['front/left']), ('front.image_transport', 'theora'), ('front.max_rate', math.nan),
])
def test_impossible_values_are_refused_with_a_reason(name, value):
    specs = tracker_specs() | {spec.name: spec for spec in camera_specs('front')}
    reason = specs[name].refusal(value)
    assert reason and '\n' not in reason


@pytest.mark.parametrize(('wanted', 'topic', 'rectified'), [
    ('auto', '/camera/image_raw', False), ('auto', '/camera/image_rect', True),
    ('auto', '/left/image_rect_color/compressed', True), (True, '/camera/image_raw', True),
    (False, '/camera/image_rect', False),
])
def test_rectified_follows_the_topic_name_unless_it_is_set(wanted, topic, rectified):
    assert TrackerParameters(image_rectified=wanted).rectified(topic) is rectified


@pytest.fixture
def node(ros):
    nodes = []

    def make(*arguments):
        nodes.append(Node('of_cameras', cli_args=['--ros-args', *arguments]))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


def test_a_camera_has_its_own_value_or_that_of_all(node):
    tracker = node('-p', 'cameras:=[front, rear]', '-p', 'front.image_transport:=compressed',
                   '-p', 'image_reliability:=reliable', '-p', 'rear.max_rate:=5.0')
    declare_tracker_parameters(tracker)
    parameters = read_tracker_parameters(tracker)
    assert parameters.camera_names() == ('front', 'rear')
    front, rear = (camera_parameters(tracker, parameters, name) for name in ('front', 'rear'))
    assert (front.image_transport, rear.image_transport) == ('compressed', 'raw')
    assert front.image_reliability == rear.image_reliability == 'reliable'
    assert (front.max_rate, rear.max_rate) == (0.0, 5.0)
    tracker.set_parameters([Parameter('max_rate', value=9.0),
                            Parameter('rear.image_rectified', value=True)])
    parameters = read_tracker_parameters(tracker)
    front, rear = (camera_parameters(tracker, parameters, name) for name in ('front', 'rear'))
    assert (front.max_rate, rear.max_rate) == (9.0, 5.0)
    assert (front.image_rectified, rear.image_rectified) == ('auto', True)


def test_without_names_there_is_one_camera_and_no_further_parameter(node):
    tracker = node()
    declare_tracker_parameters(tracker)
    parameters = read_tracker_parameters(tracker)
    assert parameters.camera_names() == ('',)
    assert camera_parameters(tracker, parameters, '') == parameters
    assert not tracker.has_parameter('.image_transport')


def test_a_wrong_value_of_one_camera_is_named(node):
    with pytest.raises(ValueError, match='parameter rear.image_reliability: .*one of'):
        declare_tracker_parameters(
            node('-p', 'cameras:=[rear]', '-p', 'rear.image_reliability:=maybe'))
