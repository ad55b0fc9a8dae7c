"""
A model is a pair of files beside each other, and either path names it.

`NAME.onnx` is the graph that every engine runs, `NAME.safetensors` the checkpoint that training and
torch continue from. Either can be alone: a graph runs without torch, a checkpoint with torch only.
Both carry the same metadata, among them the SHA-256 of the weights, by which they are known to
belong together.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.head_model import HeadModel
from trans3dhead_ros.model_files.head_model_text import checked_head_model, read_head_model
from trans3dhead_ros.model_files.model_metadata import (
    CHECKPOINT_REMEDY,
    EXPORT_REMEDY,
    arrays_sha256,
    model_path,
    parse_metadata,
)
from trans3dhead_ros.model_files.onnx_graph import OnnxGraph, read_onnx
from trans3dhead_ros.model_files.tensor_file import TensorFile, open_tensors

CHECKPOINT_SUFFIX, GRAPH_SUFFIX = '.safetensors', '.onnx'
HEAD_PREFIX = 'head_model.'
"""What the names of the head model's tensors begin with in a checkpoint."""

_NUMBERS = ('format_version', 'input_size', 'crop_scale')
_SHARED = ('network', 'expression_names', 'head_model', 'input_size')


@dataclass(frozen=True, eq=False)
class NetworkFiles:
    """The files of one network, whose metadata have been checked."""

    path: Path
    """By which it was named."""
    checkpoint: Path | None
    """The `.safetensors` file, if there is one."""
    graph: OnnxGraph | None
    """The ONNX file, if there is one."""
    metadata: Mapping[str, Any]
    """What both files say, by name."""


@dataclass(frozen=True, eq=False)
class ModelFiles(NetworkFiles):
    """The files of a network that aligns heads, with its head model."""

    def head_model(self) -> HeadModel:
        """
        Read the head model of the model.

        :return: the head model.
        :raises ValueError: when the file is damaged.
        """
        names = self.metadata['expression_names']
        if self.graph is not None:
            try:
                return read_head_model(self.graph.metadata.get('head_basis', ''), names)
            except UserError as error:
                raise UserError(f'{self.path}: {error}; {EXPORT_REMEDY}') from None
        return read_checkpoint_head(self.checkpoint, names)


def open_model(model: str | os.PathLike[str] | None = None) -> ModelFiles:
    """
    Find and check the files of a model.

    :param model: path of either file, or 'default' or 'open' for a model that comes with the
        package; None is 'default'.
    :return: its files.
    :raises ValueError: when a file is missing or wrong, or the two are not of the same weights.
    """
    path = model_path(model)
    other = {GRAPH_SUFFIX: CHECKPOINT_SUFFIX, CHECKPOINT_SUFFIX: GRAPH_SUFFIX}.get(path.suffix)
    if other and not os.path.exists(path) and os.path.isfile(path.with_suffix(other)):
        raise UserError(f'{path}: no such file, but {path.with_suffix(other).name} exists; '
                        'give that one')
    if path.suffix == GRAPH_SUFFIX:
        graph, metadata = read_graph(path)
        checkpoint = path.with_suffix(CHECKPOINT_SUFFIX)
        if not checkpoint.is_file():
            return ModelFiles(path, None, graph, metadata)
        other = read_metadata(checkpoint)
        check_pair(path, metadata, checkpoint, other, _SHARED)
        return ModelFiles(path, checkpoint, graph, other)
    metadata = read_metadata(path)
    beside = path.with_suffix(GRAPH_SUFFIX)
    if path.suffix != CHECKPOINT_SUFFIX or not beside.is_file():
        return ModelFiles(path, path, None, metadata)
    graph, other = read_graph(beside)
    check_pair(beside, other, path, metadata, _SHARED)
    return ModelFiles(path, path, graph, metadata)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """
    Return the metadata of a checkpoint without reading its tensors.

    :param path: of the checkpoint.
    :return: JSON values by name.
    :raises ValueError: when the file is missing, truncated, not a checkpoint of this project or of
        another format version.
    """
    with open_tensors(Path(path)) as file:
        return metadata_of(Path(path), file)


def metadata_of(path: Path, file: TensorFile) -> dict[str, Any]:
    """Return the checked metadata of an open checkpoint; its path is for messages."""
    return parse_metadata(path, file.metadata, 'a safetensors file, but not a checkpoint',
                          CHECKPOINT_REMEDY)


