"""How fast batches are loaded and augmented, beside how fast a training step eats them.

    python benchmarks/loader.py --data runs/data [--threads 1] [--batches 20]

Both are measured in turn, a batch each, and the median of the ratios is what counts: these figures
move together when a machine is busy.
"""

import argparse
import statistics
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from trans3dhead_training.engine.config import load_config
from trans3dhead_training.engine.training_loop import Run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', type=Path, default=Path('runs/data'))
    parser.add_argument('--threads', type=int, default=1, help='of the training step')
    parser.add_argument('--batches', type=int, default=20)
    parser.add_argument('overrides', nargs='*', metavar='key=value')
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    run = Run(load_config(Path('config/train.yaml'), [
        f'data={arguments.data}', f'threads={arguments.threads}', 'output=out/loader_benchmark',
        *arguments.overrides]))
    run.folder.path.mkdir(parents=True, exist_ok=True)
    count, loading, eating = run.config.batch, [], []
    for number in range(arguments.batches + 2):
        started = time.perf_counter()
        batch = run.data.training.training_batch(count, np.random.default_rng((0, number)),
                                            run.config.augment)
        loaded = time.perf_counter()
        run.learn(batch)
        if number >= 2:  # the first ones warm up
            loading.append(loaded - started)
            eating.append(time.perf_counter() - loaded)
    ratio = statistics.median(
        step / load for step, load in zip(eating, loading, strict=True))
    print(f'{len(run.data.training)} heads; loading, one thread: '
          f'{count / statistics.median(loading):.0f} crops/s; training, {torch.get_num_threads()} '
          f'threads: {count / statistics.median(eating):.0f} crops/s; loading is {ratio:.2f} x')


if __name__ == '__main__':
    main()
