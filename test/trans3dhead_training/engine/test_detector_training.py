"""A detector is trained by the same loop: it learns, resumes, exports and is measured."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from clips import data
from command_line import evaluate
from command_line import train as main
from detector_set import KEYS, write_detector_set, write_scene_set
from training_set import weights

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.inference.open_engine import open_engine
from trans3dhead_ros.model_files.detector_files import open_detector
from trans3dhead_training.engine.config import (
    DetectorTrainConfig,
    TrainConfig,
    load_config,
    read_config,
)
from trans3dhead_training.engine.trainer import Trainer

pytestmark = pytest.mark.train

STEPS = 6


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    return write_detector_set(tmp_path_factory.mktemp('detector_set'))


def keys(root: Path, output: Path, steps: int = STEPS) -> list[str]:
    return [*KEYS, f'data={root}', f'output={output}', f'steps={steps}']


@pytest.fixture(scope='module')
def whole(root, tmp_path_factory) -> Path:
    """The folder of a training without an interruption."""
    folder = tmp_path_factory.mktemp('whole') / 'run'
    assert main(keys(root, folder)) == 0
    return folder


def test_a_run_writes_a_pair_that_every_engine_runs_alike(whole):
    files = open_detector(whole / 'best.onnx')
    assert files.metadata['metrics']['step'] == STEPS
    assert 'research' in files.metadata['licence']
    batch = np.random.default_rng(0).random((2, 3, 64, 96), dtype=np.float32)
    first, second = (open_engine(files, backend, 'cpu', 1).run(batch)
                     for backend in ('torch', 'onnxruntime'))
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, atol=1e-3, err_msg=name)
    rows = list(csv.DictReader((whole / 'metrics.csv').open()))
    assert 0 <= float(rows[-1]['val_missed_percent']) <= 100
    assert float(rows[-1]['val_false_in_rooms']) >= 0
    assert cv2.imread(str(whole / 'samples.png')) is not None
    assert (whole / 'curves.png').is_file()


def test_an_open_detector_sees_no_picture_that_is_for_research(root, tmp_path):
    """A folder with the other sets is at hand; only scenes and portraits are used."""
    write_scene_set(tmp_path)
    for name in ('heads', 'masks', 'rooms'):
        (tmp_path / name).symlink_to(root / name)
    own = [*keys(tmp_path, tmp_path / 'run', 2), f'scenes={tmp_path / "scenes"}',
           f'portrait_fits={tmp_path / "portrait_fits.npz"}', 'open_only=true']
    trainer = Trainer(read_config(None, own))
    assert set(trainer.task.training.names) == {'scenes', 'rooms', 'faces'}
    assert main(own) == 0
    licence = open_detector(tmp_path / 'run' / 'best.onnx').metadata['licence']
    assert 'research' not in licence
    assert 'public domain' in licence
    with pytest.raises(UserError, match='portrait_fits: no file .*nothing.npz'):
        Trainer(read_config(None, [*own, f'portrait_fits={tmp_path / "nothing.npz"}']))
    with pytest.raises(UserError, match='open_only: needs scenes'):
        read_config(None, [*own, "scenes=''"])


def test_a_batch_is_learned(root, tmp_path):
    trainer = Trainer(read_config(None, [*keys(root, tmp_path, 100), 'learning_rate=5e-3']))
    batch = trainer.batch(0)
    losses = [trainer.train_step(batch)['loss'] for _ in range(40)]
    assert losses[-1] < 0.6 * losses[0]


def test_an_interrupted_training_ends_like_one_that_was_not(root, whole, tmp_path):
    folder = tmp_path / 'run'
    assert main(['--minutes', '1e-5', *keys(root, folder)]) == 0
    # Keys of a detector are known, because the folder is that of one.
    assert main(['--resume', f'output={folder}', 'sampling.size=96']) == 0
    expected, found = weights(whole), weights(folder)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_the_key_task_tells_the_configurations_apart(tmp_path):
    assert type(read_config(None, ['task=detector'])) is DetectorTrainConfig
    assert type(read_config(None, ['network.dim=96'])) is TrainConfig
    with pytest.raises(UserError, match=r'network\.dim'):
        read_config(None, ['task=detector', 'network.dim=96'])
    with pytest.raises(UserError, match='task'):
        read_config(None, ['task=teapot'])
    with pytest.raises(UserError, match='task'):
        load_config(None, ['task=detector'])
    with pytest.raises(UserError, match='did you mean sampling.mosaic_share'):
        read_config(None, ['task=detector', 'sampling.mosaic_shar=1'])


def test_the_file_of_the_repository_is_a_detector_of_known_keys():
    path = Path(__file__).resolve().parents[3] / 'config' / 'train_detector.yaml'
    assert isinstance(read_config(path), DetectorTrainConfig)


def test_missing_pictures_are_a_clear_error(tmp_path):
    with pytest.raises(UserError, match='heads'):
        Trainer(read_config(None, keys(tmp_path, tmp_path / 'run')))


@pytest.mark.parametrize('kind', ['heads', 'masks', 'rooms'])
def test_evaluate_measures_a_detector_on_every_kind_of_set(root, whole, tmp_path, kind, capsys):
    assert evaluate([
        '--data', f'{kind}:{root / kind}', '--model', str(whole / 'best.safetensors'),
        '--limit', '3', '--json', str(tmp_path / 'm.json'), '--plots', str(tmp_path)]) == 0
    figures = json.loads((tmp_path / 'm.json').read_text())['ours']
    assert 1 <= figures['pictures'] <= 3
    expected = {'heads': {'recall_at_0.1', 'recall_at_1', 'kept_dark', 'kept_turned_180'},
                'masks': {'recall_at_default'}, 'rooms': {'false_at_default'}}[kind]
    assert expected <= set(figures)
    assert 'pictures' in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / 'ours_worst.png')) is not None
    assert (tmp_path / 'recall.png').is_file()


def test_evaluate_measures_a_peer_by_the_same_command(root, capsys):
    assert evaluate(['--data', f'heads:{root / "heads"}', '--predictor', 'yunet', '--limit', '2',
                     '--baselines', str(data('..', 'baselines')), '--labels-only']) == 0
    assert 'recall_at_0.1' in capsys.readouterr().out


def test_evaluate_names_a_predictor_that_cannot_detect(root):
    with pytest.raises(UserError, match='mediapipe'):
        evaluate(['--data', f'heads:{root / "heads"}', '--predictor', 'mediapipe'])
    with pytest.raises(UserError, match='--html'):
        evaluate(['--data', f'heads:{root / "heads"}', '--html', 'page.html'])
