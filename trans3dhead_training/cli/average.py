"""`trans3dhead average`: the weighted mean of two checkpoints, one trained on from the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.network.checkpoint import load_checkpoint, save_checkpoint
from trans3dhead_ros.network.model import Trans3DHead


def average(first: Trans3DHead, second: Trans3DHead, share: float) -> Trans3DHead:
    """
    Return `second` with its weights moved to `share` of them and the rest of `first`'s.

    Between weights of which one was trained on from the other the error is nearly a straight line,
    and often below it (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022).

    :raises ValueError: they are of different networks, or the share is not within 0..1.
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run `trans3dhead average`."""
    parser = ArgumentParser(prog='trans3dhead average', description=__doc__)
    parser.add_argument('first', type=Path, help='checkpoint')
    parser.add_argument('second', type=Path, help='checkpoint; its head model is kept')
    parser.add_argument('--share', type=float, default=0.5, help='of the second')
    parser.add_argument('--output', type=Path, required=True)
    options = parser.parse_args(argv)
    device = torch.device('cpu')
    (first, _), (second, metadata) = (
        load_checkpoint(path, device) for path in (options.first, options.second))
    network = average(first, second, options.share)
    # The figures of either are not those of their mean.
    kept = {name: metadata[name] for name in ('training_data', 'licence')}
    save_checkpoint(options.output, network, {
        **kept, 'metrics': {'averaged': {'share': options.share}}})
    print(options.output)
    return 0
