"""A training that was interrupted, in whatever way, ends like one that was not."""

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from command_line import train as main
from training_set import overrides, weights

from trans3dhead_training.engine.csv_log import CsvLog

pytestmark = [pytest.mark.train, pytest.mark.slow]

STEPS = 40
# States so seldom that an interruption loses steps, so often that it does not lose all.
KEYS = ['state_steps=6', 'validate_steps=20', 'log_steps=2']
TIMEOUT_S = 300


@pytest.fixture(scope='module')
def whole(prepared, tmp_path_factory) -> Path:
    """Return the folder of a training without an interruption."""
    folder = tmp_path_factory.mktemp('whole') / 'run'
    assert main([*overrides(prepared, folder, STEPS), *KEYS]) == 0
    return folder


def start(root: Path, folder: Path) -> subprocess.Popen:
    """Start a training as a process of its own; return when it has saved a state and gone on."""
    process = subprocess.Popen(
        [sys.executable, '-m', 'trans3dhead_ros.cli.main', 'train', *overrides(root, folder, STEPS),
         *KEYS], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + TIMEOUT_S
    while steps(folder / 'losses.csv')[-1:] < [8]:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process


def steps(path: Path) -> list[int]:
    return [int(row['step']) for row in CsvLog(path).rows()]


def assert_alike(first: Path, second: Path) -> None:
    expected, found = weights(first), weights(second)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    for name in ('metrics.csv', 'losses.csv'):
        rows = [[{key: value for key, value in row.items()
                  if key not in ('minutes', 'images_per_s')}
                 for row in csv.DictReader((folder / name).open())] for folder in (first, second)]
        assert rows[0] == rows[1], name


def test_a_killed_training_ends_like_one_that_was_not(prepared, whole, tmp_path):
    folder = tmp_path / 'killed'
    process = start(prepared, folder)
    process.kill()
    assert process.wait(TIMEOUT_S) == -signal.SIGKILL
    process.stdout.close()
    lost = steps(folder / 'losses.csv')[-1] - torch.load(
        folder / 'state.pt', weights_only=True)['step']
    assert lost < STEPS
    assert main(['--resume', *overrides(prepared, folder, STEPS), *KEYS]) == 0
    assert_alike(whole, folder)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_last_step(prepared, whole, tmp_path, number):
    folder = tmp_path / 'stopped'
    process = start(prepared, folder)
    process.send_signal(number)
    output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 128 + number, output
    assert 'Traceback' not in output and 'continue with --resume' in output
    # Nothing is lost: the state is that of the last step of all.
    state = torch.load(folder / 'state.pt', weights_only=True)
    assert state['step'] >= steps(folder / 'losses.csv')[-1]
    assert (folder / 'last.safetensors').is_file()
    # Without --config and keys, what lies in the folder is asked for.
    assert main(['--resume', f'output={folder}']) == 0
    assert_alike(whole, folder)


def test_a_validation_due_at_a_signal_is_run_on_resuming(prepared, tmp_path):
    folder = tmp_path / 'run'
    keys = [*overrides(prepared, folder, 4), 'validate_steps=1']

    def interrupt() -> None:
        while not steps(folder / 'metrics.csv'):
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    assert main(keys) == 128 + signal.SIGINT
    thread.join()
    stopped = torch.load(folder / 'state.pt', weights_only=True)['step']
    assert stopped not in steps(folder / 'metrics.csv')
    assert main(['--resume', *keys]) == 0
    assert steps(folder / 'metrics.csv') == [1, 2, 3, 4]


def test_minutes_end_a_session_cleanly(prepared, whole, tmp_path, capsys):
    folder = tmp_path / 'sessions'
    assert main(['--minutes', '1e-5', *overrides(prepared, folder, STEPS), *KEYS]) == 0
    assert 'stopped at step 1,' in capsys.readouterr().out
    for name in ('last.safetensors', 'curves.png', 'samples.png', 'state.pt'):
        assert (folder / name).is_file(), name
    assert steps(folder / 'metrics.csv') == [1]
    assert main(['--resume', '--minutes', '1e-5', f'output={folder}']) == 0
    assert steps(folder / 'metrics.csv') == [1, 2]
    assert main(['--resume', '--minutes', '60', f'output={folder}']) == 0
    expected, found = weights(whole), weights(folder)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    capsys.readouterr()
    assert main(['--resume', f'output={folder}']) == 0
    assert 'complete already' in capsys.readouterr().out


@pytest.mark.parametrize('minutes', ['0', '-1', 'nan'])
def test_minutes_must_be_positive(prepared, tmp_path, minutes):
    with pytest.raises(ValueError, match='--minutes'):
        main(['--minutes', minutes, *overrides(prepared, tmp_path, 2)])


def test_resuming_without_a_run_is_a_clear_error(prepared, tmp_path):
    with pytest.raises(ValueError, match='--resume'):
        main(['--resume', *overrides(prepared, tmp_path / 'none', 2)])


def test_a_run_is_not_started_on_top_of_another(prepared, whole):
    with pytest.raises(ValueError, match='--resume'):
        main(overrides(prepared, whole, STEPS))


def test_a_table_drops_the_rows_that_a_resumed_run_repeats(tmp_path):
    log = CsvLog(tmp_path / 'table.csv')
    log.start(0)
    for step in (1, 2, 3):
        log.append({'step': step, 'loss': step / 2})
    with log.path.open('a') as file:
        file.write('2')  # of 20, which a killed process did not finish
    again = CsvLog(log.path)
    again.start(2)
    again.append({'step': 3, 'loss': 7.0, 'val_new': 1.0})
    assert again.rows() == [{'step': '1', 'loss': '0.5', 'val_new': ''},
                            {'step': '2', 'loss': '1.0', 'val_new': ''},
                            {'step': '3', 'loss': '7.0', 'val_new': '1.0'}]
