"""The configuration of a training: YAML, overrides, and mistakes in either."""

from dataclasses import replace
from pathlib import Path

import pytest

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.model_files.model_pair import read_metadata
from trans3dhead_ros.network.config import NetworkConfig
from trans3dhead_training.engine.config import TrainConfig, load_config
from trans3dhead_training.optimization.optimizers import learning_rate_factor


def test_schedule_warms_up_then_falls_to_one_percent():
    assert learning_rate_factor(0.0, 0, 10) == pytest.approx(0.1)
    assert learning_rate_factor(0.0, 9, 10) == pytest.approx(1.0)
    assert learning_rate_factor(1.0, 500, 10) == pytest.approx(0.01)


def test_an_unknown_key_names_the_nearest_known_one():
    with pytest.raises(UserError, match='did you mean learning_rate'):
        load_config(None, ['learning_rat=0.1'])


@pytest.mark.parametrize('override', [
    'batch_size=many', 'batch_size', 'precision=float16', 'network=3', 'network.qamem=odd'])
def test_a_wrong_value_is_refused(override):
    with pytest.raises(UserError):
        load_config(None, [override])


def test_a_score_is_kept_only_where_there_is_one():
    with pytest.raises(UserError, match='keep_score'):
        load_config(None, ['keep_score=true'])


@pytest.mark.parametrize('content', [
    b'batch_size: [1, 2', b'\xff\xfe\x80', b'[' * 100_000, b'when: 2024-99-99'])
def test_a_configuration_that_is_not_yaml_is_named(tmp_path, content):
    (tmp_path / 'mine.yaml').write_bytes(content)
    with pytest.raises(UserError, match=r'mine\.yaml: is not YAML'):
        load_config(tmp_path / 'mine.yaml', [])
    with pytest.raises(UserError, match=r'batch_size=\[1, 2: is not YAML'):
        load_config(None, ['batch_size=[1, 2'])


def test_nothing_after_the_equals_sign_is_an_empty_string():
    assert load_config(None, ['backgrounds=']).backgrounds == ''
    with pytest.raises(UserError, match='batch_size: expected int'):
        load_config(None, ['batch_size='])


def test_the_share_of_a_source_is_a_number():
    config = load_config(None, ['sampling.source_shares.helen=0.3'])
    assert config.sampling.source_shares == {'helen': 0.3}
    with pytest.raises(UserError, match='source_shares.ytf'):
        load_config(None, ['sampling.source_shares.ytf=many'])


@pytest.mark.parametrize('name', ['train', 'train_paper'])
def test_the_configurations_of_the_repository_are_valid(name):
    load_config(Path(__file__).parents[3] / 'config' / f'{name}.yaml')


def test_the_network_is_that_of_the_checkpoint_that_gives_the_first_weights(model_pair):
    network = read_metadata(model_pair)['network']
    assert network['dim'] != TrainConfig().network.dim
    given = [f'init_checkpoint={model_pair}']
    assert load_config(None, given).network == NetworkConfig.from_dict(network)
    changed = load_config(None, [*given, 'network.decoder_layers=3']).network
    assert changed == replace(NetworkConfig.from_dict(network), decoder_layers=3)
    assert load_config(None, [*given, 'init_backbone_only=true']).network == NetworkConfig()


def test_yaml_then_overrides(tmp_path):
    path = tmp_path / 'c.yaml'
    path.write_text('batch_size: 16\nnetwork:\n  dim: 48\n')
    config = load_config(path, ['batch_size=32', 'learning_rate=5e-4'])
    assert (config.batch_size, config.network.dim, config.learning_rate) == (32, 48, 5e-4)
