"""
`trans3dhead export`: write a checkpoint as ONNX, TorchScript or a torch.export program.

The file is read back and answers 100 crops as torch does, or it is not kept.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.network.checkpoint import bundled_checkpoint, load_checkpoint
from trans3dhead_training.export.check import (
    COUNT,
    Deviation,
    check_crops,
    deviations,
    table,
)
from trans3dhead_training.export.export_formats import FORMATS, Format, of_graph
from trans3dhead_training.export.graph import HeadGraph, describe


def export(
    checkpoint: Path, output: Path, form: Format, *, half: bool = False, vertices: bool = False,
    batch: int | None = None, count: int = COUNT,
) -> list[Deviation]:
    """
    Write a file, hold it against torch and keep it if it passes.

    :param batch: the size of batch that the file takes; None: any.
    :param count: of inputs that are compared.
    :return: how far each output is from torch's.
    :raises ValueError: the checkpoint is no good, or an output is beyond its bound; what lay at
        `output` before is still there then.
    """
    network, metadata = load_checkpoint(checkpoint, torch.device('cpu'))
    graph = HeadGraph(network, vertices).eval()
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f'.{output.stem}.{os.getpid()}{output.suffix}')
    try:
        form.write(partial, graph, batch, half, describe(graph, metadata, half))
        crops = check_crops(network.head_model, graph.size, count)
        rows = deviations(of_graph(graph), form.open(partial, graph.outputs), crops, batch, half)
        failing = [row for row in rows if not row.passes]
        if failing:
            worst = max(failing, key=lambda row: np.nan_to_num(row.largest / row.bound, nan=np.inf))
            raise UserError(f'export: {output} was not written: {worst.output} differs from torch '
                             f'by {worst.largest:.1e}, more than {worst.bound:.0e}, and so do '
                             f'{len(failing) - 1} other outputs; try another --format, or without '
                             '--half')
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Run `trans3dhead export`; `ValueError` for a user's mistake."""
    parser = ArgumentParser(prog='trans3dhead export', description=__doc__)
    parser.add_argument('checkpoint', nargs='?', type=Path, default=bundled_checkpoint(),
                        help='default: the bundled one')
    parser.add_argument('--output', type=Path, required=True, metavar='FILE')
    parser.add_argument('--format', choices=FORMATS, help='default: by the ending of FILE: '
                        + ', '.join(f'{form.suffix} {name}' for name, form in FORMATS.items()))
    parser.add_argument('--half', action='store_true',
                        help='half precision inside, single at the inputs and outputs (ONNX)')
    parser.add_argument('--vertices', action='store_true',
                        help="also answer the head's vertices, in the head frame, metres")
    parser.add_argument('--batch', type=_batch, default=None, metavar='dynamic|N',
                        help='crops at once (default: dynamic, any number)')
    options = parser.parse_args(argv)
    name = options.format or _format_of(options.output)
    rows = export(options.checkpoint, options.output, FORMATS[name], half=options.half,
                  vertices=options.vertices, batch=options.batch)
    print(f'{options.output}: {name}, {options.output.stat().st_size / 1e6:.1f} MB; difference '
          f'from torch on {COUNT} crops:\n{table(rows)}')
    if options.half:
        points = next(row for row in rows if row.output == 'landmarks')
        # Two crop units span the crop.
        print(f'  half precision moves a coordinate of a landmark by {50 * points.mean:.3f} % of '
              f'the crop on average, {50 * points.largest:.2f} % at most')
    return 0


def _format_of(output: Path) -> str:
    for name, form in FORMATS.items():
        if output.suffix == form.suffix:
            return name
    endings = ', '.join(form.suffix for form in FORMATS.values())
    raise UserError(f'--output: {output} ends in none of {endings}; name --format')


def _batch(text: str) -> int | None:
    if text == 'dynamic':
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 'dynamic' or a number from 1, got {text!r}")
    return int(text)
