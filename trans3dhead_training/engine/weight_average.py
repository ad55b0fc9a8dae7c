"""The weighted mean of two networks, of which one was trained from the other."""

from __future__ import annotations

import torch

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.network.model import Trans3DHead


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
