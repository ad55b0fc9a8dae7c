"""The second stage that trains the head score: where negatives come from, and what it touches."""

import numpy as np
import pytest
import torch
from clips import data
from scipy.spatial.transform import Rotation
from synthetic import small_network

from trans3dhead_ros.network.device import resolve_device
from trans3dhead_ros.perception.detector import CascadeDetector
from trans3dhead_training.core.background_crops import read_backgrounds
from trans3dhead_training.data.labels import read_labels
from trans3dhead_training.engine.score import (
    ScoreConfig,
    main,
    measure,
    pooled_features,
    randomly_reduced,
    reduced,
    train_score,
)
from trans3dhead_training.preparation.hard_negatives import (
    PHOTOGRAPH,
    mine,
    random_views,
    rectilinear_view,
)

CPU = resolve_device('cpu')


@pytest.mark.parametrize(('yaw', 'pitch'), [(0.0, 0.0), (70.0, 0.0), (-120.0, 25.0), (10.0, -40.0)])
def test_a_view_shows_the_direction_that_it_looks_in(yaw, pitch):
    panorama = np.zeros((256, 512, 3), np.uint8)
    turn = Rotation.from_euler('yx', [yaw, pitch], degrees=True).as_matrix()
    x, y, z = turn[:, 2]
    column = (np.arctan2(x, z) / (2 * np.pi) + 0.5) * 512
    row = (np.arcsin(y) / np.pi + 0.5) * 256
    panorama[int(row) - 1:int(row) + 2, np.arange(int(column) - 1, int(column) + 2) % 512] = 255
    view = rectilinear_view(panorama, turn, 60.0, (121, 81))
    assert view.shape == (81, 121, 3)
    rows, columns = np.nonzero(view[..., 0] > 100)
    assert abs(rows.mean() - 40) < 3 and abs(columns.mean() - 60) < 3


def test_views_keep_their_size_and_change():
    panorama = np.random.default_rng(0).integers(0, 255, (128, 256, 3), np.uint8)
    first, second = random_views(panorama, 2, np.random.default_rng(1))
    assert first.shape == second.shape == (320, 480, 3) and first.dtype == np.uint8
    assert np.abs(first.astype(int) - second).mean() > 5


def test_mined_crops_are_those_at_which_a_detector_fires_away_from_the_face():
    records = [record for record in read_labels(data('faces')) if record.points is not None][:60]
    panoramas = read_backgrounds(data('appearance', 'hdri'))[:1]
    crops, groups = mine(panoramas, 12, records, size=32, crop_scale=1.5)
    assert crops.shape[1:] == (32, 32, 3) and crops.dtype == np.uint8
    assert len(crops) == len(groups) >= 10
    assert set(groups) <= {0, PHOTOGRAPH}


def test_fewer_neighbours_propose_more():
    view = next(random_views(np.random.default_rng(3).integers(
        0, 255, (64, 128, 3), np.uint8).repeat(4, 0).repeat(4, 1), 1, np.random.default_rng(5)))
    strict, eager = (CascadeDetector(neighbours=n).detect(view)[0] for n in (6, 0))
    assert len(eager) > len(strict)


def test_a_reduced_crop_keeps_its_size_and_loses_its_detail():
    crop = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    small = reduced(crop, 12)
    assert small.shape == crop.shape
    assert np.abs(np.diff(small.astype(int), axis=1)).mean() < 0.3 * np.abs(
        np.diff(crop.astype(int), axis=1)).mean()
    kept = randomly_reduced([crop] * 200, 0.25, np.random.default_rng(1))
    assert 25 < sum(not np.array_equal(other, crop) for other in kept) < 75


def test_training_the_score_separates_and_touches_nothing_else():
    network = small_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    heads, negatives, more = (torch.randn(n, 16, generator=generator) for n in (200, 600, 300))
    heads[:, 3] += 4.0
    train_score(network, heads, negatives, ScoreConfig(epochs=30, learning_rate=1e-2))
    figures = measure(network, heads, more)
    assert figures['auc'] > 0.97
    assert figures['heads_percent'] > 90 and figures['negatives_percent'] < 10
    changed = {name.split('.')[0] for name, tensor in network.state_dict().items()
               if not torch.equal(tensor, before[name])}
    assert changed == {'score_head', 'score_output'}


def test_the_score_of_the_features_is_the_score_of_the_network():
    network = small_network()
    crops = list(np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), np.uint8))
    batch = torch.from_numpy(np.stack(crops)[..., ::-1].copy()).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        expected = network(batch).score
        found = network.head_score(pooled_features(network, crops, CPU))
    torch.testing.assert_close(found, expected)


def test_missing_negatives_are_named(tmp_path):
    with pytest.raises(ValueError, match=r'^negatives: no file .*prepare negatives'):
        main(['--checkpoint', str(tmp_path / 'a'), '--output', str(tmp_path / 'b'),
              '--negatives', str(tmp_path / 'none.npz')])
