"""
Train the aligner on labelled faces and fitted head models, or train a head detector.

A configuration with `task: detector` trains a detector on pictures with boxes of heads.

Several processes, each with its own device, can share every batch:
`torchrun --nproc_per_node N -m trans3dhead_ros.cli.main train …`.
"""

from __future__ import annotations

import math
import os
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.field_docs import describe_keys

if TYPE_CHECKING:
    from trans3dhead_training.engine.config import RunConfig
    from trans3dhead_training.engine.trainer import Trainer

EXIT_SIGNAL = 128
"""A shell's exit code for a signal is this plus its number."""


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('--config', type=Path,
                        help='YAML file; keys that it omits have their defaults')
    parser.add_argument('--resume', action='store_true', help=(
        'continue the run in the output folder; without --config, with the configuration found '
        'there'))
    parser.add_argument('--minutes', type=float, metavar='N', default=math.inf, help=(
        'save and stop after N minutes, to be resumed later; the length of the whole run, and of '
        'its learning rate schedule, is the key minutes= or steps='))
    parser.add_argument('overrides', nargs='*', default=[], metavar='key=value',
                        help='override configuration keys, for example minutes=30 network.dim=128')


def epilog() -> str:
    """Return the keys of the configurations."""
    from trans3dhead_training.engine.config import DetectorTrainConfig, TrainConfig
    return (f'{describe_keys(TrainConfig())}\n\n'
            f'with task=detector, {describe_keys(DetectorTrainConfig())}')


def run(options: Namespace) -> int:
    """
    Train, or continue a training.

    :param options: as `add_arguments` declares them.
    :return: exit code; `EXIT_SIGNAL` plus its number where a signal stopped the run in order.
    :raises UserError: for a user's mistake.
    """
    if not options.minutes > 0:
        raise UserError(f'--minutes: expected more than 0, got {options.minutes:g}')
    # Threads of PyTorch that wait for one another leave their cores to the loader. Read when
    # PyTorch is loaded, which is why nothing above imports it.
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
    from trans3dhead_training.engine.trainer import Trainer, prepare_process
    from trans3dhead_training.export.export_checkpoint import export_beside

    prepare_process()
    trainer = Trainer(_config(options.config, options.overrides, options.resume))
    try:
        if options.resume:
            trainer.resume()
        figures = trainer.train(options.minutes)
    finally:
        trainer.world.close()
    if trainer.world.is_first:
        if trainer.progress() >= 1.0 and trainer.config.export:
            best = trainer.folder.path / 'best.safetensors'
            if best.is_file():
                export_beside(best)
        _report(trainer, ', '.join(f'{k} {v:.3f}' for k, v in figures.items()))
    return EXIT_SIGNAL + int(trainer.stopped_by) if trainer.stopped_by else 0


def _config(path: Path | None, overrides: Sequence[str], resume: bool) -> RunConfig:
    from trans3dhead_training.engine.config import read_config
    if resume and path is None:
        # Which keys there are depends on what the folder's run trains.
        named = [text for text in overrides if text.startswith('output=')]
        found = Path(read_config(None, named).output) / 'config.yaml'
        path = found if found.is_file() else None
    config = read_config(path, overrides)
    folder = Path(config.output)
    if not resume and (folder / 'state.pt').is_file():
        raise UserError(f'output: {folder} holds a run; continue it with --resume, choose another '
                        'output= or remove the folder')
    return config


def _report(trainer: Trainer, figures: str) -> None:
    share = f'step {trainer.step}, {100 * min(trainer.progress(), 1):.0f} %'
    if trainer.progress() < 1.0:
        print(f'{trainer.folder.path}: stopped at {share}; continue with --resume'
              + (f'. {figures}' if figures else ''))
    else:
        print(f'{trainer.folder.path}: '
              f'{figures or "was complete already; give it a greater length"}')
