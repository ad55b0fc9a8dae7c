"""A training may start from another network, or from its backbone."""

from pathlib import Path

import pytest
import torch
from synthetic import small_head_model

from trans3dhead_ros.network.checkpoint import save_checkpoint
from trans3dhead_ros.network.config import NetworkConfig
from trans3dhead_ros.network.detector_checkpoint import save_detector
from trans3dhead_ros.network.detector_config import DetectorConfig
from trans3dhead_ros.network.head_detector import HeadDetector
from trans3dhead_ros.network.model import Trans3DHead
from trans3dhead_training.engine.initialization import load_backbone, load_detector_weights

SMALL = {'input_size': 32, 'dim': 16, 'num_heads': 2, 'ffn_dim': 16}


def network(seed: int, **changes) -> Trans3DHead:
    torch.manual_seed(seed)
    return Trans3DHead(NetworkConfig(**{**SMALL, 'widths': (8, 8, 16, 16), 'blocks': (1, 1, 1),
                                        **changes}), small_head_model())


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    save_checkpoint(tmp_path / 'before.safetensors', network(0), {'training_data': 'ours'})
    return tmp_path / 'before.safetensors'


def test_only_the_backbone_is_taken_and_its_origin_is_returned(checkpoint):
    before, other = network(0), network(1, qamem='none')
    decoder = {name: value.clone() for name, value in other.state_dict().items()
               if not name.startswith('backbone.')}
    assert load_backbone(other, checkpoint)['training_data'] == 'ours'
    for name, value in other.state_dict().items():
        expected = decoder[name] if name in decoder else before.state_dict()[name]
        torch.testing.assert_close(value, expected, atol=2e-3, rtol=2e-3)


def test_a_deeper_backbone_takes_over_the_matching_stages(checkpoint):
    deeper = network(1, widths=(8, 8, 16, 16, 24), blocks=(1, 1, 1, 1), stride=32)
    last = deeper.backbone.stages[3][0][0].weight.clone()
    load_backbone(deeper, checkpoint)
    torch.testing.assert_close(deeper.backbone.stages[2][0][0].weight,
                               network(0).backbone.stages[2][0][0].weight, atol=2e-3, rtol=2e-3)
    assert torch.equal(deeper.backbone.stages[3][0][0].weight, last)


def test_another_width_is_refused(checkpoint):
    with pytest.raises(ValueError, match='other widths'):
        load_backbone(network(1, widths=(12, 8, 16, 16)), checkpoint)


def detector(seed: int, **changes) -> HeadDetector:
    torch.manual_seed(seed)
    return HeadDetector(DetectorConfig(
        **{'stem_width': 8, 'widths': (8, 8, 8), 'blocks': (1, 1, 1), 'neck_width': 8, **changes}))


def test_a_deeper_detector_answers_like_the_one_that_it_starts_from(tmp_path):
    before, deeper = detector(0).eval(), detector(1, blocks=(1, 1, 2)).eval()
    save_detector(tmp_path / 'before.safetensors', before, {'training_data': 'ours'})
    metadata = load_detector_weights(deeper, tmp_path / 'before.safetensors')
    assert metadata['training_data'] == 'ours'
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(deeper(image).head_box, before(image).head_box, atol=0.2, rtol=1e-2)
    assert not torch.allclose(detector(1)(image).head_box, before(image).head_box, atol=0.2)


def test_a_detector_of_other_widths_is_refused(tmp_path):
    save_detector(tmp_path / 'before.safetensors', detector(0), {})
    with pytest.raises(ValueError, match='does not fit'):
        load_detector_weights(detector(1, neck_width=12), tmp_path / 'before.safetensors')
