"""Write the weighted mean of two checkpoints, of which one was trained from the other."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import torch

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.network.checkpoint import load_checkpoint, save_checkpoint
from trans3dhead_ros.network.model import Trans3DHead
from trans3dhead_ros.output_paths import check_outputs
from trans3dhead_training.export.export_checkpoint import export_beside


def average(first: Trans3DHead, second: Trans3DHead, share: float) -> Trans3DHead:
    """
    Interpolate linearly between the weights of two networks.

    Where one was trained from the other, the error between them lies near a straight line and often
    below it (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022).

    :param first: whose weights count 1 - share.
    :param second: whose weights count share; it is changed, and keeps its head model.
    :param share: 0 to 1.
    :return: `second`.
    :raises UserError: the networks have different configurations, or the share is outside 0..1.
    """
    if not 0.0 <= share <= 1.0:
        raise UserError(f'--share: expected 0..1, got {share}')
    if first.config != second.config:
        raise UserError('average: the two checkpoints are of different networks')
    before = first.state_dict()
    second.load_state_dict({
        name: value if name.startswith('head_model.') or not value.is_floating_point()
        else torch.lerp(before[name].float(), value.float(), share).to(value.dtype)
        for name, value in second.state_dict().items()})
    return second


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('first', type=Path, help='checkpoint')
    parser.add_argument('second', type=Path, help='checkpoint; its head model is kept')
    parser.add_argument('--share', type=float, default=0.5,
                        help='weight of the second, 0 to 1 (default: %(default)s)')
    parser.add_argument('--output', type=Path, required=True,
                        help='checkpoint to write; its ONNX file is written beside it')


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
