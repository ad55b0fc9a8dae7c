"""Residuals vanish on perfect outputs; every term rests at its optimum, else points downhill."""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from synthetic import bundled_head_model, small_head_model

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import (
    rotation_from_euler,
    rotation_to_6d,
)
from trans3dhead_ros.landmarks import JAW_COUNT
from trans3dhead_ros.network.model import LayerOutputs
from trans3dhead_ros.network.rotations import rotation_6d_to_matrix
from trans3dhead_training.core.head_regions import REGIONS, region_of
from trans3dhead_training.data.batch import Batch
from trans3dhead_training.losses.criterion import (
    Criterion,
    LossWeights,
    RegionWeights,
    l1_log,
    laplace_negative_log_likelihood,
    wing,
)
from trans3dhead_training.losses.euler_loss import euler_loss

RESIDUALS = ('landmarks', 'jaw_3d', 'rotation', 'euler', 'placement', 'shape', 'expression',
             'vertices', 'reprojection', 'consistency')
PRIORS = ('shape_prior', 'expression_prior')
FORMS = ('plain', 'safe', 'geodesic')


def alone(name: str, weight: float = 1.0) -> LossWeights:
    """Return weights that are zero but for one term."""
    return LossWeights(**{**dict.fromkeys(asdict(LossWeights()), 0.0), name: weight})


def euler(*angles: float) -> torch.Tensor:
    return torch.from_numpy(rotation_from_euler(np.array([angles])))


def perfect(count: int = 3, zero: bool = False) -> tuple[LayerOutputs, Batch]:
    """Return outputs, which are leaves that need gradients, and the batch of heads they match."""
    model = small_head_model()
    generator = torch.Generator().manual_seed(0)
    shape = torch.randn(count, 4, generator=generator) * (not zero)
    expression = torch.rand(count, 3, generator=generator) * (not zero)
    rotation = torch.from_numpy(rotation_from_euler(
        np.random.default_rng(0).uniform(-50, 50, (count, 3)))).float()
    translation = torch.rand(count, 2, generator=generator)
    log_scale = torch.full((count,), 2.3)
    head = model.landmarks(model(shape, expression)) @ rotation[:, :2].mT
    points = log_scale.exp()[:, None, None] * head + translation[:, None]
    batch = Batch(torch.zeros(count, 3, 8, 8), torch.ones(count), points, torch.ones(count),
                  torch.ones(count), points[:, :JAW_COUNT], rotation, translation, log_scale,
                  shape, expression, torch.ones(count, 68))
    parameters = torch.cat([rotation_to_6d(rotation), translation, log_scale[:, None], shape,
                            expression], -1)
    all_points = torch.cat([points, points[:, :JAW_COUNT]], 1)
    return with_gradients(LayerOutputs(
        (all_points,) * 2, (parameters,) * 2, torch.full((count, 85), 0.01),
        torch.full((count,), 20.0))), batch


