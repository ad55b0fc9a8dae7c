"""Fits of projected heads recover the parameters of the projection."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from synthetic import bundled_head_model, small_head_model

from trans3dhead_ros.geometry import (
    geodesic_distance_deg,
    rotation_from_euler,
    turned_in_image,
)
from trans3dhead_ros.landmarks import JAW_COUNT
from trans3dhead_ros.network.head_module import HeadModule, visible_contour
from trans3dhead_training.fitting.fit import (
    box_units,
    fit_landmarks,
    measure_convention,
    predict_labels,
)
from trans3dhead_training.fitting.fit_solver import FitConfig
from trans3dhead_training.fitting.label_convention import LabelConvention, jaw_directions
from trans3dhead_training.fitting.profile_fits import HALF_FACE
from trans3dhead_training.fitting.source_conventions import convert_points


@pytest.fixture(scope='module')
def model() -> HeadModule:
    return bundled_head_model()


def projected(
    model: HeadModule, count: int, largest_yaw: float, convention: LabelConvention | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return points (N, 68, 2) px with the jaw on the contour, and their rotations."""
    generator = np.random.default_rng(4)
    euler = np.stack([np.linspace(-largest_yaw, largest_yaw, count),
                      generator.uniform(-20, 20, count), generator.uniform(-30, 30, count)], -1)
    rotation = torch.from_numpy(rotation_from_euler(euler)).float()
    random = torch.Generator().manual_seed(4)
    shape = 0.8 * torch.randn(count, model.shape_count, generator=random)
    expression = torch.zeros(count, model.expression_count)
    expression[:, model.expression_names.index('jawOpen')] = torch.rand(count, generator=random)
    vertices = model(shape, expression)
    candidates = vertices[:, model.contour_indices]
    chosen = visible_contour(candidates, rotation)
    contour = candidates.take_along_dim(chosen[..., None, None], dim=2).squeeze(2)
    inner = model.landmarks(vertices)[:, JAW_COUNT:]
    if convention is not None:
        contour = contour + convention.jaw_at(rotation)
        inner = inner + convention.inner_at(rotation)
    points = torch.cat([contour, inner], 1) @ rotation.mT
    return 900.0 * points[..., :2] + torch.tensor([320.0, 240.0]), rotation


def test_pose_of_projected_heads_is_found(model):
    points, rotation = projected(model, 40, 60.0)
    fit = fit_landmarks(model, points)
    error = geodesic_distance_deg(fit.rotation, rotation)
    assert error.mean() < 2.5
    assert 100 * fit.inner_error.mean() < 0.6


def test_an_open_mouth_is_found(model):
    points, _ = projected(model, 20, 20.0)
    fit = fit_landmarks(model, points)
    found = fit.expression[:, model.expression_names.index('jawOpen')]
    random = torch.Generator().manual_seed(4)
    torch.randn(20, model.shape_count, generator=random)
    truth = torch.rand(20, generator=random)
    assert np.corrcoef(found, truth)[0, 1] > 0.9
    assert (fit.expression >= 0).all() and (fit.expression <= 1).all()


def test_one_outlier_does_not_turn_the_head(model):
    points, rotation = projected(model, 10, 30.0)
    points[:, 54] += 60.0
    error = geodesic_distance_deg(fit_landmarks(model, points).rotation, rotation)
    assert error.mean() < 4.0


@pytest.mark.train
def test_displaced_labels_are_measured(model):
    convention = LabelConvention.zero(model.mean)
    convention.inner[0, 4, 1], convention.inner[0, 5, 1] = 0.006, -0.006  # inner ends of the brows
    points, rotation = projected(model, 40, 30.0, convention)
    measured = measure_convention(model, points).inner_at(rotation).mean(0)
    assert measured[4, 1] > 0.003 and measured[5, 1] < -0.003
    assert measured[10:14].norm(dim=-1).max() < 0.003  # the nose was left alone


