"""
Fit the head model to pictures without labels, where two teachers agree.

The points are MediaPipe's in the face that YuNet finds, checked against 3DDFA_V2. A tenth of the
pictures is held out, chosen by a hash of their names.
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
    parser.add_argument('folder', type=Path, help='folder of pictures, including subfolders')
    parser.add_argument('--labelled', type=Path,
                        help='folder of labelled faces, on which the label convention of the '
                             'teacher is measured (default: faces/ in TRANS3DHEAD_DATA)')
    parser.add_argument('--head-model', type=Path, default=Path('runs/head_model.npz'),
                        help='output of `prepare head-model` (default: %(default)s)')
    parser.add_argument('--output', type=Path, default=Path('runs/unlabelled_fits.npz'),
                        help='file to write (default: %(default)s)')
    parser.add_argument('--baselines', type=Path, required=True,
                        help='folder with the teacher networks mediapipe/, 3ddfa_v2/ and yunet/')
    parser.add_argument('--report', type=Path, metavar='FILE.json',
                        help='write the figures to this file')
    parser.add_argument('--sheet', type=Path, metavar='FILE.png',
                        help='draw the best, median and worst fits')


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
