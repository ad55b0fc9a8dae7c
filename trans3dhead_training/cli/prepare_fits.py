"""Fit the head model to every labelled face and its mirror image."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_training.core.data_root import data_root
from trans3dhead_training.data.labels import FaceRecord, read_labels
from trans3dhead_training.fitting.fit import Fit
from trans3dhead_training.fitting.fit_report import fit_sheet, format_table, summarize
from trans3dhead_training.fitting.head_basis import load_head_model_npz
from trans3dhead_training.fitting.labelled_fits import (
    fit_from_arrays,
    fit_records,
    save_fits,
    write_portraits,
)


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('--data', type=Path,
                        help='folder with labels.csv (default: faces/ in TRANS3DHEAD_DATA)')
    parser.add_argument('--head-model', type=Path, default=Path('runs/head_model.npz'),
                        help='output of `prepare head-model` (default: %(default)s)')
    parser.add_argument('--output', type=Path, default=Path('runs/fits.npz'),
                        help='file to write (default: %(default)s)')
    parser.add_argument('--baselines', type=Path,
                        help='folder with the teacher networks mediapipe/, 3ddfa_v2/ and yunet/, '
                             'to check the fits against')
    parser.add_argument('--portraits', type=Path, metavar='FILE.npz',
                        help='also fit the pictures without labels, and write them to this file')
    parser.add_argument('--report', type=Path, metavar='FILE.json',
                        help='write the figures to this file')
    parser.add_argument('--sheet', type=Path, metavar='FILE.png',
                        help='draw the best, median and worst fits; with --portraits also '
                             'FILE_portraits.png')


def run(options: Namespace) -> int:
    """
    Fit the faces and report how well that went.

    :param options: as `add_arguments` declares them.
    :return: exit code.
    :raises UserError: for a user's mistake.
    """
    if options.portraits and not options.baselines:
        raise UserError('--portraits needs --baselines, whose points stand in for labels')
    records = read_labels(options.data or data_root() / 'faces')
    model = load_head_model_npz(options.head_model)
    labelled = [record for record in records if record.points is not None]
    others = [record for record in records if record.points is None]
    if not labelled and not (others and options.portraits):
        raise UserError('--data: no face has labels; with --portraits and --baselines a teacher '
                        'points at faces in pictures without labels')
    figures = {}
    if labelled:
        fits = fit_records(labelled, model, options.baselines)
        save_fits(options.output, fits)
        figures['labelled'] = print_report(
            labelled, np.stack([record.points for record in labelled]), fit_from_arrays(fits, 0),
            fits['reason'][:, 0], model, options.output, options.sheet)
    if options.portraits and others:
        fits = write_portraits(others, labelled, model, options.baselines, options.portraits)
        sheet = options.sheet
        figures['portraits'] = print_report(
            others, fits['points'], fit_from_arrays(fits), fits['reason'], model, options.portraits,
            sheet and sheet.with_name(f'{sheet.stem}_portraits{sheet.suffix}'))
    write_figures(options.report, figures)
    return 0


def write_figures(path: Path | None, figures: Mapping[str, object]) -> None:
    """Write figures as JSON, where a path is given."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures, indent=2) + '\n')


def print_report(
    records: Sequence[FaceRecord], points: np.ndarray, fit: Fit, reason: np.ndarray,
    model: HeadModule, output: Path, sheet: Path | None,
) -> dict[str, dict[str, object]]:
    """
    Print the statistics of fits, and draw some of them.

    :param records: N records.
    :param points: (N, 68, 2) px, the labels; nan where no face was found.
    :param fit: of the N faces.
    :param reason: (N,) see `rejection_reasons`.
    :param model: of the fits.
    :param output: the file of the fits, which is named.
    :param sheet: picture to draw; None: none.
    :return: the statistics of each source.
    :raises UserError: the sheet cannot be written.
    """
    figures = summarize(fit, reason, [record.source for record in records])
    print(f'{output}:\n{format_table(figures)}')
    if sheet is not None:
        found = np.flatnonzero(np.isfinite(points).any((1, 2)))
        sheet.parent.mkdir(parents=True, exist_ok=True)
        shown = Fit(*(getattr(fit, field.name)[found] for field in fields(Fit)))
        if not cv2.imwrite(str(sheet), fit_sheet(
                model, [records[row].path for row in found], points[found], shown,
                reason[found])):
            raise UserError(f'sheet: {sheet} could not be written; name a .png in a folder')
    return figures
