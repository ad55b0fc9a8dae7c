"""Fits of projected heads recover the parameters of the projection."""

import numpy as np
import pytest
import torch
from synthetic import bundled_head_model, small_head_model

from trans3dhead_ros.geometry import geodesic_distance_deg, rotation_from_euler
from trans3dhead_ros.landmarks import JAW_COUNT
from trans3dhead_ros.network.head_module import HeadModule, visible_contour
from trans3dhead_training.fitting.fit import (
    box_units,
    fit_landmarks,
    measure_displacements,
    predict_labels,
)
from trans3dhead_training.fitting.jaw_contour import jaw_displacement


@pytest.fixture(scope='module')
def model() -> HeadModule:
    return bundled_head_model()


def projected(model: HeadModule, count: int, largest_yaw: float,
              offsets: torch.Tensor | None = None,
              jaw_offsets: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
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
    if jaw_offsets is not None:
        contour = contour + jaw_displacement(jaw_offsets, rotation)
    inner = model.landmarks(vertices)[:, JAW_COUNT:]
    if offsets is not None:
        inner = inner + offsets
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
    offsets = torch.zeros(51, 3)
    offsets[4, 1], offsets[5, 1] = 0.006, -0.006  # inner ends of the brows
    points, _ = projected(model, 40, 30.0, offsets)
    measured, _ = measure_displacements(model, points)
    assert measured[4, 1] > 0.003 and measured[5, 1] < -0.003
    assert measured[10:14].norm(dim=-1).max() < 0.003  # the nose was left alone


@pytest.mark.train
def test_jaw_labels_displaced_along_the_contour_do_not_move_the_jaw(model):
    line = model.mean[model.landmark_indices[:JAW_COUNT]]
    along = torch.nn.functional.normalize(line[2:] - line[:-2], dim=-1)
    slide = torch.zeros(2, 17, 1)
    slide[0, 1:6], slide[0, 11:16] = -0.008, 0.008  # labels higher up the cheeks
    slide[1, 1:6], slide[1, 11:16] = 0.01, 0.01  # more so on the far one
    jaw_offsets = torch.zeros(2, 17, 3)
    jaw_offsets[:, 1:-1] = slide[:, 1:-1] * along
    points, _ = projected(model, 40, 40.0, jaw_offsets=jaw_offsets)
    straight, _ = projected(model, 40, 40.0)
    offsets, measured = measure_displacements(model, points)
    for sign, part in zip((1, -1), measured[:, :, 2], strict=True):
        assert torch.allclose(part, sign * part.flip(0), atol=1e-6)  # left and right alike
    assert measured[0, 1:6, 2].mean() > 0.004 and measured[1, 11:16, 2].mean() > 0.004
    plain = fit_landmarks(model, points)
    told = fit_landmarks(model, points, offsets=offsets, jaw_offsets=measured)
    undisturbed = fit_landmarks(model, straight)

    def jaw(fit):
        return model.points_of(model.landmark_indices[:JAW_COUNT], fit.shape, fit.expression)

    moved, left = ((jaw(fit) - jaw(undisturbed)).norm(dim=-1).mean() for fit in (plain, told))
    assert left < 0.75 * moved
    target = box_units(points)[0]
    shown, without = ((expected - target)[:, :JAW_COUNT].norm(dim=-1).mean() for expected in (
        predict_labels(model, told, offsets, measured),
        predict_labels(model, plain, torch.zeros(51, 3))))
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
