"""Windows without a head at which a detector fires."""

from pathlib import Path

import numpy as np
import pytest
from clips import data
from scipy.spatial.transform import Rotation
from small_faces import write_small_faces
from synthetic import small_head_model

from trans3dhead_ros.boxes import iou
from trans3dhead_ros.inference.head_search import HeadSearch
from trans3dhead_training.core.augmentation import Augmentation
from trans3dhead_training.core.background_crops import MAXIMUM_OVERLAP
from trans3dhead_training.data.head_dataset import HeadDataset, SamplingConfig
from trans3dhead_training.data.labels import read_labels
from trans3dhead_training.data.manifest import Manifest, Part
from trans3dhead_training.data.mined_negatives import NEGATIVES
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.data.shards import write_shard
from trans3dhead_training.preparation.negative_maker import (
    NegativeMaker,
    propose_boxes,
    random_view,
    rectilinear_view,
)
from trans3dhead_training.preparation.picture_bytes import encode_jpeg

pytestmark = pytest.mark.train


@pytest.mark.parametrize(('yaw', 'pitch'), [(0.0, 0.0), (70.0, 0.0), (-120.0, 25.0), (10.0, -40.0)])
def test_a_view_shows_the_direction_of_its_camera(yaw, pitch):
    panorama = np.zeros((256, 512, 3), np.uint8)
    rotation = Rotation.from_euler('yx', [yaw, pitch], degrees=True).as_matrix()
    x, y, z = rotation[:, 2]
    column = (np.arctan2(x, z) / (2 * np.pi) + 0.5) * 512
    row = (np.arcsin(y) / np.pi + 0.5) * 256
    panorama[int(row) - 1:int(row) + 2, np.arange(int(column) - 1, int(column) + 2) % 512] = 255
    view = rectilinear_view(panorama, rotation, 60.0, (121, 81))
    assert view.shape == (81, 121, 3)
    rows, columns = np.nonzero(view[..., 0] > 100)
    assert abs(rows.mean() - 40) < 3 and abs(columns.mean() - 60) < 3


def test_views_keep_their_size_and_change():
    panorama = np.random.default_rng(0).integers(0, 255, (128, 256, 3), np.uint8)
    generator = np.random.default_rng(1)
    first, second = (random_view(panorama, generator) for _ in range(2))
    assert first.shape == second.shape == (320, 480, 3) and first.dtype == np.uint8
    assert np.abs(first.astype(int) - second).mean() > 5


@pytest.fixture(scope='module')
def faces(tmp_path_factory) -> Path:
    return write_small_faces(tmp_path_factory.mktemp('faces'), {'helen': 8})


def test_windows_are_proposals_away_from_the_face_and_repeat(faces):
    maker = NegativeMaker(faces, data('appearance', 'hdri'), views=1, photographs=6, seed=0)
    count = maker.count()
    samples = maker.make(0, count)
    assert len(samples) >= 5
    photographs = {record.photo for record in read_labels(faces)}
    assert all(sample.group in photographs or sample.group.startswith('panorama/')
               for sample in samples)
    for sample in samples:
        image = sample.image()
        assert image.shape[0] == image.shape[1] <= 320 and sample.points is None
        box = sample.given_box
        np.testing.assert_allclose((box[:2] + box[2:]) / 2, (image.shape[0] - 1) / 2, atol=0.51)
        assert (box[2:] - box[:2]).max() == pytest.approx(image.shape[0] / 2, rel=0.02)
    again = maker.make(count - 3, count)
    assert [sample.picture for sample in again] == [
        sample.picture for sample in samples[len(samples) - len(again):]]


def test_proposals_on_the_face_itself_are_left_out(monkeypatch, faces):
    record = read_labels(faces)[0]
    face = np.concatenate([record.points.min(0), record.points.max(0)])
    beside = face - np.tile(face[2:] - face[:2], 2)
    assert iou(beside[None], face[None])[0, 0] < MAXIMUM_OVERLAP
    module = 'trans3dhead_training.preparation.negative_maker'
    monkeypatch.setattr(f'{module}.propose_boxes', lambda image, _: np.stack([face, beside]))
    monkeypatch.setattr(f'{module}.read_labels', lambda _: [record])
    maker = NegativeMaker(faces, faces, views=1, photographs=1, seed=0)
    assert len(maker.make(0, 1)) == 1


def test_more_is_proposed_than_the_detector_takes_for_heads():
    noise = np.random.default_rng(3).integers(0, 255, (64, 128, 3), np.uint8)
    view = random_view(noise.repeat(4, 0).repeat(4, 1), np.random.default_rng(5))
    strict = HeadSearch.load(device='cpu', threads=1).detect(view)
    assert len(strict) < len(propose_boxes(view, np.random.default_rng(0))) <= 8


def test_a_training_draws_mined_windows_where_they_were_prepared(tmp_path):
    boxes = Sample(encode_jpeg(np.full((64, 64, 3), 200, np.uint8)), 'negatives', 'wall', False,
                   trust=0.0, given_box=np.array([16.0, 16.0, 48.0, 48.0]))
    face = Sample(encode_jpeg(np.zeros((160, 160, 3), np.uint8)), 'drawn', 'dark', False,
                  points=np.random.default_rng(0).uniform(40, 120, (68, 2)))
    for name, sample in ((NEGATIVES, boxes), ('photographs', face)):
        write_shard(tmp_path / name / '00000.safetensors', [sample])

    def read(*parts: str) -> HeadDataset:
        Manifest(0, {}, np.zeros((51, 3)).tolist(), tuple(
            Part(name, '', '', True, {f'{name}/00000.safetensors': 1}) for name in parts),
        ).save(tmp_path)
        return HeadDataset.read(tmp_path, small_head_model(), ('photographs',), False, 32, 1.5,
                                SamplingConfig(negative_share=0.5, mined_share=1.0))

    assert read('photographs').mined is None
    batch = read('photographs', NEGATIVES).training_batch(
        8, np.random.default_rng(0), Augmentation(photometric=0.0))
    brightness = batch.crops.mean((1, 2, 3))
    # The windows are bright, the photographs black: what is drawn beside a head would be as well.
    assert brightness[batch.is_head < 0.5].min() > 0.3 > brightness[batch.is_head > 0.5].max()
