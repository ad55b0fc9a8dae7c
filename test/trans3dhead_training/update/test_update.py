"""From recordings to a candidate: whole, resumed after a kill, and refused in one line."""

import csv
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from bags import write_bag
from gate_sets import write_small_sets
from recordings import turning_head, write_recordings, write_video

from trans3dhead_ros import HeadPipeline
from trans3dhead_ros.cli.main import main
from trans3dhead_ros.landmarks import JAW
from trans3dhead_ros.model_files.gate_verdict import read_verdict
from trans3dhead_ros.model_files.model_metadata import bundled_model
from trans3dhead_ros.model_files.model_pair import open_model, read_metadata
from trans3dhead_training.data.labels import COLUMNS
from trans3dhead_training.formats.readers import read_samples
from trans3dhead_training.gate.judge import judge
from trans3dhead_training.update import update_report
from trans3dhead_training.update.collected_heads import CollectedHeads
from trans3dhead_training.update.labelling import LabelledHeads
from trans3dhead_training.update.update_run import UpdateRun
from trans3dhead_training.update.whole_files import read_json

pytestmark = pytest.mark.train

TINY = ['--steps', '2', '--minutes', '0', '--threads', '1']


@pytest.fixture(scope='module')
def recordings(tmp_path_factory) -> list[str]:
    return list(map(str, write_recordings(tmp_path_factory.mktemp('recordings'), 3, 24)))


def refusal(capsys, *words: str) -> str:
    """Return the one line with which a command ends."""
    assert main(['update', *words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    told = [line for line in lines if line.startswith('trans3dhead: error:')]
    assert len(told) == 1
    return told[0]


def test_a_recording_without_heads_is_reported_in_one_line(tmp_path, capsys):
    clip = write_video(tmp_path / 'wall.mp4', [np.full((120, 160, 3), 120, np.uint8)] * 5)
    assert 'no head was found' in refusal(capsys, str(clip), '--output', str(tmp_path / 'run'),
                                          *TINY)


def test_an_empty_bag_is_reported_in_one_line(tmp_path, capsys):
    write_bag(tmp_path / 'bag', [])
    assert 'bag' in refusal(capsys, str(tmp_path / 'bag'), '--output', str(tmp_path / 'run'))


def test_a_stage_needs_those_before_it(tmp_path, capsys, recordings):
    assert 'fit needs collect' in refusal(capsys, *recordings, '--output', str(tmp_path / 'run'),
                                          '--stages', 'fit', *TINY)


def test_a_bag_is_collected_without_ros_and_by_itself(tmp_path):
    write_bag(tmp_path / 'bag', turning_head(0, 8))
    run = UpdateRun(tmp_path / 'run')
    assert main(['update', str(tmp_path / 'bag'), '--output', str(run.path), '--stages', 'collect',
                 *TINY]) == 0
    heads = CollectedHeads.load(run.heads)
    assert len(heads) >= 3 and sorted(path.name for path in run.crops.iterdir()) == sorted(
        heads.name.tolist())
    assert sorted(path.name for path in run.path.iterdir()) == [
        'collected', 'manifest.json', 'settings.json']


def test_the_labels_of_the_user_replace_those_of_the_model(tmp_path, recordings):
    run, words = UpdateRun(tmp_path / 'run'), [*recordings, '--output', str(tmp_path / 'run'),
                                               '--labels', str(tmp_path / 'labels'), *TINY]
    (tmp_path / 'labels').mkdir()
    assert main(['update', *words, '--stages', 'collect']) == 0
    heads = CollectedHeads.load(run.heads)
    name, points = str(heads.name[0]), heads.to_crop(0, heads.points[0])
    (tmp_path / 'labels' / name).write_bytes((run.crops / name).read_bytes())
    points[JAW] = np.nan
    with (tmp_path / 'labels' / 'labels.csv').open('w', newline='') as file:
        csv.writer(file).writerows([COLUMNS, [name, 'mine', 'train', *points.ravel()]])
    assert main(['update', *words, '--stages', 'label']) == 0
    labels = LabelledHeads.load(run.labels)
    assert labels.by_hand.tolist() == [True] + [False] * (len(labels) - 1)
    assert labels.trust[0] == 1.0 and labels.trust[1:].max() < 1.0
    assert np.isnan(labels.points[0, JAW]).all()
    side = np.ptp(points[17:], axis=0).max()
    assert labels.points[0, 17:] - points[17:] == pytest.approx(
        np.full((51, 2), 0.005 * side), abs=1e-6)


@pytest.mark.slow
def test_a_run_that_is_killed_in_every_stage_gives_a_candidate(
        tmp_path, recordings, monkeypatch):
    run = UpdateRun(tmp_path / 'run')
    words = [*recordings, '--output', str(run.path), *TINY]
    results = [run.collected, run.heads, run.labels, run.data / 'settings.json',
               run.training / 'config.yaml', run.candidate]
    for result in results:
        kill_when_it_exists(words, result)
    # The whole frozen sets take a minute, and are the matter of the gate's own tests.
    monkeypatch.setattr(update_report, 'judge', partial(
        judge, frozen=write_small_sets(tmp_path / 'frozen')))
    code = main(['update', *words])
    verdict = read_verdict(run.candidate, read_metadata(run.candidate)['sha256'])
    assert code == (0 if verdict.passed else 1)
    assert open_model(run.candidate).graph is not None
    assert {path.name for path in run.collected.iterdir()} == {
        'cameras.json', 'crops', 'heads.npz', 'tracked.npz'}
    parent, metadata = read_metadata(bundled_model()), read_metadata(run.candidate)
    assert metadata['parent'] == parent['sha256'] != metadata['sha256']
    assert read_json(run.manifest)['run'] in metadata['data']
    held_out = read_samples(f'shards:{run.held_out}')
    trained = read_samples(f'shards:{run.data / "recordings"}', 'all')
    assert held_out and not {s.group for s in held_out} & {s.group for s in trained}
    assert set(read_json(run.report)['figures']) == {'held out', 'replay'}
    image = cv2.cvtColor(turning_head(0, 2)[0], cv2.COLOR_BGR2RGB)[..., ::-1]
    assert len(HeadPipeline.load(run.candidate, 'cpu').detect(np.ascontiguousarray(image))) == 1


def kill_when_it_exists(words: list[str], path: Path) -> None:
    """Start an update, and kill it when a file or folder exists, however slow the machine is."""
    process = subprocess.Popen(
        [sys.executable, '-m', 'trans3dhead_ros.cli.main', 'update', *words],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1'})
    while not path.exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    told = process.communicate()[1]
    assert path.exists(), told
