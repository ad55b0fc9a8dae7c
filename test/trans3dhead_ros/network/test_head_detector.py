"""The detector has outputs at every location of three grids, whatever the size of the image."""

import numpy as np
import pytest
import torch
from detector_set import small_detector

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.model_files.detector_files import read_detector_metadata
from trans3dhead_ros.network.cost import weight_count
from trans3dhead_ros.network.detector_checkpoint import load_detector, save_detector
from trans3dhead_ros.network.detector_config import DetectorConfig
from trans3dhead_ros.network.head_detector import (
    HeadDetector,
    HeadProposals,
    cell_centres,
    centred,
    decode_boxes,
)

CPU = torch.device('cpu')


@pytest.mark.parametrize(('height', 'width'), [(32, 32), (96, 160), (64, 352)])
def test_any_multiple_of_32_is_accepted(height, width):
    found = small_detector().eval()(torch.rand(2, 3, height, width))
    count = sum(height // stride * (width // stride) for stride in (8, 16, 32))
    assert found.score.shape == found.face.shape == (2, count)
    assert found.up.shape == (2, count, 2)
    assert found.head_box.shape == found.landmark_box.shape == (2, count, 4)


def test_the_default_detector_is_small():
    assert 0.2e6 < weight_count(HeadDetector(DetectorConfig())) < 0.6e6


def test_cells_tile_the_image_with_pixel_centres_at_integers():
    x, y = cell_centres(torch.randn(1, 4, 2, 3), 8)[0]
    assert x.tolist() == [[3.5, 11.5, 19.5], [3.5, 11.5, 19.5]]
    assert y.tolist() == [[3.5, 3.5, 3.5], [11.5, 11.5, 11.5]]


def test_boxes_are_decoded_in_strides_around_their_cell():
    values = torch.tensor([[0.5, -1.0, np.log(2.0), np.log(4.0)]], dtype=torch.float32)
    box = decode_boxes(values, torch.tensor([[100.0, 50.0]]), 16)
    np.testing.assert_allclose(box.numpy(), [[92, 2, 124, 66]], atol=1e-3)


def test_proposals_are_probabilities_and_directions():
    found = HeadProposals(small_detector().eval())(torch.rand(1, 3, 64, 64))
    assert ((found.score > 0) & (found.score < 1)).all()
    assert ((found.face > 0) & (found.face < 1)).all()
    torch.testing.assert_close(found.up.norm(dim=-1), torch.ones_like(found.score))


def test_a_twentieth_of_the_light_does_not_change_the_output():
    detector, images = HeadProposals(small_detector().eval()), torch.rand(2, 3, 64, 64)
    # Each image has a light of its own.
    dark = images * torch.tensor([0.05, 0.3])[:, None, None, None]
    torch.testing.assert_close(detector(dark).head_box, detector(0.7 * images).head_box,
                               atol=0.05, rtol=0)
    assert centred(images).equal(2 * images - 1) and centred(torch.zeros(1, 3, 32, 32)).max() == -1


def test_an_untrained_detector_expects_no_heads():
    assert torch.sigmoid(HeadDetector(DetectorConfig()).eval()(
        torch.rand(1, 3, 96, 96)).score).max() < 0.05


def test_convolutions_in_bfloat16_give_nearly_the_same_output():
    detector, images = small_detector().eval(), torch.rand(1, 3, 64, 64)
    exact = detector(images)
    detector.bfloat16_backbone = True
    rounded = detector(images)
    assert rounded.score.dtype == torch.float32
    assert 0 < (rounded.head_box - exact.head_box).abs().max() < 2.0


def test_a_detector_survives_its_checkpoint(tmp_path):
    detector, images = small_detector().eval(), torch.rand(1, 3, 64, 64)
    save_detector(tmp_path / 'd.safetensors', detector, {'licence': 'CC0'})
    loaded, metadata = load_detector(tmp_path / 'd.safetensors', CPU)
    assert metadata['licence'] == 'CC0' and metadata['training_data'] == 'not stated'
    assert read_detector_metadata(tmp_path / 'd.safetensors') == metadata
    assert not loaded.training
    # Weights are stored in half precision.
    torch.testing.assert_close(loaded(images).score, detector(images).score, atol=0.05, rtol=0)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    path = tmp_path / 'd.safetensors'
    save_detector(path, small_detector(), {})
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match='sha256'):
        load_detector(path, CPU)


def test_a_checkpoint_of_other_sizes_is_refused(tmp_path):
    detector = small_detector()
    detector.config = DetectorConfig(8, (8, 12, 20), (0, 1, 0), 12)
    save_detector(tmp_path / 'd.safetensors', detector, {})
    with pytest.raises(UserError, match='do not fit'):
        load_detector(tmp_path / 'd.safetensors', CPU)


@pytest.mark.parametrize('fusion', [[1.0, 2.0], [1.0, 1.0, 0.0, 'much'], 3.0])
def test_evidence_weights_other_than_four_numbers_are_refused(tmp_path, fusion):
    save_detector(tmp_path / 'detector.safetensors', small_detector(), {'score_fusion': fusion})
    with pytest.raises(UserError, match='score_fusion'):
        load_detector(tmp_path / 'detector.safetensors', torch.device('cpu'))


def test_enormous_configurations_are_refused_before_they_are_built(tmp_path):
    detector = small_detector()
    detector.config = DetectorConfig(10 ** 7)
    save_detector(tmp_path / 'd.safetensors', detector, {})
    with pytest.raises(UserError, match='out of range'):
        load_detector(tmp_path / 'd.safetensors', CPU)


@pytest.mark.parametrize('wrong', [{'widths': (8, 8)}, {'neck_width': 0}, {'blocks': (1, -1, 1)}])
def test_wrong_sizes_name_their_field(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        DetectorConfig(**wrong)
