"""
`trans3dhead`: one command with subcommands.

A subcommand's module is imported when it is asked for, so that `trans3dhead track` does not need
what only training needs, nor the other way round.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from trans3dhead_ros.errors import UserError

EXIT_USER_MISTAKE = 2
EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class Command:
    """Where a subcommand's `main(argv)` lies, and its line in the help."""

    module: str
    help: str


COMMANDS = {
    'track': Command(
        'trans3dhead_ros.cli.track_command', 'follow the heads of a picture, folder, video, camera or bag'),
    'evaluate': Command(
        'trans3dhead_training.cli.evaluate', 'measure a network, or a peer, on labelled faces'),
    'info': Command('trans3dhead_ros.cli.info', 'what a checkpoint or an exported file is'),
    'bench': Command('trans3dhead_ros.cli.bench', 'how long the stages take on this machine'),
    'view': Command('trans3dhead_ros.cli.view_command', 'heads in the Rerun viewer, from a bag or live topics'),
    'node': Command('trans3dhead_ros.ros.node.head_tracker', 'the ROS 2 node, where `ros2 run` is absent'),
    'train': Command('trans3dhead_training.cli.train', 'train a network'),
    'ablate': Command(
        'trans3dhead_training.cli.ablate', 'train with parts of the method left out, and compare'),
    'prepare head-model': Command(
        'trans3dhead_training.fitting.head_basis', 'the head model, from a parametric head on disk'),
    'prepare clip': Command(
        'trans3dhead_training.cli.prepare_clip', 'two synthetic people turning their heads, with ground truth'),
    'prepare api-docs': Command(
        'tools.api_docs', "the node's page and permissions, read off the running node"),
    'prepare figures': Command('tools.figures', 'the pictures of the docs'),
    'prepare faces': Command(
        'trans3dhead_training.preparation.faces', 'your own pictures, as a folder that the others read'),
    'prepare fits': Command(
        'trans3dhead_training.fitting.prepare_fits', 'the head model fitted to labelled faces'),
    'prepare data': Command(
        'trans3dhead_training.cli.prepare_data', 'shards of labelled heads to train on'),
    'prepare scenes': Command(
        'trans3dhead_training.preparation.scene_frames', 'frames with several synthetic people, for detectors'),
    'prepare negatives': Command(
        'trans3dhead_training.preparation.hard_negatives', 'crops without a head at which detectors fire'),
    'export': Command(
        'trans3dhead_training.cli.export', 'write a checkpoint as an ONNX file'),
    'average': Command('trans3dhead_training.cli.average', 'the weighted mean of two checkpoints'),
}


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run a subcommand and return its exit code.

    A user's mistake is one line on the standard error and code 2; a traceback means a defect.
    """
    # OpenCV and FFmpeg print lines of their own about a file that they cannot read.
    os.environ.setdefault('OPENCV_LOG_LEVEL', 'SILENT')
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    arguments = list(sys.argv[1:] if argv is None else argv)
    name, rest = _split(arguments)
    if name is None:
        return _help(arguments)
    if name == 'train':
        # PyTorch's threads shall leave their cores to the loader while they wait for one another.
        os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # read when PyTorch is loaded
    try:
        return int(import_module(COMMANDS[name].module).main(rest) or 0)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Somebody closed our output, as `head` does; nothing more can be told to anyone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith('trans3dhead'):
            raise
        return _mistake(f'{name} needs the Python package {error.name}, which is not installed')
    except OSError as error:
        if error.filename is None:
            raise
        return _mistake(f'{error.filename}: {error.strerror}')
    except UserError as error:
        return _mistake(str(error))


def _split(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Return the name of the subcommand, of one word or two, and what follows it."""
    for words in (2, 1):
        name = ' '.join(arguments[:words])
        if len(arguments) >= words and name in COMMANDS:
            return name, arguments[words:]
    return None, arguments


def _help(arguments: list[str]) -> int:
    """Print the list of subcommands; code 2 where an unknown one was asked for."""
    asked = [word for word in arguments if word not in ('-h', '--help')]
    group = {name: command for name, command in COMMANDS.items()
             if asked and name.startswith(f'{asked[0]} ')}
    if asked and not (group and len(asked) == 1):
        known = ', '.join(COMMANDS)
        return _mistake(f'{" ".join(asked[:2 if group else 1])!r} is unknown; use one of {known}')
    if not arguments or (group and arguments == asked):
        print(_usage(group or COMMANDS), file=sys.stderr)
        return EXIT_USER_MISTAKE
    print(_usage(group or COMMANDS))
    return 0


def _usage(commands: dict[str, Command]) -> str:
    wide = max(map(len, commands))
    lines = [f'  {name:{wide}}  {command.help}' for name, command in commands.items()]
    return '\n'.join(['usage: trans3dhead COMMAND [options]', '', *lines, '',
                      'trans3dhead COMMAND --help tells more.'])


def _mistake(message: str) -> int:
    print('trans3dhead: error:', ' '.join(message.split()), file=sys.stderr)
    return EXIT_USER_MISTAKE


if __name__ == '__main__':
    sys.exit(main())
