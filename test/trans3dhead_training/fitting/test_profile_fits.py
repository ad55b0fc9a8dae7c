"""Photographs of which one half is labelled, pictures without labels, and stored conventions."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from synthetic import bundled_head_model

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import geodesic_distance_deg, rotation_from_euler
from trans3dhead_ros.landmarks import JAW_COUNT, MIRROR_68
from trans3dhead_ros.network.head_module import visible_contour
from trans3dhead_training.data.labels import COLUMNS, read_labels
from trans3dhead_training.data.profiles import read_profiles
from trans3dhead_training.fitting import profile_fits
from trans3dhead_training.fitting.label_convention import LabelConvention
from trans3dhead_training.fitting.portrait_fits import read_unlabelled
from trans3dhead_training.fitting.profile_fits import fit_profiles
from trans3dhead_training.fitting.source_conventions import (
    HAND,
    convention_arrays,
    measure_sources,
    stored_convention,
)
from trans3dhead_training.fitting.teachers import TeacherPredictions
from trans3dhead_training.preparation.photograph_maker import (
    common_points_fit,
    photograph_sample,
)

HIDDEN = [*range(9, 17), *range(22, 27), *range(42, 48)]
"""Points of the left half of the face."""


def heads(yaws: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return points (N, 68, 2) px of mean heads, jaw on the contour, and rotations (N, 3, 3)."""
    model = bundled_head_model()
    rotation = rotation_from_euler(np.array([[yaw, 5.0, 0.0] for yaw in yaws]))
    turned = torch.from_numpy(rotation).float()
    vertices = model.mean.expand(len(yaws), -1, -1)
    candidates = vertices[:, model.contour_indices]
    chosen = visible_contour(candidates, turned)
    contour = candidates.take_along_dim(chosen[..., None, None], dim=2).squeeze(2)
    points = torch.cat([contour, model.landmarks(vertices)[:, JAW_COUNT:]], 1) @ turned.mT
    return 900.0 * points[..., :2].double().numpy() + 200.0, rotation


def write_labels(folder: Path, rows: dict[str, np.ndarray]) -> Path:
    """Write labels.csv of half-labelled faces."""
    with (folder / 'labels.csv').open('w', newline='') as file:
        csv.writer(file).writerows([
            COLUMNS, *([name, 'cfp', 'train', *points.flatten()] for name, points in rows.items())])
    return folder


def test_profiles_are_held_out_by_person(tmp_path):
    points = np.random.default_rng(0).uniform(0, 100, (68, 2))
    points[HIDDEN] = np.nan
    folder = write_labels(tmp_path, {
        'cfp/profile_400_01.webp': points, 'cfp/frontal_401_02.webp': points})
    first, second = read_profiles(folder)
    assert (first.photo, first.is_validation) == ('cfp/400', False)
    assert (second.photo, second.is_validation) == ('cfp/401', True)
    assert np.isnan(first.points).all(1).sum() == len(HIDDEN)
    with pytest.raises(UserError, match='only some of its points'):
        read_labels(folder)


def test_another_name_of_a_profile_is_refused(tmp_path):
    folder = write_labels(tmp_path, {
        'cfp/somebody.webp': 100 * np.random.default_rng(0).random((68, 2))})
    with pytest.raises(UserError, match='<kind>_<person>_<number>'):
        read_profiles(folder)


def test_unlabelled_pictures_are_split_by_name(tmp_path):
    (tmp_path / 'wild' / 'a').mkdir(parents=True)
    picture = cv2.imencode('.jpg', np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    for number in range(60):
        (tmp_path / 'wild' / 'a' / f'{number}.jpg').write_bytes(picture)
    (tmp_path / 'wild' / 'notes.txt').touch()
    records = read_unlabelled(tmp_path / 'wild')
    assert len(records) == 60 and records[0].points is None
    assert {record.source for record in records} == {'wild'}
    assert 0 < sum(record.is_validation for record in records) < 20
    (tmp_path / 'nothing').mkdir()
    with pytest.raises(UserError, match='no pictures'):
        read_unlabelled(tmp_path / 'nothing')


def test_a_stored_convention_is_read_again():
    convention = LabelConvention(torch.rand(4, 51, 3), torch.rand(4, 17, 3))
    again = stored_convention(convention_arrays({HAND: convention}), HAND)
    assert torch.equal(again.inner, convention.inner) and torch.equal(again.jaw, convention.jaw)


@pytest.mark.train
def test_a_small_source_has_the_convention_of_all_hand_labels():
    points, _ = heads([-10.0, 0.0, 10.0, 20.0])
    conventions = measure_sources(
        bundled_head_model(), points, ['a', 'a', 'b', 'b'], np.ones(4, bool), np.ones(4, bool),
        None)
    assert set(conventions) == {HAND, 'a', 'b'}
    assert conventions['a'] is conventions[HAND]


@pytest.mark.train
def test_half_labelled_faces_are_completed_from_their_fits(tmp_path, monkeypatch):
    points, rotation = heads([20.0, 35.0, 50.0, -20.0, -35.0, -50.0])
    half = points.copy()
    half[:3, HIDDEN] = np.nan  # of a face that looks to its right, the left half is hidden
    half[3:, [MIRROR_68[point] for point in HIDDEN]] = np.nan
    names = [f'cfp/profile_{number:03d}_01.webp' for number in range(1, 7)]
    records = read_profiles(write_labels(tmp_path, dict(zip(names, half, strict=True))))
    monkeypatch.setattr(profile_fits, 'query_teachers', lambda *_: TeacherPredictions(
        points.copy(), points.copy(), rotation.copy()))
    fits = fit_profiles(records, bundled_head_model(), LabelConvention.zero(torch.zeros(1)),
                        tmp_path)
    assert fits['accepted'].all(), fits['reason']
    assert (fits['labelled'] == np.isfinite(half).all(-1)).all()
    assert geodesic_distance_deg(fits['rotation'][:, 0].astype(float), rotation).max() < 6.0
    box = np.sqrt(np.ptp(points, axis=1).prod(axis=1))
    error = np.linalg.norm(fits['common_points'] - points, axis=-1).mean(1) / box
    assert error.max() < 0.04
    rows = {name: fits[name] if fits[name].shape[:2] != (6, 2) else fits[name][:, 0]
            for name in fits}
    monkeypatch.setattr('trans3dhead_training.preparation.photograph_maker.read_picture_bytes',
                        lambda path: b'')
    sample = photograph_sample(records[0], rows, 0)
    assert (sample.visible == np.isfinite(half[0]).all(-1)).all()
    assert np.isfinite(sample.points).all()
    # The same head in the units of the completed points as in px.
    common, fit = common_points_fit(records[0], rows, 0)
    side = np.ptp(common, axis=0).max() / 2
    assert np.exp(fit.log_scale) * side == pytest.approx(
        np.exp(sample.placement.log_scale), rel=1e-5)
    rows['accepted'] = np.zeros(6, bool)
    assert photograph_sample(records[0], rows, 0) is None
