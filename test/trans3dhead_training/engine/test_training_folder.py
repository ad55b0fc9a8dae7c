"""The folder of a training."""

import json
import re
import sys
from pathlib import Path

import cv2
import pytest
import torch
from command_line import train as main
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_set import overrides

from trans3dhead_ros.model_files.model_pair import read_metadata
from trans3dhead_training.engine.config import load_config
from trans3dhead_training.engine.csv_log import CsvLog
from trans3dhead_training.engine.run_folder import RunFolder, git_revision

pytestmark = pytest.mark.train

KEYS = ['log_steps=3', 'validate_steps=6', 'learning_rate=5e-4']


@pytest.fixture(scope='module')
def run(prepared, tmp_path_factory) -> Path:
    """Return the folder of a training in two sessions."""
    folder = tmp_path_factory.mktemp('run') / 'run'
    main([*overrides(prepared, folder, 12), '--minutes', '1e-5', *KEYS])
    main(['--resume', f'output={folder}'])
    return folder


def test_its_configuration_can_be_passed_in_again(prepared, run):
    config = load_config(run / 'config.yaml')
    assert config == load_config(None, [*overrides(prepared, run, 12), *KEYS])
    assert json.loads((run / 'config.json').read_text())['learning_rate'] == 5e-4


def test_its_sessions_state_what_made_it(run):
    first, second = json.loads((run / 'sessions.json').read_text())
    assert (first['step'], second['step']) == (0, 1)
    assert first['torch'] == torch.__version__
    for said in (first['revision'], read_metadata(run / 'best.safetensors')['revision']):
        assert re.fullmatch(r'[0-9a-f]{40}\+?|unknown', said)


def test_code_of_no_repository_has_an_unknown_revision(tmp_path):
    (tmp_path / 'code.py').touch()
    assert git_revision(tmp_path / 'code.py') == 'unknown'


def test_tables_hold_every_row_once(run):
    assert [row['step'] for row in CsvLog(run / 'losses.csv').rows()] == ['3', '6', '9', '12']
    metrics = CsvLog(run / 'metrics.csv').rows()
    assert [row['step'] for row in metrics] == ['1', '6', '12']
    assert float(metrics[-1]['val_inner51_percent']) > 0 and float(metrics[-1]['loss']) > 0


def test_tensorboard_reads_losses_rates_and_validations(run):
    events = EventAccumulator(str(run)).Reload()
    assert [e.step for e in events.Scalars('losses/learning_rate')] == [3, 6, 9, 12]
    assert [e.step for e in events.Scalars('validation/inner51_percent')] == [1, 6, 12]
    assert events.Scalars('losses/images_per_s')[-1].value > 0


def test_pictures_show_curves_and_heads(run):
    for name in ('curves.png', 'samples.png'):
        picture = cv2.imread(str(run / name))
        assert picture.shape[1] > 400 and picture.std() > 5, name


def test_without_export_the_best_checkpoint_has_no_graph(run):
    assert (run / 'best.safetensors').is_file() and not (run / 'best.onnx').exists()


def test_no_partial_file_is_left(run):
    assert not [path.name for path in run.iterdir() if path.name.startswith('.')]


def test_without_tensorboard_a_line_says_so(tmp_path, monkeypatch, capsys):
    # None in sys.modules makes `import` fail as it does where the package is not installed.
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    folder = RunFolder(tmp_path / 'run')
    folder.start(load_config(None), 0, {})
    assert 'tensorboard is missing' in capsys.readouterr().err
    folder.log(folder.losses, {'step': 1, 'loss': 2.0})
    folder.close()
    assert folder.losses.rows() == [{'step': '1', 'loss': '2.0'}]
