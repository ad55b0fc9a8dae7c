"""
Fit the head model to pictures without labels, where two teachers agree.

The points are those of MediaPipe in the face that YuNet finds; 3DDFA_V2 gives the second opinion. A
tenth of the pictures is held out by their names.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_training.cli.prepare_fits import print_report, write_figures
from trans3dhead_training.core.data_root import data_root
from trans3dhead_training.data.labels import read_labels
from trans3dhead_training.fitting.head_basis import load_head_model_npz
from trans3dhead_training.fitting.labelled_fits import fit_from_arrays, write_portraits
from trans3dhead_training.fitting.portrait_fits import read_unlabelled


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('folder', type=Path, help='pictures, also in folders below')
    parser.add_argument('--labelled', type=Path,
                        help='folder of labelled faces, on which the convention of the teacher is '
                             'measured (default: faces/ of the data folder)')
    parser.add_argument('--head-model', type=Path, default=Path('runs/head_model.npz'))
    parser.add_argument('--output', type=Path, default=Path('runs/unlabelled_fits.npz'))
    parser.add_argument('--baselines', type=Path, required=True,
                        help='folder with mediapipe/, 3ddfa_v2/ and yunet/')
    parser.add_argument('--report', type=Path, metavar='FILE.json', help='write the figures')
    parser.add_argument('--sheet', type=Path, metavar='FILE.png', help='draw best, median, worst')


def run(options: Namespace) -> int:
    """
    Fit the pictures and report how well that went.

    :param options: as `add_arguments` declares them.
    :return: exit code.
    :raises UserError: for a user's mistake.
    """
    records = read_unlabelled(options.folder)
    model = load_head_model_npz(options.head_model)
    labelled = [record for record in read_labels(options.labelled or data_root() / 'faces')
                if record.points is not None]
    fits = write_portraits(records, labelled, model, options.baselines, options.output)
    figures = print_report(records, fits['points'], fit_from_arrays(fits), fits['reason'], model,
                           options.output, options.sheet)
    write_figures(options.report, figures)
    return 0
