"""Fits are accepted or rejected for a reason; portraits are fitted to a teacher's points."""

import json
from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
import torch
from command_line import prepare_fits
from small_faces import write_small_faces
from synthetic import bundled_head_model

from trans3dhead_ros.geometry import FACING_CAMERA, turned_in_image
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_training.core.data_root import data_root
from trans3dhead_training.fitting.fit import (
    Fit,
    fit_landmarks,
    leave_out_errors,
    predict_labels,
)
from trans3dhead_training.fitting.fit_quality import inner_distance, rejection_reasons
from trans3dhead_training.fitting.fit_report import format_table, summarize
from trans3dhead_training.fitting.head_basis import save_head_model_npz
from trans3dhead_training.fitting.label_convention import LabelConvention
from trans3dhead_training.fitting.teachers import TeacherPredictions


@pytest.fixture(scope='module')
def model() -> HeadModule:
    return bundled_head_model()


@pytest.fixture(scope='module')
def faces(model) -> torch.Tensor:
    """(6, 68, 2) px: facing mean heads of different sizes."""
    flat = model.mean[model.landmark_indices] @ torch.tensor(FACING_CAMERA).float().T
    return torch.stack([size * flat[:, :2] + 100 for size in range(800, 1400, 100)])


@pytest.fixture(scope='module')
def fit(model, faces) -> Fit:
    return fit_landmarks(model, faces)


def agreeing(fit: Fit, faces: torch.Tensor) -> TeacherPredictions:
    points = faces.double().numpy()
    return TeacherPredictions(points.copy(), points.copy(), fit.rotation.double().numpy())


def test_good_fits_are_accepted(fit, faces):
    assert (rejection_reasons(fit, faces.numpy(), agreeing(fit, faces)) == '').all()


def test_each_reason_is_named(fit, faces):
    teachers = agreeing(fit, faces)
    teachers.frontal[0] += 0.1 * np.ptp(faces[0].numpy(), axis=0)
    teachers.rotation[1] = turned_in_image(teachers.rotation[1], 20.0)
    error, shape, scale = fit.inner_error.clone(), fit.shape.clone(), fit.log_scale.clone()
    error[2], shape[3, 5], scale[4] = 0.05, 7.0, float('nan')
    bad = replace(fit, inner_error=error, shape=shape, log_scale=scale)
    assert rejection_reasons(bad, faces.numpy(), teachers).tolist() == [
        'teacher predicts other points', 'teacher predicts another pose', 'large residual',
        'extreme identity', 'not finite', '']


def test_profile_faces_are_compared_with_the_other_teacher(fit, faces):
    teachers = agreeing(fit, faces)
    teachers.frontal[:] += 1000.0
    assert inner_distance(faces.numpy(), teachers.points(np.full(6, 80.0))).max() == 0
    assert inner_distance(faces.numpy(), teachers.points(np.full(6, -20.0))).min() > 1


def test_a_point_left_out_is_expected_near_its_place(model, faces):
    convention = LabelConvention.zero(faces)
    chosen, error = leave_out_errors(model, faces, convention, np.random.default_rng(0))
    assert chosen.shape == error.shape == (6, 5)
    assert error.mean() < 0.02
    wild = faces.clone().scatter(1, chosen[..., None].expand(-1, -1, 2), 0.0)
    trust = torch.ones(6, 68).scatter(1, chosen, 0.0)
    without = fit_landmarks(model, wild, trust=trust)
    assert predict_labels(model, without, convention).isfinite().all()


def test_perspective_and_weak_perspective_agree_on_the_landmarks(model, fit):
    head = model.points_of(model.landmark_indices, fit.shape, fit.expression)
    weak = (fit.log_scale.exp()[:, None, None] * (head @ fit.rotation.mT)[..., :2]
            + fit.translation[:, None])
    assert (fit.project(head) - weak).norm(dim=-1).mean() < 0.03
    camera = head @ fit.rotation.mT + fit.camera_translation()[:, None]
    focal = (fit.perspective_log_scale.exp() / fit.inverse_distance)[:, None, None]
    assert torch.allclose(focal * camera[..., :2] / camera[..., 2:], fit.project(head), atol=1e-4)


def test_report_counts_accepted_fits(fit):
    reason = np.array(['', '', 'large residual', '', '', 'extreme identity'])
    figures = summarize(fit, reason, ['b', 'b', 'b', 'a', 'a', 'a'])
    assert list(figures) == ['a', 'b', 'all']
    assert figures['b']['kept'] == 2 and figures['b']['reasons'] == {'large residual': 1}
    assert figures['all']['faces'] == 6
    assert 'extreme identity' in format_table(figures)
    json.dumps(figures)


@pytest.mark.train
def test_portraits_get_points_and_a_fit(model, tmp_path, capsys):
    pytest.importorskip('ai_edge_litert')
    faces = write_small_faces(tmp_path / 'faces', {'lfpw': 24, 'congress': 6})
    baselines = data_root().parent / 'baselines'
    if not baselines.is_dir():
        pytest.skip(f'no teachers at {baselines}')
    save_head_model_npz(model, tmp_path / 'head_model.npz')
    prepare_fits([
        '--data', str(faces), '--head-model', str(tmp_path / 'head_model.npz'),
        '--output', str(tmp_path / 'fits.npz'), '--baselines', str(baselines),
        '--portraits', str(tmp_path / 'portraits.npz'), '--report', str(tmp_path / 'report.json'),
        '--sheet', str(tmp_path / 'sheet.png')])
    with np.load(tmp_path / 'portraits.npz') as stored:
        assert stored['points'].shape == (6, 68, 2)
        assert stored['accepted'].sum() >= 5
        assert {field.name for field in fields(Fit)} <= set(stored.files)
        assert ((stored['reason'] == '') == stored['accepted']).all()
    with np.load(tmp_path / 'fits.npz') as stored:
        assert stored['accepted'].shape == stored['reason'].shape == (24, 2)
        assert stored['accepted'].mean() > 0.8
        assert stored['offsets'].shape == (51, 3)
        assert stored['jaw_displacement'].shape == (24, 2, 17, 3)
        assert stored['common_points'].shape == (24, 68, 2)
        assert {'convention_inner_hand', 'convention_jaw_lfpw'} <= set(stored.files)
    figures = json.loads((tmp_path / 'report.json').read_text())
    assert figures['portraits']['congress']['faces'] == 6
    assert 'lfpw' in capsys.readouterr().out
    for name in ('sheet.png', 'sheet_portraits.png'):
        assert cv2.imread(str(tmp_path / name)).shape[2] == 3


def test_portraits_without_teachers_are_refused():
    with pytest.raises(ValueError, match='--baselines'):
        prepare_fits(['--portraits', 'portraits.npz'])
