"""
Make shards of labelled heads to train on, from raw folders.

By default: photographs as they are, photographs turned in depth, portraits with points from a
teacher network, and synthetic people. On request: half-labelled profiles, these turned in depth,
Labeled Faces in the Wild with points from a teacher network, and hard negatives (false positives of
a detector). Repeat the command to continue an interrupted run; the same seed gives the same bytes.
"""

from __future__ import annotations

import math
import os
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError
from trans3dhead_training.core.data_root import data_root
from trans3dhead_training.data.attribution import read_about
from trans3dhead_training.data.manifest import Manifest
from trans3dhead_training.data.mined_negatives import NEGATIVES
from trans3dhead_training.preparation.negative_maker import NegativeMaker
from trans3dhead_training.preparation.part_maker import PartMaker
from trans3dhead_training.preparation.part_writer import write_parts
from trans3dhead_training.preparation.photograph_maker import PhotographMaker, read_fits
from trans3dhead_training.preparation.portrait_maker import PortraitMaker
from trans3dhead_training.preparation.synthetic_maker import SyntheticMaker
from trans3dhead_training.preparation.turned_maker import TurnedMaker
from trans3dhead_training.synthesis.scenes.scene_config import SCENE_PRESETS
from trans3dhead_training.synthesis.turned_photos.pose_sampler import PoseSamplerConfig

CFP = 'Celebrities in Frontal-Profile photographs'

MAKERS: dict[str, Callable[[Namespace, Path], PartMaker]] = {
    'photographs': lambda options, root: credited(
        PhotographMaker(root / 'faces', options.fits)),
    'turned': lambda options, root: credited(TurnedMaker(
        root / 'faces', options.fits, options.head_model, options.turns, options.seed)),
    'profiles': lambda options, root: credited(PhotographMaker(
        root / 'profiles', options.profile_fits, 'profiles', f'{CFP}, one half labelled')),
    'turned_profiles': lambda options, root: credited(TurnedMaker(
        root / 'profiles', options.profile_fits, options.head_model, options.turns, options.seed,
        PoseSamplerConfig(max_source_yaw_deg=PROFILE_YAW_DEG), 'turned_profiles',
        f'{CFP}, turned in depth')),
    'portraits': lambda options, root: credited(PortraitMaker(
        root / 'faces', options.portrait_fits, options.head_model, options.turns, options.seed)),
    'lfw': lambda options, root: PortraitMaker(
        root, options.unlabelled_fits, options.head_model, options.turns / 2, options.seed, 'lfw',
        "Labeled Faces in the Wild, plain and turned in depth, a teacher's points", 'research use',
        False),
    'synthetic': lambda options, root: SyntheticMaker(
        root, options.cache, options.head_model, options.people, options.seed, options.preset),
    NEGATIVES: lambda options, root: NegativeMaker(
        root / 'faces', root / 'appearance' / 'hdri', options.views, options.negative_photographs,
        options.seed),
}
DEFAULT_PARTS = ('photographs', 'turned', 'portraits', 'synthetic')

PROFILE_YAW_DEG = 82.0
"""Largest yaw of a profile that is turned."""


Photographs = TypeVar('Photographs', PhotographMaker, TurnedMaker, PortraitMaker)


def credited(maker: Photographs) -> Photographs:
    """Return a maker with the credit of its folder, where that says something of itself."""
    about = read_about(maker.folder)
    if about is None:
        return maker
    how = ('' if maker.name == 'photographs' else ', one half labelled'
           if maker.name == 'profiles' else ', turned in depth')
    return replace(maker, source=about.source + how, licence=about.licence, open=about.open)


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('--data', type=Path,
                        help='folder of the raw data (default: TRANS3DHEAD_DATA)')
    parser.add_argument('--output', type=Path, default=Path('runs/data'),
                        help='folder of the shards (default: %(default)s)')
    parser.add_argument('--parts', nargs='+', choices=MAKERS, default=list(DEFAULT_PARTS),
                        help=f'one or more of {", ".join(MAKERS)} (default: '
                             f'{", ".join(DEFAULT_PARTS)})')
    parser.add_argument('--open', action='store_true',
                        help='only parts that are free for any use')
    parser.add_argument('--people', type=int, default=4000,
                        help='number of synthetic people, eight pictures each (default: '
                             '%(default)s)')
    parser.add_argument('--preset', choices=SCENE_PRESETS, default='standard',
                        help='distribution of synthetic people: standard is uniform in yaw, wide '
                             'also in pitch and roll, and darker (default: %(default)s)')
    parser.add_argument('--minutes', type=float, default=math.inf,
                        help='start no new shard after this time; repeat the command to continue')
    parser.add_argument('--turns', type=float, default=4.0,
                        help='average number of turned pictures per photograph (default: '
                             '%(default)s)')
    parser.add_argument('--views', type=int, default=300,
                        help='for negatives: views of each panorama (default: %(default)s)')
    parser.add_argument('--negative-photographs', type=int, default=2000, metavar='N',
                        help='for negatives: maximum number of labelled photographs (default: '
                             '%(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='seed (default: %(default)s)')
    parser.add_argument('--fits', type=Path, default=Path('runs/fits.npz'),
                        help='output of `prepare fits` (default: %(default)s)')
    parser.add_argument('--portrait-fits', type=Path, default=Path('runs/portrait_fits.npz'),
                        help='output of `prepare fits --portraits` (default: %(default)s)')
    parser.add_argument('--profile-fits', type=Path, default=Path('runs/profile_fits.npz'),
                        help='output of `prepare profile-fits` (default: %(default)s)')
    parser.add_argument('--unlabelled-fits', type=Path, default=Path('runs/unlabelled_fits.npz'),
                        help='output of `prepare unlabelled-fits` (default: %(default)s)')
    parser.add_argument('--head-model', type=Path, default=Path('runs/head_model.npz'),
                        help='output of `prepare head-model` (default: %(default)s)')
    parser.add_argument('--cache', type=Path, default=Path('runs/people'),
                        help='cache of the registered assets of people (default: %(default)s)')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1,
                        help='number of processes (default: one per core)')


def run(options: Namespace) -> int:
    """
    Prepare the parts and print how large they are.

    :param options: as `add_arguments` declares them.
    :return: exit code.
    :raises UserError: for a user's mistake.
    """
    if min(options.people, options.turns, options.workers, options.views,
           options.negative_photographs, options.minutes) <= 0:
        raise UserError('--people, --turns, --workers, --views, --negative-photographs, --minutes: '
                        'expected more than 0')
    root = options.data or data_root()
    makers = [MAKERS[name](options, root) for name in MAKERS if name in options.parts]
    if options.open:
        makers = [maker for maker in makers if maker.open]
    if not makers:
        raise UserError('--open: none of the chosen parts is free for any use')
    by_hand = any(maker.name in ('photographs', 'turned') for maker in makers)
    offsets = read_fits(options.fits)['offsets'] if by_hand else None
    manifest = write_parts(makers, options.output, options.seed, offsets, options.workers,
                           options.minutes)
    print(summary(manifest))
    return 0


def summary(manifest: Manifest) -> str:
    """Return a line for each part."""
    return '\n'.join(f'{part.name:14s}{part.count:8d} samples, {part.validation} held out; '
                     f'{"open" if part.open else "restricted"}: {part.licence}'
                     for part in manifest.parts)
