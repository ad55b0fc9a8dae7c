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
from trans3dhead_training.engine.trainer import Trainer


def main() -> None:
    folder, *overrides = sys.argv[1:]
    world = World.connect('cpu')
    for name, frozen in (('frozen', 'true'), ('live', 'false')):
        trainer = Trainer(load_config(None, [*overrides, f'freeze_batch_norm={frozen}']), world)
        batch = trainer.data.training.training_batch(
            trainer.config.batch_size, np.random.default_rng((0, 0)), share=(world.rank, world.size))
        figures = trainer.backward(batch)
        torch.save({
            'figures': figures,
            'gradients': {name: p.grad for name, p in trainer.network.named_parameters()},
            'statistics': {name: b for name, b in trainer.network.named_buffers()
                           if '.running_' in name},
        }, Path(folder) / f'{name}_{world.rank}.pt')
    world.close()


if __name__ == '__main__':
    main()
