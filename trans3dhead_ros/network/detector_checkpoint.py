"""Checkpoints of head detectors: one safetensors file with the weights and their provenance."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.model_files.detector_metadata import (
    DETECTOR_FORMAT,
    DETECTOR_FORMAT_VERSION,
    parse_detector_metadata,
)
from trans3dhead_ros.model_files.model_metadata import COLOUR_ORDER, arrays_sha256
from trans3dhead_ros.model_files.model_pair import damaged
from trans3dhead_ros.model_files.tensor_file import open_tensors
from trans3dhead_ros.network.checkpoint import tensor_for_disk, tensors_sha256, write_tensors
from trans3dhead_ros.network.detector_config import DetectorConfig
from trans3dhead_ros.network.head_detector import HeadDetector

_DEFAULTS = {'training_data': 'not stated', 'licence': 'not stated', 'metrics': {}}
_MAX_WIDTH, _MAX_BLOCKS = 1024, 32
_REMEDY = 'use a file of `trans3dhead train` with the key task=detector'


def save_detector(
    path: str | os.PathLike[str], detector: HeadDetector, metadata: Mapping[str, Any],
) -> None:
    """
    Write a detector; an existing file is replaced atomically.

    :param path: of the file; its folder is created.
    :param detector: the network.
    :param metadata: JSON values by name. `training_data`, `licence` and `metrics` are always
        written ('not stated' where absent), other names are kept. The description of the tensors
        is added here.
    :raises UserError: when a tensor holds a number that is not finite.
    """
    tensors = {name: tensor_for_disk(name, tensor)
               for name, tensor in detector.state_dict().items()}
    full = {**_DEFAULTS, **metadata, 'format': DETECTOR_FORMAT,
            'format_version': DETECTOR_FORMAT_VERSION, 'network': detector.config.to_dict(),
            'colour_order': COLOUR_ORDER, 'sha256': tensors_sha256(tensors)}
    write_tensors(Path(path), tensors, {
        name: json.dumps(value, ensure_ascii=False, allow_nan=False)
        for name, value in full.items()})


def load_detector(
    path: str | os.PathLike[str], device: torch.device,
) -> tuple[HeadDetector, dict[str, Any]]:
    """
    Load a detector, all of it or nothing.

    :param path: of the checkpoint.
    :param device: where it is put.
    :return: the detector in evaluation mode, and the metadata.
    :raises UserError: when the file is missing or wrong.
    """
    path = Path(path)
    with open_tensors(path) as file:
        metadata = parse_detector_metadata(path, file.metadata)
        config = _checked_config(path, metadata['network'])
        with torch.device('meta'):
            expected = {name: tuple(tensor.shape)
                        for name, tensor in HeadDetector(config).state_dict().items()}
        found = {name: tuple(declared.shape) for name, declared in file.tensors.items()}
        if found != expected:
            differing = sorted(name for name in {*found, *expected}
                               if found.get(name) != expected.get(name))
            raise UserError(f'{path}: the tensors do not fit the network: {differing[0][:60]}; '
                            f'{_REMEDY}')
        arrays = file.read()
    if arrays_sha256(arrays) != metadata['sha256']:
        raise damaged(path)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(f'{path}: {name} holds a number that is not finite; {_REMEDY}')
    detector = HeadDetector(config)
    detector.load_state_dict(tensors)
    return detector.eval().to(device), metadata


def _checked_config(path: Path, values: dict[str, Any]) -> DetectorConfig:
    """Bound the numbers of a configuration before memory is allocated for them."""
    numbers = [number for value in values.values()
               for number in (value if isinstance(value, list) else [value])]
    if not all(type(number) is int and 0 <= number <= _MAX_WIDTH for number in numbers):
        raise UserError(f'{path}: a number of the network configuration is out of range; {_REMEDY}')
    try:
        config = DetectorConfig.from_dict(values)
    except (TypeError, ValueError) as error:
        raise UserError(f'{path}: network configuration not understood ({error}); '
                        f'{_REMEDY}') from None
    if max(config.blocks) > _MAX_BLOCKS:
        raise UserError(f'{path}: blocks {config.blocks} are out of range; {_REMEDY}')
    return config
