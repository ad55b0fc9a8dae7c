"""`trans3dhead train`: train the network on labelled faces and their fits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.training.config import load_config
from trans3dhead_ros.training.loop import Run


def main(argv: Sequence[str] | None = None) -> int:
    """Run `trans3dhead train`."""
    parser = ArgumentParser(prog='trans3dhead train', description=__doc__)
    parser.add_argument('--config', type=Path, help='YAML file; defaults where it says nothing')
    parser.add_argument('--resume', action='store_true', help='continue the run in its folder')
    parser.add_argument('overrides', nargs='*', metavar='key=value',
                        help='for example minutes=30 network.dim=128')
    arguments = parser.parse_args(argv)
    run = Run(load_config(arguments.config, arguments.overrides))
    if arguments.resume:
        run.resume()
    figures = run.train()
    print(f'{run.folder}: ' + ', '.join(f'{k} {v:.3f}' for k, v in figures.items()))
    return 0
