"""Two real processes that share a training do what one does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import train as main
from training_set import overrides, weights

from trans3dhead_ros.network.model import LayerOutputs, Trans3DHead
from trans3dhead_training.engine.config import load_config
from trans3dhead_training.engine.csv_log import CsvLog
from trans3dhead_training.engine.trainer import Trainer

pytestmark = [pytest.mark.train, pytest.mark.slow]

TIMEOUT_S = 300
PAIR = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2']
HELPER = Path(__file__).parents[2] / 'helpers' / 'distributed_gradients.py'
KEYS = ['log_steps=1', 'freeze_batch_norm=true']
TRAIN = [*PAIR, '-m', 'trans3dhead_ros.cli.main', 'train']


def run_pair(command: list[str]) -> str:
    """Run two processes; return what they wrote."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def trained(prepared, tmp_path_factory) -> Path:
    """Return a checkpoint, so that no gradient is small because a layer begins at zero."""
    folder = tmp_path_factory.mktemp('trained')
    main(overrides(prepared, folder / 'run', 10))
    return folder / 'run' / 'last.safetensors'


@pytest.fixture(scope='module')
def shared(prepared, trained, tmp_path_factory) -> Path:
    """Return the folder of what two processes computed and trained."""
    folder = tmp_path_factory.mktemp('shared')
    run_pair([*PAIR, str(HELPER), str(folder), str(trained), *overrides(prepared, folder, 5),
              *KEYS])
    return folder


def alone(root: Path, trained: Path, frozen: str) -> Trainer:
    return Trainer(load_config(None, [
        *overrides(root, Path('unused'), 1), f'init_checkpoint={trained}',
        f'freeze_batch_norm={frozen}']))


def assert_close(trainer: Trainer, found: dict) -> None:
    assert len(found['gradients']) > 50
    for name, parameter in trainer.network.named_parameters():
        torch.testing.assert_close(found['gradients'][name], parameter.grad, atol=1e-5, rtol=1e-5,
                                   msg=lambda text, name=name: f'{name}: {text}')


@pytest.mark.parametrize('kind', ['frozen', 'live'])
def test_both_processes_have_the_same_gradients(shared, kind):
    first, second = (torch.load(shared / f'{kind}_{rank}.pt', weights_only=True)
                     for rank in (0, 1))
    for group in ('gradients', 'statistics'):
        assert all(torch.equal(first[group][name], second[group][name]) for name in first[group])
    assert first['losses'] == second['losses']


def test_two_processes_with_frozen_norms_have_the_gradients_of_one(prepared, trained, shared):
    trainer = alone(prepared, trained, 'true')
    batch = trainer.task.data.training.training_batch(8, np.random.default_rng((0, 0)))
    losses = trainer.backward(batch)
    found = torch.load(shared / 'frozen_0.pt', weights_only=True)
    assert_close(trainer, found)
    assert found['losses'] == pytest.approx(losses, rel=1e-5, abs=1e-6)


def test_two_processes_with_live_norms_have_the_gradients_of_one_that_accumulates(
        prepared, trained, shared):
    trainer = alone(prepared, trained, 'false')
    network, training = trainer.network.train(), trainer.task.data.training
    halves, statistics = [], [batch_statistics(network)]
    for rank in (0, 1):
        half = training.training_batch(8, np.random.default_rng((0, 0)), share=(rank, 2))
        halves.append(network.forward_layers(half.crops))
        statistics.append(batch_statistics(network))

    def interleaved(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return torch.stack([first, second], 1).flatten(0, 1)

    both = LayerOutputs(
        tuple(map(interleaved, halves[0].points, halves[1].points)),
        tuple(map(interleaved, halves[0].parameters, halves[1].parameters)),
        interleaved(halves[0].point_scale, halves[1].point_scale),
        interleaved(halves[0].score, halves[1].score))
    batch = training.training_batch(8, np.random.default_rng((0, 0)))
    loss, _ = trainer.task.criterion(both, batch)
    loss.backward()
    found = torch.load(shared / 'live_0.pt', weights_only=True)
    assert_close(trainer, found)
    assert found['losses']['loss'] == pytest.approx(float(loss.detach()), rel=1e-5)
    # One process moves its statistics by a tenth twice; each of two does once, from where it was.
    for name, value in found['statistics'].items():
        start, between, end = (moment[name] for moment in statistics)
        torch.testing.assert_close(value, 0.45 * start + 0.05 * between + 0.5 * end)


def batch_statistics(network: Trans3DHead) -> dict[str, torch.Tensor]:
    return {name: b.clone() for name, b in network.named_buffers() if '.running_' in name}


def test_a_shared_training_is_resumed_bit_for_bit(prepared, shared, tmp_path):
    whole, broken = shared / 'whole', shared / 'broken'
    assert [row['step'] for row in CsvLog(whole / 'losses.csv').rows()] == list('12345')
    assert len(CsvLog(whole / 'metrics.csv').rows()) == 1
    assert torch.load(broken / 'state.pt', weights_only=True)['step'] == 1
    output = run_pair([*TRAIN, '--resume', f'output={broken}'])
    assert output.count('step=5 ') == 1  # only the first process prints
    expected, found = weights(whole), weights(broken)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    # One process learns the same, up to rounding, which the first steps of AdamW enlarge.
    one = tmp_path / 'one'
    main([*overrides(prepared, one, 5), *KEYS])
    expected = CsvLog(one / 'losses.csv').rows()
    for row, found in zip(expected, CsvLog(whole / 'losses.csv').rows(), strict=True):
        assert float(found['loss']) == pytest.approx(float(row['loss']), rel=1e-3)


def test_a_process_that_dies_ends_the_training(prepared, tmp_path):
    folder = tmp_path / 'dies'
    process = subprocess.Popen(
        [*TRAIN, *overrides(prepared, folder, 100000), 'log_steps=1'], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while not CsvLog(folder / 'losses.csv').rows():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(workers(process.pid)[-1], signal.SIGKILL)
        output, _ = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode != 0, output
    finally:
        # They have sessions of their own, and outlive a parent that is killed.
        for number in [*workers(process.pid), process.pid] if process.poll() is None else []:
            os.kill(number, signal.SIGKILL)


def workers(parent: int) -> list[int]:
    """Return the children of a process."""
    children = Path(f'/proc/{parent}/task/{parent}/children').read_text().split()
    return [int(child) for child in children]
