"""The gate passes a model that is not worse, fails one that is, and stores the verdict."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from gate_sets import write_small_sets

import trans3dhead_training.gate.judge as gate_module
from trans3dhead_ros.cli.main import main
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import geodesic_distance_deg, rotation_from_euler
from trans3dhead_ros.model_files.gate_verdict import read_verdict, verdict_path
from trans3dhead_ros.model_files.model_metadata import bundled_model
from trans3dhead_ros.model_files.model_pair import read_metadata
from trans3dhead_ros.network.checkpoint import load_checkpoint, save_checkpoint
from trans3dhead_ros.perception.aligner import Alignments
from trans3dhead_ros.perception.metric_pose import weak_perspective_poses
from trans3dhead_ros.perception.smoothing import HeadSmoother, Smoothing, smooth_heads
from trans3dhead_training.data.shards import write_shard
from trans3dhead_training.evaluation.motion import FRAME_RATE, TURN_SPEED_DEG, exact_lag_ms
from trans3dhead_training.gate.frozen_sets import REPLAY, read_frozen
from trans3dhead_training.gate.judge import judge
from trans3dhead_training.gate.verdict import (
    BETTER,
    MARGIN_PERCENT,
    SAME,
    TARGET,
    WORSE,
    Measurement,
    Verdict,
    compare,
)

HASH = '0' * 64


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('gate')


@pytest.fixture(scope='module')
def sets(folder) -> Path:
    """A few samples of every frozen set, and some of the user's own."""
    write_shard(folder / 'held_out' / 'own.safetensors', read_frozen(REPLAY)[-16:])
    return write_small_sets(folder / 'sets')


@pytest.fixture(scope='module')
def degraded(folder) -> Path:
    """The bundled model with noise in its weights."""
    network, metadata = load_checkpoint(bundled_model(), torch.device('cpu'))
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weights in network.named_parameters():
            if not name.startswith('head_model'):
                weights *= 1 + 0.3 * torch.randn(weights.shape, generator=noise)
    path = folder / 'degraded.safetensors'
    save_checkpoint(path, network, {
        **{name: metadata[name] for name in ('training_data', 'licence', 'metrics')},
        'parent': metadata['sha256']})
    return path


@pytest.fixture(scope='module')
def degraded_verdict(sets, degraded):
    return judge(degraded, None, sets.parent / 'held_out', frozen=sets)


def measured(values) -> dict:
    groups = [str(number) for number in range(len(values))]
    return {('set', 'figure'): Measurement(np.asarray(values, float), groups, '%')}


def verdict_of(current, candidate) -> str:
    comparison, = compare(measured(current), measured(candidate))
    return comparison.verdict


def test_worse_is_what_is_beyond_its_interval_and_the_margin():
    random = np.random.default_rng(0)
    current = random.uniform(2.0, 4.0, 200)
    # The same for every sample, so that the interval is narrow.
    assert verdict_of(current, current * (1 + 0.5 * MARGIN_PERCENT / 100)) == SAME
    assert verdict_of(current, current * (1 + 2.0 * MARGIN_PERCENT / 100)) == WORSE
    assert verdict_of(current, current * (1 - 2.0 * MARGIN_PERCENT / 100)) == BETTER
    # Beyond the interval, but nobody would notice.
    assert verdict_of(current, current * (1 - 0.5 * MARGIN_PERCENT / 100)) == SAME
    # By five percent, but as much by chance.
    noisy = 1.05 * current + random.permutation(np.repeat([-4.0, 4.0], 100))
    assert verdict_of(current, noisy) == SAME


def compared(before, after, groups):
    comparison, = compare(*({('set', 'figure'): Measurement(values, groups, '%')}
                            for values in (before, after)))
    return comparison


def test_frames_of_a_single_person_are_drawn_in_blocks_of_time():
    current = np.random.default_rng(0).uniform(2.0, 4.0, 120)
    one = ['one person'] * 120
    # Better for some seconds and worse for others: that may be chance, however many frames it is.
    stretches = np.repeat([-1.0, 0.6, -1.0, 0.6, -1.0, 0.6], 20)
    mixed = compared(current, current + stretches, one)
    assert mixed.groups == 10 and mixed.difference < 0 and mixed.verdict == SAME
    assert compared(current, current + stretches, list(map(str, range(120)))).verdict == BETTER
    assert compared(current, 0.9 * current, one).verdict == BETTER


def test_a_few_heads_of_a_single_person_decide_nothing():
    current = np.random.default_rng(0).uniform(2.0, 4.0, 12)
    before, after = ({(TARGET, 'pose'): Measurement(values, ['one person'] * 12, '°')}
                     for values in (current, 0.5 * current))
    verdict = Verdict(Path('a.onnx'), HASH, Path('b.onnx'), HASH, compare(before, after))
    assert not verdict.passed and {row.verdict for row in verdict.comparisons} == {SAME}
    assert '12 heads are too few to tell' in verdict.reasons[0]


