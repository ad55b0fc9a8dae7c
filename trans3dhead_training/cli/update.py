"""
Improve a model with a robot's own recordings.

Heads are collected from bags, videos and folders of frames, labelled with averaged predictions of
the current model (and with your own labels), fitted, and trained on together with a replay set. The
result is a candidate, which the gate compares with the current model. Repeat the command to resume
a run that was stopped or killed. Exit code 1: the candidate failed the gate. See docs/update.md.
"""

from __future__ import annotations

import os
from argparse import Namespace
from dataclasses import fields
from pathlib import Path

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.field_docs import field_docs
from trans3dhead_training.update.update_config import UpdateConfig
from trans3dhead_training.update.update_run import UpdateRun

EXIT_SIGNAL = 128
EXIT_FAILED = 1
STAGES = ('collect', 'label', 'fit', 'prepare', 'train', 'evaluate')


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('sources', nargs='*', metavar='SOURCE',
                        help='ROS 2 bag, video, or folder of frames')
    parser.add_argument('--output', type=Path, required=True, metavar='RUN',
                        help='folder of the run')
    parser.add_argument('--labels', type=Path, metavar='FOLDER',
                        help='your own labels: labels.csv with pictures, or with the names of '
                             'crops of the run')
    parser.add_argument('--model', type=Path,
                        help='either file of the current model (default: the bundled one)')
    parser.add_argument('--topic', help='image topic, if a bag has several')
    parser.add_argument('--stages', nargs='+', choices=STAGES, default=list(STAGES),
                        help='run only these stages, in their fixed order (default: all)')
    parser.add_argument('--forget', action='store_true',
                        help='delete the crops of the run and everything else that shows people, '
                             'and list what was derived from them')
    parser.add_argument('--expired', action='store_true',
                        help='with --forget: delete only if --keep-days have passed')
    settings = parser.add_argument_group('settings')
    texts = field_docs(UpdateConfig)
    for field in fields(UpdateConfig):
        default = getattr(UpdateConfig(), field.name)
        settings.add_argument(f'--{field.name.replace("_", "-")}', type=type(default),
                              default=default, metavar='N',
                              help=f'{" ".join(texts[field.name].split())} Default: %(default)s')


def run(options: Namespace) -> int:
    """
    Update a model, or delete what a run has kept.

    :param options: as `add_arguments` declares them.
    :return: exit code; `EXIT_FAILED` where the candidate did not pass the gate, `EXIT_SIGNAL` plus
        its number where a signal stopped the run in order.
    :raises UserError: for a user's mistake.
    """
    if options.forget or options.expired:
        return _forget(options)
    if not options.sources:
        raise UserError('source: name at least one bag, video or folder of frames')
    config = UpdateConfig(**{field.name: getattr(options, field.name)
                             for field in fields(UpdateConfig)})
    # Read when PyTorch is loaded, which is why nothing above imports it.
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
    from trans3dhead_training.update.update_stages import UpdateTask, update
    from trans3dhead_training.update.whole_files import read_json
    made, stopped_by = update(UpdateTask(
        tuple(options.sources), options.output, options.model, options.labels, options.topic),
        config, options.stages)
    if stopped_by:
        print(f'{made.path}: stopped; repeat the command to resume')
        return EXIT_SIGNAL + stopped_by
    print(f'{made.path}: to delete everything in it that shows people, run '
          f'`trans3dhead update --forget --output {made.path}`')
    if not made.report.is_file():
        return 0
    verdict = read_json(made.report)['gate']
    print('\n'.join([f'{made.candidate} passed the gate'] if verdict['passed'] else [
        f'{made.candidate} failed the gate:', *verdict['reasons']]))
    return 0 if verdict['passed'] else EXIT_FAILED


def _forget(options: Namespace) -> int:
    if not options.forget:
        raise UserError('expired: is for --forget')
    kept = UpdateRun(options.output)
    if options.expired and kept.manifest.is_file() and not kept.is_expired():
        print(f'{kept.path}: not expired, nothing was deleted')
        return 0
    print('\n'.join(kept.forget()))
    return 0
