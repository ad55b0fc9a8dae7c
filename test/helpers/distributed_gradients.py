"""
One process of a shared training; `torchrun` starts it.

    torchrun --nproc_per_node 2 distributed_gradients.py FOLDER CHECKPOINT key=value …

Writes FOLDER/<frozen or live>_<rank>.pt: the gradients of one batch from the weights of CHECKPOINT,
the losses and the batch statistics. Then trains to the end in FOLDER/whole, and for one step in
FOLDER/broken.
"""

import math
import sys
from pathlib import Path

import numpy as np
import torch

from trans3dhead_training.engine.config import load_config
from trans3dhead_training.engine.distributed import World
from trans3dhead_training.engine.trainer import Trainer


def write_gradients(path: Path, trainer: Trainer) -> None:
    world = trainer.world
    losses = trainer.backward(trainer.task.data.training.training_batch(
        trainer.config.batch_size, np.random.default_rng((0, 0)), share=(world.rank, world.size)))
    torch.save({
        'losses': losses,
        'gradients': {name: p.grad for name, p in trainer.network.named_parameters()},
        'statistics': {name: b for name, b in trainer.network.named_buffers()
                       if '.running_' in name},
    }, path)


def main() -> None:
    folder, checkpoint, *overrides = sys.argv[1:]
    world = World.connect('cpu')
    for name, frozen in (('frozen', 'true'), ('live', 'false')):
        trainer = Trainer(load_config(None, [
            *overrides, f'init_checkpoint={checkpoint}', f'freeze_batch_norm={frozen}']), world)
        write_gradients(Path(folder) / f'{name}_{world.rank}.pt', trainer)
    for name, minutes in (('whole', math.inf), ('broken', 1e-5)):
        config = load_config(None, [*overrides, f'output={folder}/{name}'])
        Trainer(config, world).train(minutes)
    world.close()


if __name__ == '__main__':
    main()
