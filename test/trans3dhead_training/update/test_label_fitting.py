"""Labels become fits and samples: poses are found, and what the user left out is completed."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from synthetic import bundled_head_model

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import (
    geodesic_distance_deg,
    rotation_from_euler,
    viewing_ray_rotation,
)
from trans3dhead_ros.landmarks import JAW, JAW_COUNT
from trans3dhead_ros.network.head_module import visible_contour
from trans3dhead_training.data.shards import read_shards
from trans3dhead_training.update.label_fitting import HeadFits, fit
from trans3dhead_training.update.labelling import LabelledHeads
from trans3dhead_training.update.recording_maker import prepare, replay_offsets
from trans3dhead_training.update.update_config import UpdateConfig
from trans3dhead_training.update.update_run import UpdateRun

COUNT, PEOPLE, SIZE = 32, 4, 160
YAWS = np.linspace(-45.0, 45.0, COUNT)
ROTATIONS = rotation_from_euler(np.stack([YAWS, 0.3 * YAWS, 0.2 * YAWS], axis=-1))


@pytest.fixture(scope='module')
def model():
    return bundled_head_model()


@pytest.fixture(scope='module')
def heads(model) -> np.ndarray:
    """Where the bundled network puts points of the mean head, jaw on the visible contour; m."""
    result = []
    for rotation in ROTATIONS:
        candidates = model.mean[model.contour_indices][None]
        chosen = visible_contour(candidates, torch.from_numpy(rotation)[None].float())[0]
        jaw = candidates[0, torch.arange(JAW_COUNT), chosen].numpy()
        inner = model.mean.numpy()[model.landmark_indices[JAW_COUNT:]] + replay_offsets()
        result.append(np.concatenate([jaw, inner]))
    return np.stack(result)


@pytest.fixture(scope='module')
def points(heads) -> np.ndarray:
    """The points in px of a crop."""
    return 500.0 * heads @ ROTATIONS[:, :2].transpose(0, 2, 1) + [80.0, 75.0]


@pytest.fixture
def run(tmp_path, points) -> UpdateRun:
    """A run with labels, of which those of the first head are the user's, without the jaw."""
    run, given = UpdateRun(tmp_path), points.copy()
    given[0, JAW] = np.nan
    by_hand = np.arange(COUNT) == 0
    rotations = np.where(by_hand[:, None, None], np.nan, ROTATIONS)
    names = np.array([f'{number}.jpg' for number in range(COUNT)])
    LabelledHeads(names, np.arange(COUNT) % PEOPLE, 0.1 * np.arange(COUNT), given, rotations,
                  np.full(COUNT, 0.5), np.zeros(COUNT), by_hand,
                  np.where(np.arange(COUNT) == 7, 'no head', ''),
                  np.full((COUNT, 68, 2), np.nan)).save(run.labels)
    run.crops.mkdir(parents=True)
    for name in names:
        cv2.imwrite(str(run.crops / name), np.full((SIZE, SIZE, 3), 90, np.uint8))
    return run


def test_the_pose_of_a_label_is_found_with_and_without_a_prior(run, model):
    fits = fit(run, model, replay_offsets())
    assert geodesic_distance_deg(fits.rotation.astype(float), ROTATIONS).max() < 4.0
    assert fits.reason[7] == 'no head' and fits.accepted.sum() == COUNT - 1


def test_the_stretch_of_a_wide_lens_is_not_taken_for_a_pose(run, model, heads):
    before = LabelledHeads.load(run.labels)

    def error(ray: tuple[float, float, float], known: bool) -> float:
        seen = heads @ ROTATIONS.transpose(0, 2, 1) + [0.0, 0.0, 0.7]
        seen = seen @ viewing_ray_rotation(np.array(ray)).T
        rays = seen[..., :2] / seen[..., 2:]
        replace(before, points=300.0 * rays, rotation=np.full((COUNT, 3, 3), np.nan),
                rays=rays if known else np.full_like(rays, np.nan)).save(run.labels)
        fits = fit(run, model, replay_offsets())
        return float(geodesic_distance_deg(fits.rotation.astype(float), ROTATIONS).mean())
    aside = (1.0, 0.6, 1.0)
    on_axis = error((0.0, 0.0, 1.0), True)
    assert error(aside, True) == pytest.approx(on_axis, abs=0.5)
    assert error(aside, False) > on_axis + 1.5


def test_one_view_takes_the_identity_of_the_others(run, model):
    labels = LabelledHeads.load(run.labels)
    noisy = labels.points + np.random.default_rng(0).normal(0, 1.5, labels.points.shape)
    spread = []
    for people in (PEOPLE, COUNT):
        replace(labels, points=noisy, person=np.arange(COUNT) % people).save(run.labels)
        shapes = fit(run, model, replay_offsets()).shape
        spread.append(np.std(shapes[0::PEOPLE], axis=0).mean())
    assert spread[0] < 0.5 * spread[1]


def test_points_that_the_user_left_out_are_completed(run, model, points):
    fits = fit(run, model, replay_offsets())
    side = np.ptp(points[0], axis=0).max()
    assert np.abs(fits.points[0] - points[0]).max() < 0.06 * side
    assert fits.points[0, JAW_COUNT:] == pytest.approx(points[0, JAW_COUNT:])


def test_heads_are_trained_on_or_held_out_and_never_both(run, model):
    fit(run, model, replay_offsets())
    counts = prepare(run, UpdateConfig(held_out=0.25))
    trained = read_shards(run.data / 'recordings')
    held_out = read_shards(run.held_out)
    assert counts == (len(trained), len(held_out)) and sum(counts) == COUNT - 1
    assert not {sample.group for sample in trained} & {sample.group for sample in held_out}
    assert all(sample.is_validation for sample in held_out)
    (mine,) = (sample for sample in [*trained, *held_out]
               if sample.source == 'labelled by the user')
    assert mine.visible.tolist() == [False] * JAW_COUNT + [True] * 51 and mine.trust == 0.5


def test_too_few_heads_are_refused(run, model):
    fits = fit(run, model, replay_offsets())
    few = np.where(np.arange(COUNT) < 10, fits.reason, 'large residual')
    HeadFits(fits.rotation, fits.translation, fits.log_scale, fits.shape, fits.expression,
             fits.points, few).save(run.fits)
    with pytest.raises(UserError, match='too few'):
        prepare(run, UpdateConfig())