def with_gradients(outputs: LayerOutputs) -> LayerOutputs:
    def leaf(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.detach().clone().requires_grad_()
    return LayerOutputs(tuple(map(leaf, outputs.points)), tuple(map(leaf, outputs.parameters)),
                        leaf(outputs.point_scale), leaf(outputs.score))


def leaves(outputs: LayerOutputs) -> list[torch.Tensor]:
    return [*outputs.points, *outputs.parameters, outputs.point_scale, outputs.score]


def moved(outputs: LayerOutputs, size: float, seed: int = 5) -> LayerOutputs:
    generator = torch.Generator().manual_seed(seed)
    values = [tensor.detach() + size * torch.randn(tensor.shape, generator=generator)
              for tensor in leaves(outputs)[:-2]]
    layers = len(outputs.points)
    return with_gradients(replace(outputs, points=tuple(values[:layers]),
                                  parameters=tuple(values[layers:])))


def criterion(name: str, **options) -> Criterion:
    return Criterion(small_head_model(), torch.zeros(51, 3), alone(name), **options)


def value_and_gradient(of: Criterion, outputs: LayerOutputs, batch: Batch) -> tuple[float, float]:
    """Return the total and the largest entry of its gradient by any output."""
    total, _ = of(outputs, batch)
    gradients = torch.autograd.grad(total, leaves(outputs), allow_unused=True)
    return float(total.detach()), max(float(g.abs().max()) for g in gradients if g is not None)


@pytest.mark.parametrize('name', RESIDUALS)
def test_a_residual_term_is_zero_and_at_rest_on_perfect_outputs(name):
    total, gradient = value_and_gradient(criterion(name), *perfect())
    # Single precision leaves residuals of 1e-7, whose sign is all of an absolute distance's
    # gradient: put them to exactly zero, or measure the slope of the smooth ones.
    assert abs(total) < 1e-5
    if name in ('rotation', 'euler', 'vertices', 'shape', 'reprojection', 'consistency'):
        assert gradient < 5e-3


@pytest.mark.parametrize('name', ['landmarks', 'placement', 'expression'])
def test_an_absolute_term_is_at_rest_where_the_residual_is_exactly_zero(name):
    outputs, batch = perfect()
    target = torch.cat([batch.jaw, batch.points[:, JAW_COUNT:], batch.points[:, :JAW_COUNT]], 1)
    outputs = with_gradients(replace(outputs, points=(target,) * 2))
    assert value_and_gradient(criterion(name), outputs, batch) == (0.0, 0.0)


@pytest.mark.parametrize('form', FORMS)
def test_each_form_of_the_euler_loss_is_zero_on_perfect_outputs(form):
    total, _ = value_and_gradient(criterion('euler', euler_form=form), *perfect())
    assert abs(total) < 1e-4


@pytest.mark.parametrize('name', PRIORS)
def test_a_prior_is_at_rest_at_zero_coefficients_and_counts_only_heads_without_a_fit(name):
    outputs, batch = perfect(zero=True)
    unknown = replace(batch, has_fit=torch.zeros(3))
    assert value_and_gradient(criterion(name), outputs, unknown) == (0.0, 0.0)
    wrong = moved(outputs, 0.3)
    assert value_and_gradient(criterion(name), wrong, unknown)[0] > 0.01
    assert value_and_gradient(criterion(name), wrong, batch) == (0.0, 0.0)


@pytest.mark.parametrize('name', [*RESIDUALS, *PRIORS, 'likelihood', 'score'])
def test_a_small_step_against_the_gradient_lowers_every_term(name):
    outputs, batch = perfect(zero=name in PRIORS)
    if name in PRIORS:
        batch = replace(batch, has_fit=torch.zeros(3))
    outputs = moved(outputs, 0.1)
    if name == 'score':
        outputs = with_gradients(replace(outputs, score=-torch.ones(3)))
    of = criterion(name)
    total, _ = of(outputs, batch)
    gradients = torch.autograd.grad(total, leaves(outputs), allow_unused=True)
    squared = sum(float(g.square().sum()) for g in gradients if g is not None)
    assert squared > 1e-8
    step = 0.02 * float(total.detach() if total > 0 else total.detach().abs()) / squared
    lower = [tensor.detach() - step * (0 if g is None else g)
             for tensor, g in zip(leaves(outputs), gradients, strict=True)]
    after, _ = of(LayerOutputs(tuple(lower[:2]), tuple(lower[2:4]), lower[4], lower[5]), batch)
    assert float(after.detach()) < float(total.detach())


def test_the_likelihood_is_at_rest_where_the_scale_is_the_mean_distance_of_both_axes():
    points, target = torch.zeros(1, 1, 2), torch.tensor([[[0.3, 0.1]]])
    for scale, sign in ((0.2, 0), (0.1, -1), (0.4, 1)):
        scale = torch.tensor([[scale]], requires_grad=True)
        laplace_negative_log_likelihood(points, target, scale).sum().backward()
        slope = float(scale.grad)
        assert abs(slope) < 1e-6 if sign == 0 else slope * sign > 0


@pytest.mark.slow
def test_gradients_agree_with_finite_differences():
    outputs, batch = perfect(2)
    double = Batch(*(tensor.double() for tensor in vars(batch).values()))
    model = small_head_model().double()
    of = Criterion(model, torch.zeros(51, 3).double(),
                   regions=RegionWeights(1.0, 0.5, 0.25), vertex_count=20)
    of.vertex_weight = of.vertex_weight.double()
    start = moved(outputs, 0.1)
    points, parameters = start.points[0].detach().double(), start.parameters[0].detach().double()

    def total(p: torch.Tensor, q: torch.Tensor, scale: torch.Tensor, score: torch.Tensor):
        return of(LayerOutputs((p,), (q,), scale, score), double)[0]

    # What the consistency and the likelihood do not pass on is constant here.
    of.weights.update(consistency=0.0, likelihood=0.0)
    assert torch.autograd.gradcheck(total, (
        points.requires_grad_(), parameters.requires_grad_(),
        torch.full((2, 85), 0.05).double(), torch.zeros(2).double().requires_grad_()),
        eps=1e-7, atol=1e-5, nondet_tol=0.0)


def test_the_consistency_moves_the_parameters_and_not_the_points():
    outputs, batch = perfect()
    outputs = moved(outputs, 0.05)
    total, _ = criterion('consistency')(outputs, batch)
    total.backward()
    assert outputs.points[0].grad is None
    assert float(outputs.parameters[0].grad.abs().max()) > 1e-4


def test_negatives_count_in_the_score_alone():
    outputs, batch = perfect(4)
    batch = replace(batch, is_head=torch.tensor([1.0, 1.0, 0.0, 0.0]))
    of = Criterion(small_head_model(), torch.zeros(51, 3))
    wrong = moved(outputs, 100.0)
    spoiled = replace(outputs, points=tuple(
        torch.where(batch.is_head[:, None, None] > 0, right, other)
        for right, other in zip(outputs.points, wrong.points, strict=True)))
    terms = of(spoiled, batch)[1]
    assert terms['landmarks'] < 1e-3
    assert terms['score'] > 1.0  # two of four are called heads wrongly


def test_a_score_follows_its_teacher_whatever_the_batch_says():
    outputs, batch = perfect(4)
    batch = replace(batch, is_head=torch.tensor([1.0, 1.0, 0.0, 0.0]))
    teacher = torch.tensor([3.0, -1.0, 0.5, -6.0])
    of = criterion('score')
    assert float(of(replace(outputs, score=teacher), batch, teacher)[0]) == 0.0
    apart = [float(of(replace(outputs, score=teacher + by), batch, teacher)[0])
             for by in (0.1, 0.5, -0.5)]
    assert 0.0 < apart[0] < apart[1] == pytest.approx(apart[2])


def test_a_batch_without_any_head_is_finite():
    outputs, batch = perfect()
    total, terms = Criterion(small_head_model(), torch.zeros(51, 3))(
        outputs, replace(batch, is_head=torch.zeros(3)))
    assert math.isfinite(float(total.detach())) and terms['landmarks'] == 0.0


def test_a_head_without_a_fit_counts_by_its_points():
    outputs, batch = perfect()
    has_fit = torch.tensor([1.0, 1.0, 0.0])
    wrong = replace(batch, has_fit=has_fit, **{
        name: torch.where(has_fit.reshape(-1, *[1] * (getattr(batch, name).ndim - 1)) > 0,
                          getattr(batch, name), math.inf)
        for name in ('jaw', 'translation', 'log_scale')})
    of = Criterion(small_head_model(), torch.zeros(51, 3))
    terms = of(outputs, wrong)[1]
    assert max(terms[name] for name in RESIDUALS) < 1e-3
    shifted = replace(outputs, points=tuple(p + 0.1 for p in outputs.points))
    assert of(shifted, wrong)[1]['landmarks'] == pytest.approx(12 * 0.2, rel=1e-3)


def test_unlabelled_points_have_no_gradient():
    outputs, batch = perfect()
    outputs = moved(outputs, 0.1)
    hidden = torch.arange(68) % 2 == 0
    half = replace(batch, points=torch.where(hidden[:, None], torch.nan, batch.points))
    # The outputs are the jaw in 3D, the inner points and the jaw on the contour.
    hidden_outputs = torch.cat([torch.zeros(JAW_COUNT).bool(), hidden[JAW_COUNT:],
                                hidden[:JAW_COUNT]])
    for name, leaf in (('landmarks', outputs.points[-1]), ('likelihood', outputs.point_scale)):
        value, _ = criterion(name)(outputs, half)
        value.backward()
        gradient = leaf.grad.reshape(3, 85, -1).abs().sum(-1)[:, JAW_COUNT:]
        assert not gradient[:, hidden_outputs[JAW_COUNT:]].any()
        assert gradient[:, ~hidden_outputs[JAW_COUNT:]].all()
    value, gradient = value_and_gradient(criterion('reprojection'), outputs, half)
    assert math.isfinite(value) and 0 < gradient < math.inf


def test_a_half_labelled_head_counts_as_much_as_a_whole_one():
    outputs, batch = perfect(1)
    shifted = replace(outputs, points=tuple(layer + 0.1 for layer in outputs.points))
    points = batch.points.clone()
    points[:, 20:50] = torch.nan
    whole, half = (float(criterion('landmarks')(shifted, labels)[0].detach())
                   for labels in (batch, replace(batch, points=points)))
    assert half == pytest.approx(whole, rel=1e-5) and whole == pytest.approx(0.2, rel=1e-5)


def test_two_halves_with_shared_counts_add_up_to_the_whole_batch():
    outputs, batch = perfect(6)
    batch = replace(batch, is_head=torch.tensor([1.0, 1, 1, 1, 0, 1]),
                    has_fit=torch.tensor([1.0, 0, 1, 1, 1, 0]),
                    point_weight=torch.tensor([1.0, 0.5, 0, 1, 1, 1]))
    outputs = moved(outputs, 0.1)
    model = small_head_model()
    whole, _ = Criterion(model, torch.zeros(51, 3))(outputs, batch)
    counts: list[torch.Tensor] = []

    def collect(own: torch.Tensor) -> torch.Tensor:
        counts.append(own)
        return own

    def halves(shared) -> list[torch.Tensor]:
        of = Criterion(model, torch.zeros(51, 3), reduce_counts=shared)
        return [of(LayerOutputs(tuple(p[part] for p in outputs.points),
                                tuple(p[part] for p in outputs.parameters),
                                outputs.point_scale[part], outputs.score[part]),
                   Batch(*(tensor[part] for tensor in vars(batch).values())))[0]
                for part in (slice(0, 2), slice(2, 6))]

    halves(collect)
    mean = torch.stack(counts).mean(0)
    together = torch.stack(halves(lambda own: mean)).mean()
    torch.testing.assert_close(together, whole)


@pytest.mark.parametrize('form', FORMS)
def test_euler_loss_grows_with_the_angle(form):
    target = euler(20, -10, 5)
    losses = [float(euler_loss(euler(20 + d, -10, 5), target, form)) for d in (0, 2, 8, 30)]
    assert losses == sorted(losses) and losses[1] > losses[0]


def largest_gradient(form: str, yaw: float) -> float:
    """Return the largest entry of the gradient by the six numbers that the network regresses."""
    six = rotation_to_6d(euler(yaw, 12, 7)).requires_grad_()
    euler_loss(rotation_6d_to_matrix(six), euler(89.0, 8, 4), form).sum().backward()
    return float(six.grad.abs().max())


@pytest.mark.parametrize('form', ['safe', 'geodesic'])
@pytest.mark.parametrize('yaw', [89.9, -89.9, 90.0, -90.0])
def test_safe_forms_have_bounded_gradients_at_profile(form, yaw):
    assert 0 < largest_gradient(form, yaw) <= 3.0


def test_the_plain_form_has_finite_but_huge_gradients_at_profile():
    # In proportion to 1 / cos(yaw): 573 at 89.9 degrees, and no number at 90.
    assert 100 < largest_gradient('plain', 89.9) < 1e4
    assert not math.isfinite(largest_gradient('plain', 90.0))


def test_l1_with_a_logarithm_has_larger_gradients_at_small_errors():
    distance = torch.tensor([0.0, 0.001, 0.5], requires_grad=True)
    value = l1_log(distance)
    assert value[0] == 0.0
    value.sum().backward()
    small, large = distance.grad[1], distance.grad[2]
    assert small == pytest.approx(1 + 0.04 / 0.021, rel=1e-4)
    assert large == pytest.approx(1 + 0.04 / 0.52, rel=1e-4)


def test_wing_is_continuous_and_steeper_near_zero():
    distance = torch.tensor([0.0, 0.01, 0.1499, 0.1501, 0.5], requires_grad=True)
    value = wing(distance)
    value.sum().backward()
    value = value.detach()
    assert float(value[0].detach()) == 0.0 and float((value[3] - value[2]).abs()) < 1e-3
    assert float(distance.grad[1]) > 3 * float(distance.grad[2])
    assert float(distance.grad[4]) == 1.0


def test_regions_of_the_bundled_head_match_their_names():
    head = bundled_head_model()
    region = region_of(head)
    assert {*region.tolist()} == {0, 1, 2}
    landmarks = region[head.landmark_indices]
    assert (landmarks[JAW_COUNT:] == REGIONS.index('face')).all()
    ears = head.mean[region == REGIONS.index('ears')]
    assert (ears[:, 1].abs() > 0.06).all() and (ears[:, 0] < -0.08).all()
    assert (ears[:, 1] > 0).float().mean() == pytest.approx(0.5, abs=0.1)
    assert float(head.mean[region == REGIONS.index('skull'), 0].min()) < -0.15


def test_face_vertices_count_more_than_those_of_the_skull():
    model = small_head_model()
    region = region_of(model)
    of = Criterion(model, torch.zeros(51, 3), regions=RegionWeights(1.0, 0.5, 0.25))
    spread = torch.linspace(0, len(model.mean) - 1, 300).long()
    chosen = region[torch.cat([model.landmark_indices, spread])]
    face, skull = (of.vertex_weight[chosen == REGIONS.index(name)][0] for name in ('face', 'skull'))
    assert float(face / skull) == pytest.approx(4.0)
    assert float(of.vertex_weight.sum()) == pytest.approx(1.0)


@pytest.mark.parametrize(('option', 'key'), [('euler_form', 'euler_loss'),
                                             ('landmark_form', 'landmark_loss')])
def test_an_unknown_form_is_named(option, key):
    with pytest.raises(UserError, match=key):
        Criterion(small_head_model(), torch.zeros(51, 3), **{option: 'exact'})
