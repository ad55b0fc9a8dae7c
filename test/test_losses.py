"""Each term is zero where it should be, points downhill, and stays finite at +-90 degrees yaw."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from synthetic import small_head_model

from trans3dhead_ros.geometry import rotation_from_euler, rotation_to_6d
from trans3dhead_ros.landmarks import JAW_COUNT
from trans3dhead_ros.network.model import LayerOutputs
from trans3dhead_ros.training.data.batch import Batch
from trans3dhead_ros.training.losses import Criterion, LossWeights, euler_loss


def euler(*angles: float) -> torch.Tensor:
    return torch.from_numpy(rotation_from_euler(np.array([angles])))


def perfect(count: int = 3) -> tuple[Criterion, LayerOutputs, Batch]:
    """A batch of heads and the outputs that match it."""
    model = small_head_model()
    generator = torch.Generator().manual_seed(0)
    shape = torch.randn(count, 4, generator=generator)
    expression = torch.rand(count, 3, generator=generator)
    rotation = torch.from_numpy(rotation_from_euler(
        np.random.default_rng(0).uniform(-50, 50, (count, 3)))).float()
    translation, log_scale = torch.rand(count, 2), torch.full((count,), 2.3)
    head = model.landmarks(model(shape, expression)) @ rotation[:, :2].mT
    points = log_scale.exp()[:, None, None] * head + translation[:, None]
    batch = Batch(torch.zeros(count, 3, 8, 8), torch.ones(count), points, torch.ones(count),
                  torch.ones(count), points[:, :JAW_COUNT], rotation, translation, log_scale,
                  shape, expression)
    parameters = torch.cat([rotation_to_6d(rotation), translation, log_scale[:, None], shape,
                            expression], -1)
    all_points = torch.cat([points, points[:, :JAW_COUNT]], 1)
    outputs = LayerOutputs((all_points,) * 2, (parameters,) * 2,
                           torch.full((count, 85), 0.01), torch.full((count,), 20.0))
    return Criterion(model, torch.zeros(51, 3)), outputs, batch


def test_every_residual_term_vanishes_on_perfect_outputs():
    criterion, outputs, batch = perfect()
    _, terms = criterion(outputs, batch)
    terms.pop('likelihood')
    assert max(terms.values()) < 6e-3, terms


@pytest.mark.parametrize('name', ['landmarks', 'jaw_3d', 'rotation', 'euler', 'placement', 'shape',
                                  'expression', 'vertices', 'reprojection', 'score'])
def test_every_term_rises_when_its_outputs_are_wrong(name):
    criterion, outputs, batch = perfect()
    before = criterion(outputs, batch)[1][name]
    generator = torch.Generator().manual_seed(5)

    def disturbed(tensors: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return tuple(t + 0.2 * torch.randn(t.shape, generator=generator) for t in tensors)

    wrong = replace(outputs, points=disturbed(outputs.points),
                    parameters=disturbed(outputs.parameters), score=-outputs.score)
    assert criterion(wrong, batch)[1][name] > before + 1e-3


def test_negatives_count_in_the_score_alone():
    criterion, outputs, batch = perfect(4)
    is_head = torch.tensor([1.0, 1.0, 0.0, 0.0])
    batch = replace(batch, is_head=is_head, points=batch.points + is_head[:, None, None] * 0)
    spoiled = replace(outputs, points=tuple(
        p + (1 - is_head)[:, None, None] * 100 for p in outputs.points))
    assert criterion(spoiled, batch)[1]['landmarks'] < 1e-3
    assert criterion(spoiled, batch)[1]['score'] > 1.0  # two of four are called heads wrongly


def test_laplace_scale_is_best_at_the_mean_distance():
    points = torch.zeros(1, 1, 2)
    target = torch.tensor([[[0.3, 0.1]]])
    scale = torch.tensor([[0.2]], requires_grad=True)
    Criterion.likelihood(points, target, scale).backward()
    assert abs(float(scale.grad)) < 1e-6
    losses = [float(Criterion.likelihood(points, target, torch.tensor([[s]])))
              for s in (0.1, 0.2, 0.4)]
    assert min(losses) == losses[1]


@pytest.mark.parametrize('form', ['plain', 'safe', 'geodesic'])
def test_euler_loss_vanishes_on_the_target_and_grows_with_the_angle(form):
    target = euler(20, -10, 5)
    losses = [float(euler_loss(euler(20 + d, -10, 5), target, form)) for d in (0, 2, 8, 30)]
    assert losses[0] == pytest.approx(0.0, abs=1e-3)
    assert losses == sorted(losses)


def gradient_at(form: str, yaw: float) -> float:
    rotation = euler(yaw, 12, 7).requires_grad_()
    euler_loss(rotation, euler(89.0, 8, 4), form).sum().backward()
    return float(rotation.grad.abs().max())


@pytest.mark.parametrize('form', ['safe', 'geodesic'])
def test_safe_forms_have_bounded_gradients_at_profile(form):
    assert 0 < gradient_at(form, 89.9) <= 3.0


def test_the_plain_form_explodes_at_profile():
    assert gradient_at('plain', 89.9) > 100


def test_an_unknown_form_is_named():
    with pytest.raises(ValueError, match='euler'):
        Criterion(small_head_model(), torch.zeros(51, 3), LossWeights(), 'exact')
