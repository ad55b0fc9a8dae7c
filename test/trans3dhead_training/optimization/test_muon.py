"""Muon: orthogonal updates, which weights get them, and a training that uses and resumes them."""

import copy

import pytest
import torch
from command_line import train
from synthetic import small_head_model
from torch import nn
from training_set import overrides, weights

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.network.config import NetworkConfig
from trans3dhead_ros.network.model import Trans3DHead
from trans3dhead_training.engine.config import load_config
from trans3dhead_training.engine.trainer import Trainer
from trans3dhead_training.optimization.muon import Muon, orthogonalized
from trans3dhead_training.optimization.optimizers import ADAMW, MUON, optimizers_of


@pytest.mark.parametrize('shape', [(32, 32), (16, 144), (144, 16), (5, 16, 24)])
def test_singular_values_become_one_and_directions_stay(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    result = orthogonalized(matrices)
    assert result.shape == shape
    assert result.dtype == torch.float32
    values = torch.diagonal(u.mT @ result @ vh.mT, dim1=-2, dim2=-1)
    # The quintic lifts all but the smallest values to between 0.7 and 1.2.
    assert values.median() == pytest.approx(1.0, abs=0.3)
    assert values.max() < 1.35
    assert torch.linalg.svdvals(result).max() < 1.35


def test_a_step_moves_a_kernel_by_the_matched_length_whatever_the_gradient():
    for size in (1e-6, 1.0, 1e6):
        kernel = nn.Parameter(torch.zeros(32, 16, 3, 3).to(memory_format=torch.channels_last))
        kernel.grad = size * torch.randn(kernel.shape, generator=torch.Generator().manual_seed(1))
        Muon([kernel], lr=0.01).step()
        assert float(kernel.detach().square().mean().sqrt()) == pytest.approx(0.002, rel=0.2)


def test_weight_decay_shrinks_and_no_gradient_changes_nothing():
    weight = nn.Parameter(torch.ones(16, 16))
    optimizer = Muon([weight], lr=0.1, weight_decay=0.5)
    optimizer.step()
    assert torch.equal(weight, torch.ones(16, 16))
    weight.grad = torch.zeros(16, 16)
    optimizer.step()
    assert torch.allclose(weight, torch.full((16, 16), 0.95))


def test_a_map_is_learned():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(512, 32, generator=generator)
    outputs = inputs @ torch.randn(32, 32, generator=generator)
    layer = nn.Linear(32, 32, bias=False)
    losses = []
    optimizer = Muon(layer.parameters(), lr=0.1)
    for step in range(300):
        optimizer.param_groups[0]['lr'] = 0.1 * (1 - step / 300)
        layer.zero_grad()
        loss = (layer(inputs) - outputs).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.01 * losses[0]


def test_every_weight_has_one_optimizer():
    network = Trans3DHead(NetworkConfig(), small_head_model())
    for name, count in ((ADAMW, 1), (MUON, 2)):
        optimizers = optimizers_of(network, name, 1e-3, 0.02)
        assert len(optimizers) == count
        weights = [weight for optimizer in optimizers for group in optimizer.param_groups
                   for weight in group['params']]
        assert len({id(weight) for weight in weights}) == len(weights)
        assert len(weights) == sum(1 for _ in network.parameters())
    of_muon = {id(weight) for weight in optimizers[1].param_groups[0]['params']}
    names = [name for name, weight in network.named_parameters() if id(weight) in of_muon]
    assert any('backbone' in name for name in names)
    assert not any('embed' in name or name.endswith('bias') for name in names)


@pytest.mark.train
def test_a_training_goes_on_where_it_stopped_and_only_with_its_own_optimizer(prepared, tmp_path):
    whole, parts = (overrides(prepared, tmp_path / name, 6) for name in ('whole', 'parts'))
    assert train([*whole, 'optimizer=muon']) == 0
    assert train(['--minutes', '1e-5', *parts, 'optimizer=muon']) == 0
    with pytest.raises(UserError, match='belongs to another optimizer'):
        Trainer(load_config(None, [*parts, 'optimizer=adamw'])).resume()
    assert train(['--resume', f'output={tmp_path / "parts"}']) == 0
    expected, found = (weights(tmp_path / name) for name in ('whole', 'parts'))
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_an_unknown_optimizer_is_named():
    with pytest.raises(UserError, match="optimizer: expected one of .*'muon'.* got 'sgd'"):
        load_config(None, ['optimizer=sgd'])


def test_its_state_continues_exactly():
    generator = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.randn(16, 32, generator=generator))
    gradients = torch.randn(4, 16, 32, generator=generator)

    def steps(weight, optimizer, chosen):
        for gradient in chosen:
            weight.grad = gradient.clone()
            optimizer.step()

    optimizer = Muon([weight], lr=0.01, weight_decay=0.1)
    steps(weight, optimizer, gradients[:2])
    other = nn.Parameter(weight.detach().clone())
    resumed = Muon([other], lr=0.5)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    steps(weight, optimizer, gradients[2:])
    steps(other, resumed, gradients[2:])
    assert torch.equal(weight, other)
