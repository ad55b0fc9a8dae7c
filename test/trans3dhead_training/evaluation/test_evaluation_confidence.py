"""A calibrated scale is reported as such, an overconfident one too; jitter is the noise."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import clip
from command_line import evaluate as main
from face_results import POINTS, SIZE, face_result

from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.media.sources import Frame
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.evaluation.calibration import calibrate
from trans3dhead_training.evaluation.face_result import FaceResult
from trans3dhead_training.evaluation.jitter import measure_jitter, track_head
from trans3dhead_training.predictors import Alignment, Predictor
from trans3dhead_training.reports.evaluation_report import make_report


def laplace_results(factor: float = 1.0, in_3d: bool = True, count: int = 150) -> list[FaceResult]:
    """Predictions whose Laplace errors have the predicted scales, times a factor."""
    generator = np.random.default_rng(0)
    results = []
    for i in range(count):
        scale = generator.uniform(0.2, 3.0, 68)
        error = generator.laplace(scale=scale[:, None] * factor, size=(68, 2))
        sample = Sample(Path('face.jpg'), 'set', str(i), True, points=POINTS, points_are_3d=in_3d)
        results.append(FaceResult(sample, Alignment(POINTS + error, landmark_scale=scale)))
    return results


def test_a_scale_that_is_the_mean_error_is_calibrated():
    row = make_report(laplace_results()).rows()['all']['calibration']
    assert row['error_over_scale'] == pytest.approx(1, abs=0.03)
    for share in (50, 80, 95):
        assert row[f'within_{share}_percent'] == pytest.approx(share, abs=1.5)
    found = calibrate(laplace_results())
    np.testing.assert_allclose(found.actual_percent, found.expected_percent, rtol=0.1)
    assert found.rank_points > 0.4


def test_an_overconfident_scale_is_found():
    row = make_report(laplace_results(2.0)).rows()['all']['calibration']
    assert row['error_over_scale'] == pytest.approx(2, abs=0.06)
    assert row['within_80_percent'] < 60


def test_errors_of_a_jaw_that_labels_define_otherwise_do_not_count():
    results = laplace_results(in_3d=False)
    moved = [replace(a, prediction=replace(a.prediction, landmarks=np.where(
        np.arange(68)[:, None] < 17, 1e3, a.prediction.landmarks))) for a in results]
    assert make_report(moved).rows()['all']['calibration']['error_over_scale'] == pytest.approx(
        1, abs=0.03)


def test_failures_are_detected_by_a_scale_that_predicts_them():
    good, bad = face_result((0, 0, 0), (0, 0, 0), 0.0), face_result((0, 0, 0), (0, 0, 0), SIZE)
    results = [replace(a, prediction=replace(
        a.prediction, landmark_scale=np.full(68, scale), score=score))
               for a, scale, score in ((good, 1, 0.2), (good, 2, 0.8), (bad, 9, 0.5))]
    found = make_report(results).rows()['all']['failure_detection']
    assert found == {'scale_roc_auc': 1, 'score_roc_auc': 0.5}


def test_without_scales_there_is_no_calibration():
    plain = [face_result((0, 0, 0), (0, 0, 0), 1.0)]
    assert calibrate(plain) is None and 'calibration' not in make_report(plain).rows()['all']


def clip_of(points: np.ndarray, euler_deg: np.ndarray) -> list[Alignment]:
    return [Alignment(p, rotation=r)
            for p, r in zip(points, rotation_from_euler(euler_deg), strict=True)]


def test_jitter_is_the_noise_and_not_the_movement():
    generator = np.random.default_rng(0)
    time = np.arange(400.0)
    even = POINTS + time[:, None, None] * [0.5, -0.2]
    turning = np.stack([0.1 * time, 0 * time, 0 * time], axis=1)
    still = measure_jitter(clip_of(even, turning))
    assert still.points_percent == pytest.approx(0, abs=1e-6)
    assert still.rotation_deg == pytest.approx(0, abs=1e-4) and still.spread_percent > 10
    noisy = measure_jitter(clip_of(even + generator.normal(scale=0.3, size=even.shape),
                                   turning + generator.normal(scale=0.2, size=turning.shape)))
    assert noisy.points_percent == pytest.approx(100 * 0.3 * np.sqrt(2) / SIZE, rel=0.05)
    assert noisy.rotation_deg == pytest.approx(0.2 * np.sqrt(3), rel=0.1)


def test_a_head_is_tracked_until_it_leaves_the_picture():
    class Drifting(Predictor):
        name = 'drifting'

        def predict(self, image, boxes):
            return [Alignment(POINTS + (box[:2] - POINTS.min(axis=0)) + [20, 0]) for box in boxes]

    frames = [Frame(i, 0.1 * i, np.zeros((160, 200, 3), np.uint8)) for i in range(60)]
    box = np.concatenate([POINTS.min(axis=0), POINTS.max(axis=0)])
    tracked = track_head(Drifting(), frames, 3, box)
    assert len(tracked) == 8 and tracked[-1].rotation is None
    assert measure_jitter(tracked).rotation_deg is None
    with pytest.raises(ValueError, match='over 4 frames only; at least 5'):
        measure_jitter(tracked[:4])


@pytest.mark.train
@pytest.mark.slow
def test_a_clip_alone_is_measured(tmp_path, capsys):
    frames = tmp_path / 'frames'
    frames.mkdir()
    for number, image in enumerate(clip('head-pose-face-detection-male')[:12]):
        cv2.imwrite(str(frames / f'{number:02d}.png'), image)
    page, figures = tmp_path / 'page.html', tmp_path / 'figures.json'
    assert main(['--clip', str(frames), '--device', 'cpu', '--html', str(page),
                 '--json', str(figures)]) == 0
    printed = capsys.readouterr().out
    row = next(line.split() for line in printed.splitlines() if line.startswith('ours'))
    assert int(row[1]) == 12 and 0 < float(row[2]) < 1 and 0 < float(row[3]) < 1.5
    assert 'Jitter on' in page.read_text() and 'blink °' in printed
    assert 'Stillness and lag on rendered heads' in page.read_text()
    written = json.loads(figures.read_text())
    raw = written['clips'][str(frames)]['ours']
    assert raw['smoothed']['frames'] == 12
    assert 0 < raw['smoothed']['rotation_deg'] < raw['rotation_deg']
    motion = written['motion']['ours']
    assert 0 < motion['smoothed_still_deg'] < motion['still_deg'] < 2
    assert motion['exact_lag_frames'] == pytest.approx(0.455, abs=0.001)
    assert 0 < motion['blink_deg'] <= motion['largest_blink_deg']
