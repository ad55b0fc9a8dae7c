"""`trans3dhead prepare data`: shards of labelled heads, from raw folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.training.data.manifest import Manifest
from trans3dhead_ros.training.data_root import data_root
from trans3dhead_ros.training.preparation.part import Maker
from trans3dhead_ros.training.preparation.photographs import PhotographMaker, read_fits
from trans3dhead_ros.training.preparation.run import prepare

PARTS = ('photographs',)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `trans3dhead prepare data`; `ValueError` for a user's mistake."""
    parser = ArgumentParser(prog='trans3dhead prepare data', description=__doc__)
    parser.add_argument('--data', type=Path, help='raw data (default: the data folder)')
    parser.add_argument('--fits', type=Path, default=Path('runs/fits.npz'))
    parser.add_argument('--output', type=Path, default=Path('runs/data'))
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1,
                        help='processes (default: one a core)')
    arguments = parser.parse_args(argv)
    root = arguments.data or data_root()
    makers: list[Maker] = []
    if 'photographs' in arguments.parts:
        makers.append(PhotographMaker(root / 'faces', arguments.fits))
    offsets = read_fits(arguments.fits)['offsets'] if makers else np.zeros((51, 3))
    manifest = prepare(makers, arguments.output, arguments.seed, offsets, arguments.workers)
    print(summary(manifest))
    return 0


def summary(manifest: Manifest) -> str:
    """Return a line for each part."""
    return '\n'.join(f'{part.name:14s}{part.count:8d} samples, {part.validation} held out; '
                     f'{"open" if part.open else "restricted"}: {part.licence}'
                     for part in manifest.parts)
