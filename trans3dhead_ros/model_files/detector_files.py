"""The two files of a head detector: found by the path of either, and checked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.model_files.detector_metadata import (
    DETECTOR_FORMAT,
    DETECTOR_REMEDY,
    parse_detector_metadata,
)
from trans3dhead_ros.model_files.model_metadata import named_or_path
from trans3dhead_ros.model_files.model_pair import (
    CHECKPOINT_SUFFIX,
    GRAPH_SUFFIX,
    NetworkFiles,
    check_graph,
    check_pair,
    graph_texts,
)
from trans3dhead_ros.model_files.onnx_graph import OnnxGraph, read_onnx
from trans3dhead_ros.model_files.tensor_file import open_tensors

_CHANNELS = 3


def open_detector(model: str | os.PathLike[str] | None = None) -> NetworkFiles:
    """
    Find and check the files of a head detector.

    :param model: path of either file, or 'default' or 'open' for a detector that comes with the
        package; None or '' is 'default'.
    :return: its files.
    :raises UserError: when a file is missing or wrong, or the two are not of the same weights.
    """
    path = named_or_path('detector', model)
    checkpoint, graph = path.with_suffix(CHECKPOINT_SUFFIX), path.with_suffix(GRAPH_SUFFIX)
    if path not in (checkpoint, graph) or not path.is_file():
        raise UserError(f'{path}: no such detector; {DETECTOR_REMEDY}')
    found = read_detector_metadata(checkpoint) if checkpoint.is_file() else None
    if not graph.is_file():
        return NetworkFiles(path, checkpoint, None, found)
    onnx, other = _read_graph(graph)
    if found is None:
        return NetworkFiles(path, None, onnx, other)
    check_pair(graph, other, checkpoint, found, ('network',))
    return NetworkFiles(path, checkpoint, onnx, found)


def is_detector(path: Path) -> bool:
    """
    Return whether a file says that it is of a head detector.

    :param path: either file of a network.
    :return: True for a detector.
    :raises UserError: when the file is missing or of another kind.
    """
    if path.suffix == GRAPH_SUFFIX:
        return read_onnx(path).metadata.get('format') == DETECTOR_FORMAT
    with open_tensors(path) as file:
        return file.metadata.get('format') == f'"{DETECTOR_FORMAT}"'


def read_detector_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """
    Return the metadata of a checkpoint without reading its tensors.

    :param path: of the checkpoint.
    :return: JSON values by name.
    :raises UserError: when the file is missing, truncated or not a detector.
    """
    with open_tensors(Path(path)) as file:
        return parse_detector_metadata(Path(path), file.metadata)


def _read_graph(path: Path) -> tuple[OnnxGraph, dict[str, Any]]:
    graph = read_onnx(path)
    metadata = parse_detector_metadata(path, graph_texts(graph))
    check_graph(path, graph, metadata)
    if len(graph.input_shape) != 4 or graph.input_shape[1] != _CHANNELS:
        raise UserError(f'{path}: the graph takes {graph.input_shape}, not images of 3 channels; '
                        f'{DETECTOR_REMEDY}')
    return graph, metadata
