"""
What each process of a shared training has in `grad` after one batch; `torchrun` starts it.

    torchrun --nproc_per_node 2 gradients_of_a_share.py FOLDER key=value …

Writes FOLDER/<frozen or live>_<rank>.pt: the gradients, the figures, the batch statistics.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from trans3dhead_training.engine.config import load_config
from trans3dhead_training.engine.distributed import World
from trans3dhead_training.engine.training_loop import Run


def main() -> None:
    folder, *overrides = sys.argv[1:]
    world = World.join('cpu')
    for name, frozen in (('frozen', 'true'), ('live', 'false')):
        run = Run(load_config(None, [*overrides, f'frozen_norms={frozen}']), world)
        batch = run.data.training.training_batch(
            run.config.batch, np.random.default_rng((0, 0)), share=(world.rank, world.size))
        figures = run.gradients(batch)
        torch.save({
            'figures': figures,
            'gradients': {name: p.grad for name, p in run.network.named_parameters()},
            'statistics': {name: b for name, b in run.network.named_buffers()
                           if '.running_' in name},
        }, Path(folder) / f'{name}_{world.rank}.pt')
    world.leave()


if __name__ == '__main__':
    main()
