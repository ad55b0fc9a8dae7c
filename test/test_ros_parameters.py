"""The parameter file and the declared parameters are of one mind."""

from pathlib import Path

import pytest
import yaml

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from rclpy.parameter import Parameter

from trans3dhead_ros.ros.parameters import SPECS, Settings, check_parameters

ROOT = Path(__file__).resolve().parent.parent
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
    assert config.tracking.start_score == DEFAULTS['start_score']
    assert config.smoothing.beta == DEFAULTS['smoothing_beta']


@pytest.mark.parametrize(('name', 'value'), [
    ('image_transport', 'theora'), ('image_reliability', 'sometimes'), ('image_rectified', 'yes'),
    ('image_rectified', 1), ('device', 'tpu'), ('device', 'cuda:99'), ('head_frame_prefix', ''),
    ('head_frame_prefix', '/head_'), ('head_frame_prefix', 'my head'), ('max_rate', float('nan')),
    ('smoothing_beta', float('inf')),
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
