"""The head model in torch: linear, in metres, with the right orientation and anatomy."""

import numpy as np
import pytest
import torch
from head_anatomy import CHIN, check_anatomy, signed_volume
from synthetic import bundled_head_model, small_head_model

from trans3dhead_ros.geometry import FACING_CAMERA, rotation_from_euler
from trans3dhead_ros.landmarks import SELLION
from trans3dhead_ros.network.head_module import HeadModule, visible_contour


@pytest.fixture(scope='module')
def bundled() -> HeadModule:
    return bundled_head_model()


def zero_coefficients(model: HeadModule) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(1, model.shape_count), torch.zeros(1, model.expression_count)


def test_coefficients_add_up_linearly():
    model = small_head_model()
    first, second = torch.rand(2, 1, 4)
    expression = torch.rand(1, 3)
    joint = model(first + second, expression)
    parts = model(first, expression) + model(second, torch.zeros(1, 3)) - model.mean
    assert torch.allclose(joint, parts, atol=1e-6)
    assert torch.equal(model(*zero_coefficients(model))[0], model.mean)


def test_points_of_equals_the_same_rows_of_all_vertices():
    model = small_head_model()
    shape, expression = torch.rand(3, 4), torch.rand(3, 3)
    index = torch.tensor([5, 0, 77])
    assert torch.allclose(model.points_of(index, shape, expression),
                          model(shape, expression)[:, index], atol=1e-6)


def test_identity_leaves_the_sellion_at_the_origin():
    model = small_head_model()
    vertices = model(torch.randn(5, 4), torch.zeros(5, 3))
    assert torch.allclose(model.landmarks(vertices)[:, SELLION], torch.zeros(5, 3), atol=1e-6)


@pytest.mark.parametrize(('shape', 'expression', 'named'), [
    ((1, 3), (1, 3), 'shape'), ((1, 4), (1, 5), 'expression'), ((4,), (1, 3), 'shape')])
def test_wrong_coefficients_are_named(shape, expression, named):
    with pytest.raises(ValueError, match=named):
        small_head_model()(torch.zeros(shape), torch.zeros(expression))


def test_missing_tensors_are_named():
    with pytest.raises(ValueError, match='landmark_indices'):
        HeadModule.from_state({'mean': torch.zeros(4, 3)}, [])


def test_the_bundled_head_has_the_right_anatomy(bundled):
    check_anatomy(bundled)
    assert 2000 < len(bundled.mean) < 6000
    assert signed_volume(bundled.mean.numpy(), bundled.triangles.numpy()) > 0.002


def test_named_expressions_move_the_right_vertices(bundled):
    names = bundled.expression_names
    assert len(set(names)) == len(names)
    shape, expression = zero_coefficients(bundled)
    expression[0, names.index('jawOpen')] = 1.0
    opened = bundled.landmarks(bundled(shape, expression))[0]
    closed = bundled.mean[bundled.landmark_indices]
    assert closed[CHIN, 2] - opened[CHIN, 2] > 0.01
    expression.zero_()
    expression[0, names.index('eyeBlink_L')] = 1.0
    blink = bundled.landmarks(bundled(shape, expression))[0]
    # Points 43-47 are the lids of the person's left eye, 37-41 of the right one.
    gap = [points[[top, top + 1], 2].mean() - points[[top + 4, top + 3], 2].mean()
           for points in (closed, blink) for top in (43, 37)]
    assert gap[2] < 0.4 * gap[0]
    assert gap[3] == pytest.approx(float(gap[1]), abs=3e-4)


def test_the_far_jaw_moves_onto_the_cheek_and_the_near_jaw_stays(bundled):
    candidates = bundled.mean[bundled.contour_indices][None]
    rotation = torch.from_numpy(rotation_from_euler(np.array([45.0, 0, 0]))).float()[None]
    chosen = visible_contour(candidates, rotation)[0]
    # Positive yaw: the nose points to the image's left, so points 0-7 are on the far side.
    assert (chosen[:6] > 0).sum() >= 4
    assert (chosen[9:] == 0).sum() >= 6
    picked = candidates[0, torch.arange(17), chosen] @ rotation[0].T
    jaw = candidates[0, :, 0] @ rotation[0].T
    assert (picked[:8, 0] <= jaw[:8, 0] + 1e-6).all()


def test_facing_the_camera_the_contour_is_near_the_jaw(bundled):
    candidates = bundled.mean[bundled.contour_indices][None]
    facing = torch.from_numpy(FACING_CAMERA).float()[None]
    chosen = visible_contour(candidates, facing)[0]
    picked = candidates[0, torch.arange(17), chosen]
    assert (picked[:, 1:] - candidates[0, :, 0, 1:]).norm(dim=-1).max() < 0.012
