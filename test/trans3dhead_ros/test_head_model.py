"""The head model: linear, metres, right way round; and its preparation from the source."""

import numpy as np
import pytest
import torch
from clips import data
from synthetic import bundled_head_model, small_head_model

from trans3dhead_ros.geometry import FACING_CAMERA, rotation_from_euler
from trans3dhead_ros.head_model import HeadModel, visible_contour
from trans3dhead_ros.landmarks import SELLION
from trans3dhead_training.fitting.head_basis import (
    build_head_model,
    load_head_model,
    measure_chin_down,
    save_head_model,
)

CHIN, NOSE_TIP, RIGHT_EYE, LEFT_EYE = 8, 30, 36, 45


@pytest.fixture(scope='module')
def bundled() -> HeadModel:
    return bundled_head_model()


@pytest.fixture(scope='module')
def prepared() -> HeadModel:
    return build_head_model(data('head_model', 'ict_facekit.npz'))


def zero_coefficients(model: HeadModel) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(1, model.shape_count), torch.zeros(1, model.expression_count)


def check_anatomy(model: HeadModel) -> None:
    mean = model.mean[model.landmark_indices].numpy()
    assert np.abs(mean[SELLION]).max() < 1e-6
    assert 0.07 < mean[LEFT_EYE, 1] - mean[RIGHT_EYE, 1] < 0.11  # outer corners, y to the left
    assert mean[NOSE_TIP, 0] > 0.01  # the nose is in front of the sellion
    assert -0.15 < mean[CHIN, 2] < -0.09
    extent = model.mean.amax(0) - model.mean.amin(0)
    assert extent[0] > 0.18  # a whole head, not a mask
    assert model.mean[:, 2].max() > 0.08  # with a crown


def signed_volume(vertices: np.ndarray, triangles: np.ndarray) -> float:
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


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
        HeadModel.from_state({'mean': torch.zeros(4, 3)}, [])


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


def test_preparation_keeps_anatomy_and_landmarks(prepared):
    check_anatomy(prepared)
    assert len(set(prepared.landmark_indices.tolist())) == 68
    assert signed_volume(prepared.mean.numpy(), prepared.triangles.numpy()) > 0.002
    source = np.load(data('head_model', 'ict_facekit.npz'))
    original = source['mean'][source['landmarks68']] / 100
    own = prepared.mean[prepared.landmark_indices].numpy()
    distance = np.linalg.norm(own[:, None] - own[None], axis=-1)
    expected = np.linalg.norm(original[:, None] - original[None], axis=-1)
    assert np.allclose(distance, expected, atol=1e-5)  # turned and scaled, never moved


def test_zero_pitch_is_the_reference_heads(prepared):
    reference = np.loadtxt(data('..', 'baselines', '3ddfa_v2', 'u_base.txt')).reshape(68, 3)
    own = prepared.mean.numpy()[:, [1, 2, 0]]  # back to x left, y up, z out
    assert abs(measure_chin_down(own, prepared.landmark_indices.numpy(), reference)) < 0.1


def test_head_model_file_round_trip(tmp_path):
    model = small_head_model()
    save_head_model(model, tmp_path / 'head.npz')
    again = load_head_model(tmp_path / 'head.npz')
    assert again.expression_names == model.expression_names
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), again.buffers(), strict=True))


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(ValueError, match='nothing.npz'):
        build_head_model(tmp_path / 'nothing.npz')