def test_points_without_labels_do_not_count(model):
    points, _ = projected(model, 6, 30.0)
    hidden = torch.zeros(68, dtype=torch.bool)
    hidden[30:42] = True  # within the box of the others
    given = fit_landmarks(model, torch.where(hidden[:, None], torch.nan, points))
    untrusted = fit_landmarks(model, points, trust=(~hidden).float().expand(6, -1))
    assert torch.allclose(given.rotation, untrusted.rotation, atol=1e-4)
    assert torch.allclose(given.shape, untrusted.shape, atol=1e-3)


def test_a_prior_rotation_decides_where_points_are_few(model):
    points, rotation = projected(model, 6, 30.0)
    prior = turned_in_image(rotation, 12.0)

    def away(sigma_deg: float) -> float:
        fit = fit_landmarks(model, points, FitConfig(prior_rotation_sigma_deg=sigma_deg),
                            prior_rotation=prior)
        return float(geodesic_distance_deg(fit.rotation, prior).mean())

    assert away(0.05) < 1.0 and away(30.0) > 9.0


def test_the_hidden_half_of_a_face_follows_from_symmetry(model):
    points, rotation = projected(model, 8, 50.0)
    half = points.clone()
    half[:, [*range(9, 17), *range(22, 27), *range(42, 48)]] = torch.nan
    fit = fit_landmarks(model, half, HALF_FACE, prior_rotation=rotation)
    whole = convert_points(model, half.double().numpy(), fit, *[LabelConvention.zero(points)] * 2)
    box = np.sqrt(np.ptp(points.numpy(), axis=1).prod(axis=1))
    error = np.linalg.norm(whole - points.numpy(), axis=-1).mean(1) / box
    assert np.isfinite(whole).all() and np.median(error) < 0.03


@pytest.mark.train
def test_jaw_labels_displaced_along_the_contour_do_not_move_the_jaw(model):
    line = model.mean[model.landmark_indices[:JAW_COUNT]]
    slide = torch.zeros(4, 17, 1)
    slide[0, 1:6], slide[0, 11:16] = -0.008, 0.008  # labels higher up the cheeks
    slide[1, 1:6], slide[1, 11:16] = 0.01, 0.01  # more so on the far one
    convention = replace(LabelConvention.zero(model.mean), jaw=slide * jaw_directions(line))
    points, _ = projected(model, 40, 40.0, convention)
    straight, _ = projected(model, 40, 40.0)
    measured = measure_convention(model, points)
    for sign, part in zip((1, -1), measured.jaw[:2, :, 2], strict=True):
        assert torch.allclose(part, sign * part.flip(0), atol=1e-6)  # left and right alike
    assert measured.jaw[0, 1:6, 2].mean() > 0.004 and measured.jaw[1, 11:16, 2].mean() > 0.004
    plain = fit_landmarks(model, points)
    told = fit_landmarks(model, points, convention=measured)
    undisturbed = fit_landmarks(model, straight)

    def jaw(fit):
        return model.points_of(model.landmark_indices[:JAW_COUNT], fit.shape, fit.expression)

    moved, left = ((jaw(fit) - jaw(undisturbed)).norm(dim=-1).mean() for fit in (plain, told))
    assert left < 0.75 * moved
    target = box_units(points)[0]
    shown, without = ((expected - target)[:, :JAW_COUNT].norm(dim=-1).mean() for expected in (
        predict_labels(model, told, measured),
        predict_labels(model, plain, LabelConvention.zero(model.mean))))
    assert shown < 0.5 * without


def test_box_units_do_not_depend_on_place_and_size():
    points = torch.rand(2, 68, 2)
    units, _, side = box_units(points)
    moved, _, larger = box_units(7 * points + 3)
    assert torch.allclose(units, moved, atol=1e-4)
    assert torch.allclose(larger, 7 * side, rtol=1e-4)


@pytest.mark.parametrize('points', [torch.zeros(2, 67, 2), torch.full((1, 68, 2), float('nan'))])
def test_bad_points_are_named(points):
    with pytest.raises(ValueError, match='points'):
        fit_landmarks(small_head_model(), points)
