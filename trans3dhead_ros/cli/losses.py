"""The options of `detect` and `track` that say how their files are read, and what was not read."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence

from trans3dhead_ros.arguments import ArgumentParser

EXIT_LOSS = 1
"""Exit code where --strict is given and something could not be read."""
_MOST_NAMED = 50


def add_reading_arguments(parser: ArgumentParser) -> None:
    """
    Declare `--force`, `--strict` and `--bits`.

    :param parser: of a subcommand.
    """
    parser.add_argument('--force', action='store_true', help='replace existing outputs')
    parser.add_argument('--strict', action='store_true',
                        help=f'exit with code {EXIT_LOSS} if something could not be read, instead '
                             'of only warning')
    parser.add_argument('--bits', type=int, default=0, metavar='N',
                        help='significant bits of 16-bit samples, 8 to 16 (default: as stated in '
                             'the file, or inferred from the brightest sample)')


def check_bits(options: Namespace) -> None:
    """Refuse a number of `--bits` that no camera has, also where nothing has samples of 16."""
    from trans3dhead_ros.media.bit_depth import BitDepth
    BitDepth(options.bits)


def report_losses(options: Namespace, losses: Sequence[str], notes: Sequence[str]) -> int:
    """
    Print what was not read and what was assumed, to the standard error.

    :param options: with `strict`.
    :param losses: what could not be read, one line each.
    :param notes: what was assumed, one line each.
    :return: the exit code of the subcommand.
    """
    for note in notes:
        print(f'note: {note}; --bits sets the number', file=sys.stderr)
    for line in losses[:_MOST_NAMED]:
        print(f'not read: {line}', file=sys.stderr)
    if len(losses) > _MOST_NAMED:
        print(f'not read: … and {len(losses) - _MOST_NAMED} more', file=sys.stderr)
    return EXIT_LOSS if losses and options.strict else 0
