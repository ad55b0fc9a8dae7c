"""
Checkpoints: one safetensors file that holds a network, its head model and their provenance.

Never pickle: an untrusted file can be wrong, but it cannot run code. Floats are stored in half
precision where the loss does not matter. The metadata describes the tensors, and `load_checkpoint`
checks one against the other before it allocates memory for them; every number that determines
memory or time has an upper bound.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from trans3dhead_ros.atomic_files import write_bytes
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.model_files.model_metadata import CHECKPOINT_REMEDY as _REMEDY
from trans3dhead_ros.model_files.model_metadata import (
    COLOUR_ORDER,
    FORMAT,
    FORMAT_VERSION,
    arrays_sha256,
    bundled_model,
)
from trans3dhead_ros.model_files.model_pair import HEAD_PREFIX, damaged, metadata_of
from trans3dhead_ros.model_files.tensor_file import TensorFile, open_tensors
from trans3dhead_ros.network.config import NetworkConfig
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_ros.network.model import Trans3DHead

_HEAD = HEAD_PREFIX
# Half precision would move vertices of the mean head by up to 0.06 mm, to save 20 kB.
_SINGLE_PRECISION = (_HEAD + 'mean',)
_INDICES = ('triangles', 'landmark_indices', 'contour_indices')
# Far above the sizes of any network for a robot.
_MAX_VALUES = {'input_size': 1024, 'crop_scale': 10, 'widths': 8192, 'blocks': 64, 'dim': 8192,
               'num_heads': 512, 'ffn_dim': 65536, 'content_rank': 8192, 'encoder_layers': 64,
               'decoder_layers': 64}
_TOPOLOGY = ('vertices', 'triangles', 'identity', 'expression')
_DEFAULTS = {'training_data': 'not stated', 'licence': 'not stated', 'metrics': {}}


def save_checkpoint(
    path: str | os.PathLike[str], network: Trans3DHead, metadata: Mapping[str, Any],
) -> None:
    """
    Write a network with its head model; an existing file is replaced atomically.

    :param path: of the file; its folder is created.
    :param network: the network.
    :param metadata: JSON values by name. `training_data`, `licence` and `metrics` are always
        written ('not stated' where absent), other names are kept. The description of the tensors
        is added here.
    :raises ValueError: when a tensor holds a number that is not finite or the metadata is not JSON.
    """
    tensors = {name: tensor_for_disk(name, tensor) for name, tensor in network.state_dict().items()}
    head = network.head_model
    full = {
        **_DEFAULTS, **metadata,
        'format': FORMAT,
        'format_version': FORMAT_VERSION,
        'network': network.config.to_dict(),
        'expression_names': list(head.expression_names),
        'head_model': _topology(tensors),
        'input_size': network.config.input_size,
        'colour_order': COLOUR_ORDER,
        'sha256': tensors_sha256(tensors),
    }
    try:
        text = {name: json.dumps(value, ensure_ascii=False, allow_nan=False)
                for name, value in full.items()}
    except (TypeError, ValueError) as error:
        raise ValueError(f'metadata: holds a value that is not JSON ({error})') from None
    write_tensors(Path(path), tensors, text)


def write_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str],
) -> None:
    """
    Write a safetensors file; an existing file is replaced atomically.

    :param path: of the file; its folder is created.
    :param tensors: by name.
    :param metadata: texts by name.
    """
    write_bytes(path, save(dict(tensors), metadata=dict(metadata)))


def load_checkpoint(
    path: str | os.PathLike[str], device: torch.device,
) -> tuple[Trans3DHead, dict[str, Any]]:
    """
    Load a network, all of it or nothing.

    :param path: of the checkpoint.
    :param device: where the network is put.
    :return: the network in evaluation mode, and the metadata.
    :raises UserError: when the file is missing or wrong; says how, and what to do.
    """
    path = Path(path)
    with open_tensors(path) as file:
        metadata = metadata_of(path, file)
        config = _config(path, metadata)
        names = metadata['expression_names']
        _check_shapes(path, file, config, metadata)
        arrays = file.read()
    if arrays_sha256(arrays) != metadata['sha256']:
        raise damaged(path)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    _check_values(path, tensors)
    head = HeadModule.from_state(_head_state(tensors), names)
    network = Trans3DHead(config, head)
    network.load_state_dict(tensors)
    return network.eval().to(device), metadata


def load_head_model(checkpoint: str | os.PathLike[str] | None = None) -> HeadModule:
    """
    Return the head model of a checkpoint.

    :param checkpoint: path of the checkpoint; None is the bundled one.
    :return: the model on the CPU.
    :raises UserError: when the file is missing or not a checkpoint of this project.
    """
    network, _ = load_checkpoint(checkpoint or bundled_model(), torch.device('cpu'))
    return network.head_model


def _config(path: Path, metadata: dict[str, Any]) -> NetworkConfig:
    _check_sizes(path, metadata['network'])
    try:
        config = NetworkConfig.from_dict(metadata['network'])
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f'{path}: network configuration not understood ({error}); '
                        f'{_REMEDY}') from None
    if metadata['input_size'] != config.input_size:
        raise UserError(f'{path}: input size {metadata["input_size"]} contradicts the network '
                        f'configuration ({config.input_size}); {_REMEDY}')
    return config


def _check_sizes(path: Path, values: dict[str, Any]) -> None:
    """Check the types and the magnitude of the numbers of a configuration."""
    for field in fields(NetworkConfig):
        value, usual = values.get(field.name, field.default), field.default
        numbers = value if isinstance(usual, tuple) and isinstance(value, list | tuple) else [value]
        kind = type(usual[0]) if isinstance(usual, tuple) else type(usual)
        if len(numbers) > 16 or not all(
                type(number) is kind or (kind is float and type(number) is int)
                for number in numbers):
            raise UserError(f'{path}: network configuration not understood ({field.name}: '
                            f'expected a value like {usual!r}, got {str(value)[:60]}); {_REMEDY}')
        largest = _MAX_VALUES.get(field.name, math.inf)
        if kind in (int, float) and not all(0 <= number <= largest for number in numbers):
            raise UserError(f'{path}: {field.name} {str(value)[:60]} is out of range for a '
                            f'network; {_REMEDY}')


def _check_shapes(
    path: Path, file: TensorFile, config: NetworkConfig, metadata: dict[str, Any],
) -> None:
    """Compare shapes and types in the header of the file with those of the configuration."""
    found = {name: declared.shape for name, declared in file.tensors.items()}
    # Every layer has a tensor: building a configuration with more layers would be slow, and fail.
    if max(config.encoder_layers, config.decoder_layers, *config.blocks) > len(found):
        raise UserError(f'{path}: the tensors do not fit the network: its configuration has more '
                        f'layers than the file has tensors; {_REMEDY}')
    try:
        with torch.device('meta'):
            head = HeadModule.from_state(
                _head_state({name: torch.empty(shape, dtype=_head_dtype(name))
                             for name, shape in found.items() if name.startswith(_HEAD)}),
                metadata['expression_names'])
            state = Trans3DHead(config, head).state_dict()
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f'{path}: no network can be built from its configuration and head model '
                        f'({error}); {_REMEDY}') from None
    expected = {name: tuple(tensor.shape) for name, tensor in state.items()}
    problems = [f'{name} is missing' for name in sorted(expected.keys() - found.keys())]
    problems += [f'{name[:60]} is unknown' for name in sorted(found.keys() - expected.keys())]
    problems += [f'{name} has shape {found[name]}, not {shape}'
                 for name, shape in sorted(expected.items()) if found.get(name, shape) != shape]
    problems += [f'{name} is empty' for name, shape in sorted(found.items()) if 0 in shape]
    for name in sorted(expected.keys() & found.keys()):
        allowed = ('F16', 'F32') if state[name].is_floating_point() else ('I32', 'I64')
        if file.tensors[name].dtype not in allowed:
            problems.append(f'{name} has type {file.tensors[name].dtype}, not {allowed[0]}')
    counts = {key: found.get(_HEAD + name, (0,))[0] for key, name in zip(
        _TOPOLOGY, ('mean', 'triangles', 'identity', 'expression'), strict=True)}
    if {name: metadata['head_model'].get(name) for name in _TOPOLOGY} != counts:
        problems.append(f'the head model has {counts}, the metadata says '
                        f'{str(metadata["head_model"])[:100]}')
    if problems:
        more = f' and {len(problems) - 1} more' if len(problems) > 1 else ''
        raise UserError(
            f'{path}: the tensors do not fit the network: {problems[0]}{more}; {_REMEDY}')


def _head_dtype(name: str) -> torch.dtype:
    return torch.int64 if name.removeprefix(_HEAD) in _INDICES else torch.float32


def _head_state(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of the head model under its own names, indices as int64."""
    state = {name.removeprefix(_HEAD): tensor for name, tensor in tensors.items()
             if name.startswith(_HEAD)}
    return {name: tensor if tensor.is_floating_point() else tensor.long()
            for name, tensor in state.items()}


