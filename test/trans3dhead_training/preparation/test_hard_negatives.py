"""Crops without a head at which a detector fires."""

import numpy as np
import pytest
from clips import data
from scipy.spatial.transform import Rotation

from trans3dhead_ros.perception.detector import CascadeDetector
from trans3dhead_training.core.background_crops import read_backgrounds
from trans3dhead_training.data.labels import read_labels
from trans3dhead_training.preparation.hard_negatives import (
    PHOTOGRAPH,
    mine,
    random_views,
    rectilinear_view,
)


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
    strict, eager = (CascadeDetector(min_neighbours=n).detect(view)[0] for n in (6, 0))
    assert len(eager) > len(strict)
