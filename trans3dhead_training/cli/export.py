"""
Write a checkpoint as an ONNX file, which runs without torch.

The file is read back and compared with torch on 100 crops; it is kept only if they agree.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.model_files.model_metadata import bundled_model
from trans3dhead_ros.output_paths import check_outputs
from trans3dhead_training.export.export_checkpoint import export_checkpoint
from trans3dhead_training.export.onnx_check import CROP_COUNT, table


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('checkpoint', nargs='?', type=Path, default=bundled_model(),
                        help='checkpoint of a model or a head detector (default: the bundled '
                             'model)')
    parser.add_argument('--output', type=Path, metavar='FILE.onnx',
                        help='file to write (default: that of the checkpoint, with the extension '
                             '.onnx)')
    parser.add_argument('--vertices', action='store_true',
                        help='add an output with the vertices (head frame, metres)')
    parser.add_argument('--batch', type=_batch, default=None, metavar='dynamic|N',
                        help='batch size (default: dynamic, any number of crops)')


def run(options: argparse.Namespace) -> int:
    """
    Export a checkpoint.

    :param options: as `add_arguments` declares them.
    :return: exit code.
    :raises UserError: for a user's mistake.
    """
    output = options.output or options.checkpoint.with_suffix('.onnx')
    if output.suffix != '.onnx':
        raise UserError(f'--output: {output} does not end in .onnx')
    check_outputs({'output': output}, [str(options.checkpoint)], force=True)
    rows = export_checkpoint(options.checkpoint, output, vertices=options.vertices,
                             batch=options.batch)
    print(f'{output}: {output.stat().st_size / 1e6:.1f} MB; difference from torch '
          f'on {CROP_COUNT} crops:\n{table(rows)}')
    return 0


def _batch(text: str) -> int | None:
    if text == 'dynamic':
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 'dynamic' or a number from 1, got {text!r}")
    return int(text)
