"""The scores of a candidate are as high as those of the model before it."""

from copy import deepcopy

import pytest
import torch

from trans3dhead_ros.model_files.model_metadata import bundled_model
from trans3dhead_ros.network.checkpoint import load_checkpoint
from trans3dhead_training.data.head_dataset import HeadDataset
from trans3dhead_training.update.fine_tuning import calibrate_score
from trans3dhead_training.update.recording_maker import REPLAY


@pytest.fixture(scope='module')
def network():
    return load_checkpoint(bundled_model(), torch.device('cpu'))[0]


@pytest.fixture(scope='module')
def batches(network) -> list:
    """Forty heads of the replay set, and as many crops without one."""
    heads = HeadDataset.read(REPLAY, network.head_model, ('synthetic',), True, 128, 1.5)
    batch = next(heads.validation_batches(40))
    return [batch]


def means(network, batches) -> tuple[float, float]:
    with torch.no_grad():
        score = network.head_score(network.pooled(batches[0].crops)).sigmoid()
    head = batches[0].is_head > 0.5
    return float(1 - score[head].mean()), float(score[~head].mean())


def test_scores_that_are_too_high_become_those_of_the_teacher(network, batches):
    generous = deepcopy(network)
    with torch.no_grad():
        generous.score_output.bias += 1.0
        generous.score_output.weight *= 0.8
    assert means(generous, batches)[1] > 1.5 * means(network, batches)[1]
    factor, offset = calibrate_score(generous, network, batches)
    assert factor == pytest.approx(1.25, rel=0.05) and offset < 0.0
    assert means(generous, batches) == pytest.approx(means(network, batches), rel=0.01)
    # Calibrated again, it stays as it is.
    assert calibrate_score(generous, network, batches) == pytest.approx((1.0, 0.0), abs=0.01)
