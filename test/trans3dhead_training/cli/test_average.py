"""The mean of two checkpoints."""

import pytest
import torch
from synthetic import small_network

from trans3dhead_ros.cli import main as cli
from trans3dhead_ros.model_files.model_pair import open_model
from trans3dhead_ros.network.checkpoint import load_checkpoint, save_checkpoint
from trans3dhead_ros.network.config import NetworkConfig
from trans3dhead_ros.network.model import Trans3DHead
from trans3dhead_training.engine.weight_average import average

METADATA = {'training_data': 'drawn', 'licence': 'CC0 1.0', 'metrics': {'step': 3}}


def test_weights_lie_between_and_the_head_model_stays():
    first, second = small_network(0), small_network(1)
    before = {name: value.clone() for name, value in second.state_dict().items()}
    mixed = average(first, second, 0.25).state_dict()
    for name, value in first.state_dict().items():
        if name.startswith('head_model.'):
            assert torch.equal(mixed[name], before[name])
        elif value.is_floating_point():
            assert torch.allclose(mixed[name], 0.75 * value + 0.25 * before[name], atol=1e-6)


@pytest.mark.train
def test_the_command_writes_a_model_that_claims_no_figures(tmp_path, capsys):
    for number, name in enumerate(('first', 'second')):
        save_checkpoint(tmp_path / name, small_network(number), METADATA)
    assert cli.main(['average', str(tmp_path / 'first'), str(tmp_path / 'second'), '--share', '0.6',
                     '--output', str(tmp_path / 'mean.safetensors')]) == 0
    assert open_model(tmp_path / 'mean.safetensors').graph is not None
    _, metadata = load_checkpoint(tmp_path / 'mean.safetensors', torch.device('cpu'))
    assert metadata['licence'] == 'CC0 1.0'
    assert metadata['metrics'] == {'averaged': {'share': 0.6}}


def test_different_networks_and_shares_out_of_range_are_refused():
    network = small_network()
    other = Trans3DHead(NetworkConfig(**{**network.config.to_dict(), 'dim': 24}),
                        network.head_model)
    with pytest.raises(ValueError, match='different networks'):
        average(network, other, 0.5)
    with pytest.raises(ValueError, match='--share'):
        average(network, network, 1.5)
