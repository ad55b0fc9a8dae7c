"""The score of a detection is the probability of a head, whatever its size."""

import numpy as np
import torch
from detector_set import small_detector

from trans3dhead_ros.network.head_detector import HeadProposals
from trans3dhead_training.detection.score_calibration import fit_score


def drawn(count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Evidence, and truths of which small heads are true more often at equal scores."""
    generator = np.random.default_rng(0)
    logit, size = generator.normal(0, 1.5, count), generator.uniform(-1.5, 2, count)
    true = 0.5 + 3 * logit - 1.2 * size
    return (np.stack([np.ones(count), logit, size], axis=1),
            generator.random(count) < 1 / (1 + np.exp(-true)))


def test_scores_and_heights_become_probabilities():
    np.testing.assert_allclose(fit_score(*drawn()), [0.5, 3.0, -1.2], atol=0.15)


def test_uninformative_scores_are_left_unchanged():
    evidence, _ = drawn(400)
    assert fit_score(evidence, evidence[:, 1] < 0) is None
    assert fit_score(evidence, np.zeros(400, bool)) is None


def test_proposals_carry_the_calibrated_score():
    detector, images = small_detector().eval(), torch.rand(1, 3, 64, 64)
    plain = HeadProposals(detector)(images)
    detector.calibration.copy_(torch.tensor([1.0, 2.0, 0.0]))
    torch.testing.assert_close(HeadProposals(detector)(images).score.logit(),
                               1 + 2 * plain.score.logit(), atol=1e-3, rtol=1e-3)
    detector.calibration.copy_(torch.tensor([0.0, 1.0, -1.0]))
    lower = HeadProposals(detector)(images).score < plain.score
    height = plain.head_box[..., 3] - plain.head_box[..., 1]
    assert (lower == (height > 32)).all()
