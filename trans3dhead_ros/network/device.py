"""Choice of the torch device, and the precision of computations on it."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trans3dhead_ros.errors import UserError

_LOG = logging.getLogger(__name__)
_NAME = re.compile(r'auto|cpu|cuda(?::(?P<index>\d+))?')


def resolve_device(name: str | torch.device = 'auto') -> torch.device:
    """
    Return the torch device with a name.

    :param name: 'auto', 'cpu', 'cuda' or 'cuda:N'. 'auto' is the first CUDA device, or the CPU
        with one line in the log.
    :return: the device.
    :raises UserError: for any other name, or a CUDA device that this machine does not have.
    """
    text = str(name).strip().lower()
    match = _NAME.fullmatch(text)
    if match is None:
        raise UserError(f"device: {name!r} is unknown; use 'auto', 'cpu', 'cuda' or 'cuda:N'")
    if text == 'cpu':
        return torch.device('cpu')
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if text == 'auto':
        if count:
            return torch.device('cuda', 0)
        _LOG.info('device auto: no CUDA device, running on the CPU')
        return torch.device('cpu')
    index = int(match['index'] or 0)
    if count == 0:
        raise UserError(
            f"device: {name!r} was requested, but no CUDA device is available; use 'auto' or 'cpu'")
    if index >= count:
        raise UserError(
            f'device: {name!r} does not exist; this machine has cuda:0 … cuda:{count - 1}')
    return torch.device('cuda', index)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """
    Compute convolutions in full single precision, so that GPU and CPU give the same results.

    By default cuDNN rounds the inputs of a convolution to 10 bits (TF32), which moves landmarks by
    a tenth of a pixel and does not make a network of this size faster.

    :param device: other devices than CUDA need no change.
    :yield: nothing.
    """
    if device.type != 'cuda':
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield
