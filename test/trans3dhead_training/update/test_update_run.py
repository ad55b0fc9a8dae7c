"""The folder of an update: one task at a time, complete files, and nothing kept for ever."""

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from trans3dhead_ros.atomic_files import write_json
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.model_files.model_pair import open_model
from trans3dhead_training.update.label_fitting import HeadFits
from trans3dhead_training.update.recording_maker import REPLAY
from trans3dhead_training.update.update_config import UpdateConfig
from trans3dhead_training.update.update_run import PERSONAL, UpdateRun
from trans3dhead_training.update.whole_files import read_json

CONFIG = UpdateConfig()


@pytest.fixture
def run(tmp_path) -> UpdateRun:
    run = UpdateRun(tmp_path / 'run')
    run.start(['drive.mcap'], None, open_model(), CONFIG)
    return run


def expire(run: UpdateRun) -> None:
    before = datetime.now(timezone.utc) - timedelta(days=1)
    write_json(run.manifest, {**read_json(run.manifest), 'expires': before.isoformat()})


def fill(run: UpdateRun) -> None:
    for name in PERSONAL:
        path = run.path / name if '.' in name else run.path / name / 'deep' / 'file'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('a face')
    run.candidate.write_text('weights')
    run.note('derived', {run.candidate.name: 64 * 'a'})


def test_a_run_is_resumed_only_by_the_same_command(run):
    before = read_json(run.manifest)
    assert run.start(['drive.mcap'], None, open_model(), CONFIG) == before
    with pytest.raises(UserError, match='started with other heads, sources'):
        run.start(['other.mcap'], None, open_model(), replace(CONFIG, heads=7))


def test_a_folder_that_is_not_an_update_is_left_alone(tmp_path):
    (tmp_path / 'diary.txt').write_text('dear diary')
    with pytest.raises(UserError, match='not a run of'):
        UpdateRun(tmp_path).start(['drive.mcap'], None, open_model(), CONFIG)
    with pytest.raises(UserError, match='not a run of'):
        UpdateRun(tmp_path).forget()
    assert [path.name for path in tmp_path.iterdir()] == ['diary.txt']


def test_forgetting_deletes_all_that_shows_people_and_names_what_was_derived(run):
    fill(run)
    told = '\n'.join(run.forget())
    assert not [name for name in PERSONAL if (run.path / name).exists()]
    assert f'{len(PERSONAL)} files' in told
    assert 'candidate.safetensors, sha256 aaaaaaaaaaaa' in told
    assert run.candidate.exists() and read_json(run.manifest)['forgotten']
    with pytest.raises(UserError, match='were deleted'):
        run.start(['drive.mcap'], None, open_model(), CONFIG)


def test_expired_crops_are_not_used(run):
    expire(run)
    with pytest.raises(UserError, match='were to be deleted'):
        run.start(['drive.mcap'], None, open_model(), CONFIG)


def test_only_expired_crops_are_deleted_where_that_is_asked(run, capsys):
    from trans3dhead_ros.cli.main import main
    fill(run)
    words = ['update', '--forget', '--expired', '--output', str(run.path)]
    assert main(words) == 0 and (run.path / 'collected').exists()
    expire(run)
    assert main(words) == 0 and not (run.path / 'collected').exists()
    assert 'deleted' in capsys.readouterr().out


def test_a_damaged_table_is_named(tmp_path):
    path = tmp_path / 'fits.npz'
    path.write_bytes(b'PK\3\4 cut off')
    with pytest.raises(UserError, match=r'fits\.npz: is missing or damaged'):
        HeadFits.load(path)


@pytest.mark.parametrize('change', [{'heads': 0}, {'share': 0.0}, {'replay': 1.5},
                                    {'minutes': 0.0}, {'adapted': 0.5}, {'fov_deg': 180.0}])
def test_a_setting_out_of_its_range_is_refused(change):
    with pytest.raises(UserError, match=next(iter(change))):
        replace(CONFIG, **change)


def test_the_replay_set_is_small_open_and_of_the_bundled_head_model():
    files = [path for path in REPLAY.rglob('*') if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 10e6
    manifest = json.loads((REPLAY / 'manifest.json').read_text())
    assert all(part['open'] for part in manifest['parts'])
    assert {path.relative_to(REPLAY).as_posix() for path in files} == {
        'manifest.json', *(name for part in manifest['parts'] for name in part['shards'])}
    from trans3dhead_training.data.shards import Shard
    shard = Shard(next(path for path in files if path.suffix == '.safetensors'))
    metadata = open_model().metadata
    assert shard.labels['shape'].shape[1] == metadata['head_model']['identity']
    assert shard.labels['expression'].shape[1] == len(metadata['expression_names'])
    assert np.isfinite(shard.labels['rotation']).all()


def test_the_replay_set_is_installed():
    root = Path(__file__).resolve().parents[3]
    for name in ('setup.cfg', 'setup_training.cfg'):
        text = (root / name).read_text()
        assert {'update/replay/*.json', 'update/replay/synthetic/*.safetensors'} <= {*text.split()}
