"""
`trans3dhead`: one command with subcommands.

Each subcommand is a file of `cli/`, in this package or in the training package, and is imported
when it is chosen: `trans3dhead track` needs nothing that only training needs, and the list of
subcommands needs neither PyTorch nor ROS.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping, Sequence

from trans3dhead_ros.cli.command_parser import CommandParser
from trans3dhead_ros.cli.missing_package import missing_package
from trans3dhead_ros.errors import UserError

EXIT_USER_MISTAKE = 2
EXIT_INTERRUPTED = 130

RUNTIME = {
    'detect': 'find and align the heads in pictures',
    'track': 'follow the heads through a video, camera, bag or folder of frames',
    'view': 'show heads in the Rerun viewer, from a bag or from live topics',
    'node': 'run the ROS 2 node, where `ros2 run` is not available',
    'info': 'describe a model or a head detector',
    'bench': 'measure speed and memory on this machine, compared with a MobileNet',
}
"""Subcommand of `trans3dhead_ros/cli` → its line in the help."""
TRAINING = {
    'train': 'train a network',
    'evaluate': 'measure the accuracy of a network, or of a peer, on labelled data',
    'ablate': 'train with parts of the method left out, and compare',
    'average': 'write the weighted mean of two checkpoints',
    'export': 'write a checkpoint as an ONNX file',
    'update': "improve a model with a robot's own recordings",
    'gate': 'compare a candidate with the model in use, and pass or fail it',
}
"""Subcommand of `trans3dhead_training/cli` → its line in the help."""
PREPARE = {
    'head-model': 'the head model, from a parametric head on disk',
    'faces': 'your own pictures, converted to the input format of the other commands',
    'fits': 'the head model fitted to labelled faces',
    'profile-fits': 'the head model fitted to faces labelled on one side',
    'unlabelled-fits': 'the head model fitted to pictures without labels',
    'data': 'shards of labelled heads to train on',
    'scenes': 'frames with several synthetic people, for detectors',
    'clip': 'two synthetic people turning their heads, with ground truth',
}
"""Subcommand of `prepare`, `trans3dhead_training/cli/prepare_*` → its line in the help."""


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run a subcommand and return its exit code.

    A user's mistake is one line on the standard error and code 2; a traceback means a defect.

    :param argv: the arguments after `trans3dhead`; None takes those of the process.
    :return: the exit code.
    """
    try:
        code = run(argv)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has closed it, as `head` does; there is nobody left to tell.
        _discard_output()
        return 0
    except OSError as error:
        if error.filename is not None:
            return _mistake(f'{error.filename}: {error.strerror}')
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise
        _discard_output()
        return _mistake(f'the output cannot be written ({error.strerror})')
    except UserError as error:
        return _mistake(str(error))


def run(argv: Sequence[str] | None = None) -> int:
    """
    Run a subcommand and return its exit code, without reporting errors.

    :param argv: the arguments after `trans3dhead`; None takes those of the process.
    :return: the exit code.
    :raises UserError: for a user's mistake.
    """
    # OpenCV and FFmpeg print lines of their own about a file that they cannot read.
    os.environ.setdefault('OPENCV_LOG_LEVEL', 'SILENT')
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    try:
        options = build_parser().parse_args(argv)
        if options.version:
            from trans3dhead_ros.model_files.model_metadata import package_version
            print(f'trans3dhead {package_version()}')
            return 0
        if options.run is None:
            options.parser.print_help(sys.stderr)
            return EXIT_USER_MISTAKE
        return options.run(options)
    except ModuleNotFoundError as error:
        message = missing_package(error)
        if message is None:
            raise
        raise UserError(message) from error


def build_parser() -> CommandParser:
    """Return the parser of the whole command line."""
    parser = CommandParser(
        prog='trans3dhead', description='3D head alignment: pose, landmarks and mesh of each head.',
        epilog='Run trans3dhead COMMAND --help for details.')
    parser.add_argument('--version', action='store_true', help='print the version and exit')
    commands = _add_group(parser)
    _add_commands(commands, RUNTIME, 'trans3dhead_ros.cli.')
    _add_commands(commands, TRAINING, 'trans3dhead_training.cli.')
    prepare = commands.add_parser(
        'prepare', help=f'prepare data for training: {", ".join(PREPARE)}',
        description='Prepare data for training.',
        epilog='Run trans3dhead prepare COMMAND --help for details.')
    _add_commands(_add_group(prepare), PREPARE, 'trans3dhead_training.cli.prepare_')
    return parser


def _add_group(parser: CommandParser):
    parser.set_defaults(run=None, parser=parser)
    return parser.add_subparsers(metavar='COMMAND', title='commands')


def _add_commands(group, commands: Mapping[str, str], prefix: str) -> None:
    for name, text in commands.items():
        group.add_parser(name, help=text, module=prefix + name.replace('-', '_'))


def _discard_output() -> None:
    """Send what is still buffered for the standard output nowhere: Python flushes it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _mistake(message: str) -> int:
    print('trans3dhead: error:', ' '.join(message.split()), file=sys.stderr)
    return EXIT_USER_MISTAKE


if __name__ == '__main__':
    sys.exit(main())
