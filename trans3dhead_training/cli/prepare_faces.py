"""
Convert your own pictures to a folder that the other `prepare` commands read.

Every labelled face is cropped (twice its landmark box, at most 320 px) and written next to a
`labels.csv`; a share of the photographs is held out for validation.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.output_paths import check_outputs
from trans3dhead_training.data.attribution import About
from trans3dhead_training.preparation.face_crops import (
    LABELLED,
    VALIDATION_SHARE,
    Face,
    read_faces,
    write_faces,
)


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('data', nargs='+', metavar='FORMAT:PATH',
                        help=f'{", ".join(LABELLED)} (docs/evaluation.md), or pictures:FOLDER for '
                             'pictures without labels')
    parser.add_argument('--output', type=Path, required=True,
                        help='folder to create; `prepare data` expects it to be called faces')
    parser.add_argument('--source', default=About.source,
                        help='origin of the pictures, for the credits in models trained on them')
    parser.add_argument('--licence', default=About.licence,
                        help='licence of the pictures, also for the credits')
    parser.add_argument('--open', action='store_true',
                        help='declare the pictures free for any use')
    parser.add_argument('--held-out', type=float, default=VALIDATION_SHARE, metavar='SHARE',
                        help='share of the photographs for validation, if the data sets do not '
                             'define a split (default: %(default)s)')
    parser.add_argument('--by-folder', action='store_true',
                        help='hold out whole folders: for video frames, or one folder per person')


def run(options: Namespace) -> int:
    """
    Write the folder and print what is in it.

    :param options: as `add_arguments` declares them.
    :return: exit code.
    :raises UserError: for a user's mistake.
    """
    if not 0.0 < options.held_out < 1.0:
        raise UserError(f'--held-out: expected more than 0 and less than 1, got '
                        f'{options.held_out}')
    check_outputs({'output': options.output},
                  [data.partition(':')[2] for data in options.data], force=True)
    if (options.output / 'labels.csv').exists():
        raise UserError(f'--output: {options.output} holds faces already; name another folder or '
                        'remove it')
    faces = [face for data in options.data for face in read_faces(data, options.by_folder)]
    counts = write_faces(faces, options.output, About(
        options.source, options.licence, options.open), options.held_out)
    print(_summary(faces, counts))
    return 0


def _summary(faces: Sequence[Face], counts: Mapping[str, tuple[int, int]]) -> str:
    lines = []
    for source, (labelled, held_out) in counts.items():
        others = sum(face.source == source for face in faces) - labelled
        lines.append(f'{source:14s}{labelled:8d} labelled faces, {held_out} held out'
                     + (f'; {others} pictures without labels' if others else ''))
    return '\n'.join(lines)