def _check_values(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(f'{path}: {name} holds a number that is not finite; {_REMEDY}')
    vertices = tensors[_HEAD + 'mean'].shape[0]
    for name, indices in _head_state(tensors).items():
        if not indices.is_floating_point() and (indices.min() < 0 or indices.max() >= vertices):
            raise UserError(f'{path}: {name} refers to vertices that do not exist; {_REMEDY}')


def _topology(tensors: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """Return the number of vertices, triangles, identity and expression shapes."""
    names = ('mean', 'triangles', 'identity', 'expression')
    return {key: tensors[_HEAD + name].shape[0] for key, name in zip(_TOPOLOGY, names, strict=True)}


def tensor_for_disk(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """
    Return a tensor as checkpoints hold it: half precision where its numbers allow that.

    :param name: of the tensor.
    :param tensor: of a network.
    :return: a copy on the CPU.
    :raises UserError: it holds a number that is not finite.
    """
    tensor = tensor.detach().cpu().contiguous().clone()
    if tensor.is_floating_point():
        if not torch.isfinite(tensor).all():
            raise UserError(f'network: {name} holds a number that is not finite; the training '
                            'diverged, take an earlier state')
        half = tensor.half()
        fits = torch.isfinite(half).all() and name not in _SINGLE_PRECISION
        return half if fits else tensor.float()
    return tensor.int() if tensor.dtype == torch.int64 else tensor


def tensors_sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of names, types, shapes and bytes."""
    return arrays_sha256({name: tensor.numpy() for name, tensor in tensors.items()})
