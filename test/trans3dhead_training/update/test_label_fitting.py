"""Labels become fits and samples: poses are found, and what the user left out is completed."""

import cv2
import numpy as np
import pytest
import torch
from synthetic import bundled_head_model

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import geodesic_distance_deg, rotation_from_euler
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
def points(model) -> np.ndarray:
    """Points of the mean head where the bundled network puts them, jaw on the visible contour."""
    head, result = model.mean.numpy(), []
    for rotation in ROTATIONS:
        candidates = model.mean[model.contour_indices][None]
        chosen = visible_contour(candidates, torch.from_numpy(rotation)[None].float())[0]
        jaw = candidates[0, torch.arange(JAW_COUNT), chosen].numpy()
        inner = head[model.landmark_indices[JAW_COUNT:]] + replay_offsets()
        result.append(500.0 * np.concatenate([jaw, inner]) @ rotation[:2].T + [80.0, 75.0])
    return np.stack(result)


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
                  np.where(np.arange(COUNT) == 7, 'no head', '')).save(run.labels)
    run.crops.mkdir(parents=True)
    for name in names:
        cv2.imwrite(str(run.crops / name), np.full((SIZE, SIZE, 3), 90, np.uint8))
    return run


def test_the_pose_of_a_label_is_found_with_and_without_a_prior(run, model):
    fits = fit(run, model, replay_offsets())
    assert geodesic_distance_deg(fits.rotation.astype(float), ROTATIONS).max() < 4.0
    assert fits.reason[7] == 'no head' and fits.accepted.sum() == COUNT - 1


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
