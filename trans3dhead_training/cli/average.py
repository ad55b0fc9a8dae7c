"""Write the weighted mean of two checkpoints, of which one was trained from the other."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import torch

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.network.checkpoint import load_checkpoint, save_checkpoint
from trans3dhead_ros.output_paths import check_outputs
from trans3dhead_training.engine.weight_average import average
from trans3dhead_training.export.export_checkpoint import export_beside


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('first', type=Path, help='checkpoint')
    parser.add_argument('second', type=Path, help='checkpoint; its head model is kept')
    parser.add_argument('--share', type=float, default=0.5,
                        help='weight of the second checkpoint, 0 to 1 (default: %(default)s)')
    parser.add_argument('--output', type=Path, required=True,
                        help='checkpoint to write, with its ONNX file next to it')


def run(options: Namespace) -> int:
    """
    Average two checkpoints.

    :param options: as `add_arguments` declares them.
    :return: exit code.
    :raises UserError: for a user's mistake.
    """
    check_outputs({'output': options.output}, [str(options.first), str(options.second)], force=True)
    device = torch.device('cpu')
    (first, parent), (second, metadata) = (
        load_checkpoint(path, device) for path in (options.first, options.second))
    network = average(first, second, options.share)
    # The metrics of neither are those of their mean.
    kept = {name: metadata[name] for name in ('training_data', 'licence')}
    save_checkpoint(options.output, network, {
        **kept, 'parent': parent['sha256'], 'metrics': {'averaged': {'share': options.share}}})
    for path in (options.output, export_beside(options.output)):
        if path is not None:
            print(path)
    return 0