def read_graph(path: Path) -> tuple[OnnxGraph, dict[str, Any]]:
    """
    Read an ONNX file of `trans3dhead export`.

    :param path: of the file.
    :return: the file, and its metadata as JSON values by name.
    :raises ValueError: when it is missing, damaged, or was not written by `trans3dhead export`.
    """
    graph = read_onnx(path)
    texts = graph_texts(graph)
    metadata = parse_metadata(path, texts, 'an ONNX file, but not a model', EXPORT_REMEDY)
    check_graph(path, graph, metadata)
    size = metadata['input_size']
    if graph.input_shape[1:] != (3, size, size):
        raise UserError(f'{path}: the graph takes {graph.input_shape[1:]}, and crops of '
                        f'input_size {size} are {(3, size, size)}; {EXPORT_REMEDY}')
    return graph, metadata


def read_checkpoint_head(path: Path, expression_names: list[str]) -> HeadModel:
    """
    Read the head model of a checkpoint.

    :param path: of the checkpoint.
    :param expression_names: of the E expressions.
    :return: the head model.
    :raises ValueError: when the file is damaged.
    """
    arrays = read_verified(path)
    try:
        return checked_head_model(HeadModel.from_arrays(
            {name.removeprefix(HEAD_PREFIX): array for name, array in arrays.items()
             if name.startswith(HEAD_PREFIX)}, expression_names))
    except UserError as error:
        raise UserError(f'{path}: {error}; {CHECKPOINT_REMEDY}') from None


def read_verified(path: Path) -> dict[str, NDArray[Any]]:
    """
    Read the tensors of a checkpoint and compare them with its hash.

    :param path: of the checkpoint.
    :return: arrays by name.
    :raises ValueError: when the file is wrong or damaged.
    """
    with open_tensors(path) as file:
        metadata = metadata_of(path, file)
        arrays = file.read()
    if arrays_sha256(arrays) != metadata['sha256']:
        raise damaged(path)
    return arrays


def damaged(path: Path) -> UserError:
    """Return the error of a checkpoint whose tensors do not match their hash."""
    return UserError(f'{path}: the tensors do not match their sha256: the file was damaged '
                     'or edited; copy it again from its source')


def check_pair(
    graph: Path, graph_metadata: Mapping[str, Any], checkpoint: Path, metadata: Mapping[str, Any],
    names: Sequence[str],
) -> None:
    """
    Check that two files are of one network.

    :param graph: path of the ONNX file.
    :param graph_metadata: of the ONNX file.
    :param checkpoint: path of the checkpoint.
    :param metadata: of the checkpoint.
    :param names: of the metadata that both must agree in.
    :raises UserError: they are of two networks.
    """
    if graph_metadata['sha256'] != metadata['sha256']:
        raise UserError(
            f'{graph} and {checkpoint.name} have different weights, of sha256 '
            f'{str(graph_metadata["sha256"])[:12]}… and {str(metadata["sha256"])[:12]}…; write the '
            'first one again with `trans3dhead export`, or move one of them away')
    for name in names:
        if graph_metadata[name] != metadata[name]:
            raise UserError(f'{graph} and {checkpoint.name} differ in {name}; write the first one '
                            'again with `trans3dhead export`')


def graph_texts(graph: OnnxGraph) -> dict[str, str]:
    """Return the metadata of an ONNX file as JSON by name, without the head model."""
    return {name: _as_json(name, text) for name, text in graph.metadata.items()
            if name != 'head_basis'}


def check_graph(path: Path, graph: OnnxGraph, metadata: Mapping[str, Any]) -> None:
    """
    Check that a graph is the one that its metadata describe.

    :param path: of the file, for the message.
    :param graph: what was read from it.
    :param metadata: its metadata.
    :raises UserError: it is not.
    """
    if metadata.get('graph_sha256') != graph.sha256:
        raise UserError(f'{path}: the graph does not match its sha256: the file was damaged or '
                        'edited; copy it again from its source')


def _as_json(name: str, text: str) -> str:
    """Return a value of an ONNX file as JSON; plain texts stand there without quotes."""
    if name in _NUMBERS or text[:1] in ('{', '['):
        return text
    return json.dumps(text)
