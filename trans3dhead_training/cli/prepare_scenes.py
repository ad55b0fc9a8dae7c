"""Render frames with up to eight synthetic people, to train detectors on."""

from __future__ import annotations

import math
from argparse import Namespace
from pathlib import Path

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('--data', type=Path,
                        help='folder of the raw data (default: TRANS3DHEAD_DATA)')
    parser.add_argument('--output', type=Path, default=Path('runs/scenes'),
                        help='folder of the frames (default: %(default)s)')
    parser.add_argument('--count', type=int, default=1000,
                        help='number of frames (default: %(default)s)')
    parser.add_argument('--size', type=int, nargs=2, default=(640, 480),
                        metavar=('WIDTH', 'HEIGHT'), help='size of a frame, px (default: 640 480)')
    parser.add_argument('--preset', choices=('standard', 'wide'), default='standard',
                        help='distribution of people; wide: any roll, heads of 8 to 400 px '
                             '(default: %(default)s)')
    parser.add_argument('--minutes', type=float, default=math.inf,
                        help='start no new frame after this time; repeat the command to continue')
    parser.add_argument('--seed', type=int, default=0, help='seed (default: %(default)s)')
    parser.add_argument('--head-model', type=Path, default=Path('runs/head_model.npz'),
                        help='output of `prepare head-model` (default: %(default)s)')
    parser.add_argument('--cache', type=Path, default=Path('runs/people'),
                        help='cache of the registered assets of people (default: %(default)s)')


def run(options: Namespace) -> int:
    """
    Render the frames.

    :param options: as `add_arguments` declares them.
    :return: exit code.
    :raises UserError: for a user's mistake.
    """
    if options.count < 1 or min(options.size) < 32:
        raise UserError('--count, --size: expected at least 1 frame of 32 x 32')
    if not options.minutes > 0:
        raise UserError(f'--minutes: expected more than 0, got {options.minutes:g}')
    from trans3dhead_training.core.data_root import data_root
    from trans3dhead_training.preparation.scene_frames import write_scenes
    from trans3dhead_training.preparation.synthetic_maker import load_scene_assets
    assets = load_scene_assets(options.data or data_root(), options.cache, options.head_model,
                               options.preset)
    frames, heads = write_scenes(assets, options.output, options.count, tuple(options.size),
                                 options.seed, options.minutes)
    print(f'{options.output}: {frames} frames, {heads} heads')
    return 0
