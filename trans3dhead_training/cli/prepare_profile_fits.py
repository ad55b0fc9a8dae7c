"""
Fit the head model to photographs of which only the visible half of the face is labelled.

Their files are named <kind>_<person>_<number>, and `labels.csv` has nan where a point is not
labelled. The hidden half is completed from the fit, in the convention of fully labelled faces.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError
from trans3dhead_training.cli.prepare_fits import print_report, write_figures
from trans3dhead_training.core.data_root import data_root
from trans3dhead_training.data.profiles import read_profiles
from trans3dhead_training.fitting.head_basis import load_head_model_npz
from trans3dhead_training.fitting.labelled_fits import fit_from_arrays, save_fits
from trans3dhead_training.fitting.profile_fits import fit_profiles
from trans3dhead_training.fitting.source_conventions import HAND, stored_convention
from trans3dhead_training.preparation.photograph_maker import read_fits


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('--data', type=Path,
                        help='folder with labels.csv (default: profiles/ in TRANS3DHEAD_DATA)')
    parser.add_argument('--head-model', type=Path, default=Path('runs/head_model.npz'),
                        help='output of `prepare head-model` (default: %(default)s)')
    parser.add_argument('--fits', type=Path, default=Path('runs/fits.npz'),
                        help='fits of fully labelled faces, whose label convention the hidden half '
                             'follows (default: %(default)s)')
    parser.add_argument('--output', type=Path, default=Path('runs/profile_fits.npz'),
                        help='file to write (default: %(default)s)')
    parser.add_argument('--baselines', type=Path, required=True,
                        help='folder with the teacher networks mediapipe/ and 3ddfa_v2/')
    parser.add_argument('--report', type=Path, metavar='FILE.json',
                        help='write the figures to this file')
    parser.add_argument('--sheet', type=Path, metavar='FILE.png',
                        help='draw the best, median and worst fits')


def run(options: Namespace) -> int:
    """
    Fit the faces and report how well that went.

    :param options: as `add_arguments` declares them.
    :return: exit code.
    :raises UserError: for a user's mistake.
    """
    records = read_profiles(options.data or data_root() / 'profiles')
    if not records:
        raise UserError('--data: no face has labels')
    model = load_head_model_npz(options.head_model)
    stored = read_fits(options.fits)
    if f'convention_inner_{HAND}' not in stored:
        raise UserError(f'--fits: {options.fits} are not fits of labelled faces')
    fits = fit_profiles(records, model, stored_convention(stored, HAND), options.baselines)
    save_fits(options.output, fits)
    figures = print_report(
        records, np.stack([record.points for record in records]), fit_from_arrays(fits, 0),
        fits['reason'][:, 0], model, options.output, options.sheet)
    write_figures(options.report, figures)
    return 0
