"""A scale that tells the truth is found to, and one that lies is found out; jitter is measured."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from answers import POINTS, SIZE, answer
from clips import data
from command_line import evaluate as main

from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.media.sources import Frame
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.evaluation.jitter import follow, jitter
from trans3dhead_training.evaluation.predictions import Answer
from trans3dhead_training.evaluation.uncertainty import calibrate
from trans3dhead_training.predictors import Alignment, Predictor
from trans3dhead_training.reports.evaluation_report import report


def promising(factor: float = 1.0, in_3d: bool = True, count: int = 150) -> list[Answer]:
    """Answers whose Laplace errors have the predicted scales, times a factor."""
    generator = np.random.default_rng(0)
    answers = []
    for i in range(count):
        scale = generator.uniform(0.2, 3.0, 68)
        error = generator.laplace(scale=scale[:, None] * factor, size=(68, 2))
        sample = Sample(Path('face.jpg'), 'set', str(i), True, points=POINTS, points_are_3d=in_3d)
        answers.append(Answer(sample, Alignment(POINTS + error, landmark_scale=scale)))
    return answers


def test_a_scale_that_tells_the_truth_is_calibrated():
    row = report(promising()).rows()['all']['calibration']
    assert row['error_over_scale'] == pytest.approx(1, abs=0.03)
    for share in (50, 80, 95):
        assert row[f'within_{share}_percent'] == pytest.approx(share, abs=1.5)
    found = calibrate(promising())
    np.testing.assert_allclose(found.actual_percent, found.expected_percent, rtol=0.1)
    assert found.rank_points > 0.4


def test_a_scale_that_promises_too_much_is_found_out():
    row = report(promising(2.0)).rows()['all']['calibration']
    assert row['error_over_scale'] == pytest.approx(2, abs=0.06)
    assert row['within_80_percent'] < 60


def test_errors_of_a_jaw_that_labels_mean_otherwise_do_not_count():
    answers = promising(in_3d=False)
    moved = [replace(a, plain=replace(a.plain, landmarks=np.where(
        np.arange(68)[:, None] < 17, 1e3, a.plain.landmarks))) for a in answers]
    assert report(moved).rows()['all']['calibration']['error_over_scale'] == pytest.approx(
        1, abs=0.03)


def test_failures_are_found_by_a_scale_that_knows_them():
    good, bad = answer((0, 0, 0), (0, 0, 0), 0.0), answer((0, 0, 0), (0, 0, 0), SIZE)
    answers = [replace(a, plain=replace(a.plain, landmark_scale=np.full(68, scale), score=score))
               for a, scale, score in ((good, 1, 0.2), (good, 2, 0.8), (bad, 9, 0.5))]
    found = report(answers).rows()['all']['failure_found_by']
    assert found == {'scale_area': 1, 'score_area': 0.5}


def test_without_scales_nothing_is_said_about_them():
    plain = [answer((0, 0, 0), (0, 0, 0), 1.0)]
    assert calibrate(plain) is None and 'calibration' not in report(plain).rows()['all']


def clip_of(points: np.ndarray, euler_deg: np.ndarray) -> list[Alignment]:
    return [Alignment(p, rotation=r)
            for p, r in zip(points, rotation_from_euler(euler_deg), strict=True)]


def test_jitter_is_the_noise_and_not_the_movement():
    generator = np.random.default_rng(0)
    time = np.arange(400.0)
    even = POINTS + time[:, None, None] * [0.5, -0.2]
    turning = np.stack([0.1 * time, 0 * time, 0 * time], axis=1)
    still = jitter(clip_of(even, turning))
    assert still.points_percent == pytest.approx(0, abs=1e-6)
    assert still.rotation_deg == pytest.approx(0, abs=1e-4) and still.spread_percent > 10
    noisy = jitter(clip_of(even + generator.normal(scale=0.3, size=even.shape),
                           turning + generator.normal(scale=0.2, size=turning.shape)))
    assert noisy.points_percent == pytest.approx(100 * 0.3 * np.sqrt(2) / SIZE, rel=0.05)
    assert noisy.rotation_deg == pytest.approx(0.2 * np.sqrt(3), rel=0.1)


def test_a_head_is_followed_until_it_leaves_the_picture():
    class Drifting(Predictor):
        name = 'drifting'

        def predict(self, image, boxes):
            return [Alignment(POINTS + (box[:2] - POINTS.min(axis=0)) + [20, 0]) for box in boxes]

    frames = [Frame(i, 0.1 * i, np.zeros((160, 200, 3), np.uint8)) for i in range(60)]
    box = np.concatenate([POINTS.min(axis=0), POINTS.max(axis=0)])
    followed = follow(Drifting(), frames, 3, box)
    assert len(followed) == 8 and followed[-1].rotation is None
    assert jitter(followed).rotation_deg is None
    with pytest.raises(ValueError, match='over 4 frames only; at least 5'):
        jitter(followed[:4])


def test_a_clip_alone_is_measured(tmp_path, capsys):
    still = data('video', 'head-pose-face-detection-male.gif')
    page = tmp_path / 'page.html'
    assert main(['--clip', str(still), '--device', 'cpu', '--html', str(page)]) == 0
    printed = capsys.readouterr().out
    row = next(line.split() for line in printed.splitlines() if line.startswith('ours'))
    assert int(row[1]) == 62 and 0 < float(row[2]) < 1 and 0 < float(row[3]) < 1.5
    assert 'Jitter on' in page.read_text()