def test_any_error_is_worse_than_a_perfect_score():
    assert verdict_of(np.zeros(50), np.zeros(50)) == SAME
    assert verdict_of(np.zeros(50), np.ones(50)) == WORSE


@pytest.mark.slow
def test_an_equal_candidate_is_not_worse_and_misses_a_target(sets):
    verdict = judge(bundled_model(), None, sets.parent / 'held_out', frozen=sets)
    assert {row.difference for row in verdict.comparisons} == {0.0}
    assert verdict.reasons == (f'{TARGET}: no figure is better beyond its interval and 1 %',)
    assert not verdict.passed
    rest = [row for row in verdict.comparisons if row.part != TARGET]
    assert {row.verdict for row in rest} == {SAME}


@pytest.mark.slow
def test_a_degraded_candidate_fails(degraded_verdict):
    assert not degraded_verdict.passed
    worse = {(row.part, row.figure) for row in degraded_verdict.comparisons
             if row.verdict == WORSE}
    assert {(REPLAY, 'landmarks'), (REPLAY, 'pose'), (TARGET, 'landmarks')} <= worse


def test_the_lag_of_exact_answers_is_that_of_the_filter():
    smoother, zeros = HeadSmoother(), np.zeros((1, 68, 3))
    for frame in range(30):
        yaw = TURN_SPEED_DEG / FRAME_RATE * frame - 50.0
        rotation = rotation_from_euler(np.array([[yaw, 0.0, 0.0]]))
        found = Alignments(
            score=np.ones(1), landmarks=zeros, contour=zeros[..., :2],
            landmark_scale=np.ones((1, 68)), cut_factor=np.ones(1), rotation=rotation,
            origin=np.zeros((1, 2)), scale=np.ones(1), shape=np.zeros((1, 4)),
            expression=np.zeros((1, 3)), points=zeros, centre=np.zeros((1, 2)),
            crop_roll=np.zeros(1))
        answer, _ = smooth_heads(
            [smoother], found, weak_perspective_poses(rotation, np.zeros((1, 2)), np.ones(1)),
            frame / FRAME_RATE, Smoothing())
    behind = geodesic_distance_deg(answer.rotation, rotation)[0]
    assert exact_lag_ms() == pytest.approx(1000 * behind / TURN_SPEED_DEG, rel=0.02)


@pytest.mark.parametrize(('target', 'passed'), [(0.9, True), (1.0, False), (1.1, False)])
def test_the_target_must_be_better(target, passed):
    current = np.random.default_rng(0).uniform(2.0, 4.0, 200)
    before, after = measured(current), measured(current)
    before[TARGET, 'pose'] = measured(current)['set', 'figure']
    after[TARGET, 'pose'] = measured(target * current)['set', 'figure']
    verdict = Verdict(Path('a.onnx'), HASH, Path('b.onnx'), HASH, compare(before, after))
    assert verdict.passed == passed, verdict.reasons


@pytest.mark.slow
def test_the_command_writes_the_verdict_beside_the_candidate(
        sets, degraded, degraded_verdict, folder, monkeypatch, capsys):
    monkeypatch.setattr(gate_module, 'judge', partial(judge, frozen=sets))
    output = folder / 'report'
    assert main(['gate', str(degraded), '--json', '--output', str(output)]) == 1
    printed = json.loads(capsys.readouterr().out)
    sha256 = read_metadata(degraded)['sha256']
    found = read_verdict(degraded, sha256)
    assert not found.passed and found.reasons == tuple(printed['reasons'])
    assert found.current_sha256 == read_metadata(bundled_model())['sha256']
    assert set(printed['reasons']) < set(degraded_verdict.reasons)
    assert {path.name for path in output.iterdir()} == {'gate.json', 'gate.txt', 'gate.png'}
    # It says nothing of other weights.
    assert read_verdict(degraded, HASH) is None
    # `info` tells parent and verdict.
    assert main(['info', str(degraded), '--json']) == 0
    told = json.loads(capsys.readouterr().out)
    assert told['gate']['passed'] is False and told['parent'] == found.current_sha256
    assert main(['info', str(degraded)]) == 0
    assert f'failed against {found.current_sha256[:12]}; ' in capsys.readouterr().out


def test_a_mistake_is_one_line(tmp_path, capsys):
    assert main(['gate', str(tmp_path / 'none.onnx')]) == 2
    assert 'none.onnx' in capsys.readouterr().err
    assert main(['gate', str(bundled_model()), '--held-out', str(tmp_path)]) == 2
    assert 'no shards' in capsys.readouterr().err


@pytest.mark.parametrize('text', ['', '[]', '{}', '[' * 100_000, '{"format": "trans3dhead gate"}'])
def test_a_damaged_verdict_is_named(tmp_path, text):
    model = tmp_path / 'a.onnx'
    assert read_verdict(model, HASH) is None
    verdict_path(model).write_text(text)
    with pytest.raises(UserError, match=r'a\.gate\.json: not a verdict'):
        read_verdict(model, HASH)
