"""
`trans3dhead train`: train the network on labelled faces and their fits.

Several processes, each with a device of its own, share every batch:
`torchrun --nproc_per_node N -m trans3dhead_ros.cli.main train …`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError
from trans3dhead_training.engine.config import TrainConfig, load_config
from trans3dhead_training.engine.training_loop import Run

EXIT_SIGNAL = 128
"""A shell's exit code for a signal is this and its number."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `trans3dhead train`."""
    parser = ArgumentParser(prog='trans3dhead train', description=__doc__.splitlines()[1])
    parser.add_argument('--config', type=Path, help='YAML file; defaults where it says nothing')
    parser.add_argument('--resume', action='store_true', help=(
        'continue the run in its folder; without --config by the configuration that lies there'))
    parser.add_argument('--minutes', type=float, metavar='N', default=math.inf, help=(
        'stop in order after N minutes, to be resumed; the length of the whole run and of its '
        'learning rate is the key minutes= or steps='))
    parser.add_argument('overrides', nargs='*', metavar='key=value',
                        help='for example minutes=30 network.dim=128')
    arguments = parser.parse_intermixed_args(argv)
    if not arguments.minutes > 0:
        raise UserError(f'--minutes: expected more than 0, got {arguments.minutes:g}')
    # Batches are made in threads of their own, beside a network that keeps the others busy.
    cv2.setNumThreads(1)
    run = Run(_config(arguments.config, arguments.overrides, arguments.resume))
    try:
        if arguments.resume:
            run.resume()
        figures = run.train(arguments.minutes)
    finally:
        run.world.leave()
    if run.world.is_first:
        _report(run, ', '.join(f'{k} {v:.3f}' for k, v in figures.items()))
    return EXIT_SIGNAL + int(run.stopped_by) if run.stopped_by else 0


def _config(path: Path | None, overrides: Sequence[str], resume: bool) -> TrainConfig:
    config = load_config(path, overrides)
    folder = Path(config.output)
    if resume and path is None and (folder / 'config.yaml').is_file():
        return load_config(folder / 'config.yaml', overrides)
    if not resume and (folder / 'state.pt').is_file():
        raise UserError(f'output: {folder} holds a run; continue it with --resume, choose another '
                         'output= or remove the folder')
    return config


def _report(run: Run, figures: str) -> None:
    share = f'step {run.step}, {100 * min(run.progress(), 1):.0f} %'
    if run.progress() < 1.0:
        print(f'{run.folder.path}: stopped at {share}; continue with --resume'
              + (f'. {figures}' if figures else ''))
    else:
        print(f'{run.folder.path}: {figures or "was complete already; give it a greater length"}')


if __name__ == '__main__':
    sys.exit(main())
