"""The device resolver: the requested device is used, or there is a clear error."""

import logging

import pytest
import torch

from trans3dhead_ros.network.device import resolve_device

DEVICES = torch.cuda.device_count() if torch.cuda.is_available() else 0


def test_auto_uses_a_gpu_or_logs_once_that_there_is_none(caplog):
    with caplog.at_level(logging.INFO, logger='trans3dhead_ros.network.device'):
        device = resolve_device('auto')
    assert device.type == ('cuda' if DEVICES else 'cpu')
    assert len(caplog.records) == (0 if DEVICES else 1)


def test_a_missing_device_is_an_error_without_fallback():
    with pytest.raises(ValueError, match='^device: .*cuda'):
        resolve_device(f'cuda:{DEVICES}')


@pytest.mark.skipif(DEVICES > 0, reason='this machine has a CUDA device')
def test_cuda_without_a_gpu_is_an_error():
    with pytest.raises(ValueError, match='no CUDA device'):
        resolve_device('cuda')


@pytest.mark.parametrize('name', ['gpu', 'cuda:', 'cuda:x', 'cpu:1', '', None, 3])
def test_the_error_for_an_unknown_device_lists_the_valid_names(name):
    with pytest.raises(ValueError, match="^device: .*'auto'"):
        resolve_device(name)


def test_cpu_is_the_cpu():
    assert resolve_device('cpu') == torch.device('cpu')
    assert resolve_device(torch.device('cpu')) == torch.device('cpu')
