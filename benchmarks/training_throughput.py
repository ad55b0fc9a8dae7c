r"""
How much of the speed of the network alone a training keeps.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/training_throughput.py \
        [--data runs/data] [--threads 2] [key=value …]

Bare is the network alone: forward over one batch that lies ready, and backward from the plain sum
of its outputs. The loop is what a training does in every step: take the next batch, which a thread
makes in the meantime (decode, crop and augment pictures), schedule, the same forward, the
criterion, backward, clipping, AdamW, the average of the weights, the losses of the step. Batch
size, precision and threads are the same. Validations, which come every few minutes, are in neither.

`trans3dhead train` sets that variable itself: without it PyTorch's threads keep their cores busy
while they wait, and the loader has none (83 % kept on two cores, not 88 to 92 %).

Both take turns, some steps each, and the median ratio over the rounds is the figure: whatever else
the machine does affects both alike.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from trans3dhead_training.data.batch import Batch
from trans3dhead_training.data.prefetch import prefetched
from trans3dhead_training.engine.config import load_config
from trans3dhead_training.engine.csv_log import MeanMeter
from trans3dhead_training.engine.trainer import Trainer


def timed(action: Callable[[], object], steps: int, device: torch.device) -> float:
    """Return the seconds that a step takes."""
    started = time.perf_counter()
    for _ in range(steps):
        action()
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return (time.perf_counter() - started) / steps


def bare_step(trainer: Trainer, batch: Batch) -> None:
    outputs = trainer.network.forward_layers(batch.crops)
    total = sum(value.sum() for value in (*outputs.points, *outputs.parameters,
                                          outputs.point_scale, outputs.score))
    trainer.network.zero_grad(set_to_none=True)
    total.backward()


def parts_of_a_step(trainer: Trainer, batch: Batch, steps: int) -> dict[str, float]:
    """Return the median milliseconds of each part of a step that the bare network lacks."""
    outputs = trainer.network.forward_layers(batch.crops)
    loss, _ = trainer.task.criterion(outputs, batch)
    loss.backward()

    def criterion() -> None:
        leaves = tuple(value.detach().requires_grad_() for value in (
            *outputs.points, *outputs.parameters, outputs.point_scale, outputs.score))
        layers = len(outputs.points)
        detached = type(outputs)(leaves[:layers], leaves[layers:2 * layers], *leaves[2 * layers:])
        trainer.task.criterion(detached, batch)[0].backward()

    def clip_and_step() -> None:
        torch.nn.utils.clip_grad_norm_(trainer.network.parameters(), 5.0)
        for optimizer in trainer.optimizers:
            optimizer.step()

    parts = {
        'criterion, both passes': criterion,
        'clipping and optimizers': clip_and_step,
        'average of the weights': lambda: trainer.average.update_parameters(trainer.network),
        'making a batch, in parallel': lambda: trainer.task.data.training.training_batch(
            trainer.config.batch_size, np.random.default_rng(0), trainer.config.augmentation),
    }
    return {name: 1e3 * statistics.median(timed(action, 1, trainer.device) for _ in range(steps))
            for name, action in parts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', type=Path, default=Path('config/train.yaml'))
    parser.add_argument('--data', type=Path, default=Path('runs/data'))
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--steps', type=int, default=6, help='steps of each in a round')
    parser.add_argument('overrides', nargs='*', metavar='key=value')
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    trainer = Trainer(load_config(arguments.config, [
        f'data={arguments.data}', f'threads={arguments.threads}', *arguments.overrides]))
    config, device = trainer.config, trainer.device
    batches = prefetched(trainer.batch, 0, config.loader_threads)
    ready = next(batches).to(device)
    meter = MeanMeter()
    trainer.network.train()

    def loop_step() -> None:
        meter.add(trainer.train_step(next(batches)))

    rounds = []
    for number in range(arguments.rounds + 1):
        bare = timed(lambda: bare_step(trainer, ready), arguments.steps, device)
        loop = timed(loop_step, arguments.steps, device)
        if number:  # the first one warms up
            rounds.append((bare, loop))
    parts = parts_of_a_step(trainer, ready, 3 * arguments.steps)
    batches.close()
    bare, loop = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratios = sorted(bare / loop for bare, loop in rounds)
    print(f'{device}, {torch.get_num_threads()} thread(s), batches of {config.batch_size}, '
          f'precision {config.precision}, {len(ratios)} rounds of {arguments.steps} steps')
    print(f'  network alone  {config.batch_size / bare:7.1f} images/s')
    print(f'  training       {config.batch_size / loop:7.1f} images/s')
    print(f'  kept           {100 * statistics.median(ratios):7.1f} %  '
          f'({100 * ratios[0]:.1f} to {100 * ratios[-1]:.1f})')
    for name, milliseconds in parts.items():
        print(f'  {name:28s} {milliseconds:7.1f} ms, {milliseconds / 10 / bare:5.1f} % of bare')


if __name__ == '__main__':
    main()
