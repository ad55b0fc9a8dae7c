"""Preparation of the head model from its source, and its file."""

import numpy as np
import pytest
import torch
from clips import data
from head_anatomy import check_anatomy, signed_volume
from synthetic import small_head_model

from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_training.fitting.head_basis import (
    build_head_model,
    load_head_model_npz,
    measure_chin_down,
    save_head_model_npz,
)


@pytest.fixture(scope='module')
def prepared() -> HeadModule:
    return build_head_model(data('head_model', 'ict_facekit.npz'))


def test_preparation_keeps_anatomy_and_landmarks(prepared):
    check_anatomy(prepared)
    assert len(set(prepared.landmark_indices.tolist())) == 68
    assert signed_volume(prepared.mean.numpy(), prepared.triangles.numpy()) > 0.002
    source = np.load(data('head_model', 'ict_facekit.npz'))
    original = source['mean'][source['landmarks68']] / 100
    own = prepared.mean[prepared.landmark_indices].numpy()
    distance = np.linalg.norm(own[:, None] - own[None], axis=-1)
    expected = np.linalg.norm(original[:, None] - original[None], axis=-1)
    assert np.allclose(distance, expected, atol=1e-5)  # rotated and scaled only


def test_zero_pitch_is_that_of_the_reference_head(prepared):
    reference = np.loadtxt(data('..', 'baselines', '3ddfa_v2', 'u_base.txt')).reshape(68, 3)
    own = prepared.mean.numpy()[:, [1, 2, 0]]  # back to x left, y up, z out
    assert abs(measure_chin_down(own, prepared.landmark_indices.numpy(), reference)) < 0.1


def test_head_model_file_round_trip(tmp_path):
    model = small_head_model()
    save_head_model_npz(model, tmp_path / 'head.npz')
    again = load_head_model_npz(tmp_path / 'head.npz')
    assert again.expression_names == model.expression_names
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), again.buffers(), strict=True))


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(ValueError, match='nothing.npz'):
        build_head_model(tmp_path / 'nothing.npz')
