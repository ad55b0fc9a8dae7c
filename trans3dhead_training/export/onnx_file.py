"""Write, run and describe the ONNX files of `trans3dhead export`."""

from __future__ import annotations

import json
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.network.checkpoint import FORMAT
from trans3dhead_training.export.head_graph import INPUT, OUTPUTS, HeadGraph

Model = Callable[[NDArray[np.float32]], dict[str, NDArray[np.float32]]]
"""Takes crops (B, 3, S, S) and returns the outputs by name."""

OPSET = 18
"""Old enough for the runtimes of embedded boards, new enough for layer normalisation."""

_REMEDY = 'make one with `trans3dhead export`'


def write_onnx(
    path: Path, graph: HeadGraph, batch: int | None, metadata: Mapping[str, str],
) -> None:
    """
    Write a graph with named inputs and outputs, their meaning, and metadata.

    :param path: file to write.
    :param graph: in evaluation mode, on the CPU.
    :param batch: number of crops that the file takes at once; None: any.
    :param metadata: see `file_metadata`.
    """
    import onnx

    shapes = ({0: torch.export.Dim('batch', min=1)},) if batch is None else None
    with _quiet():
        program = torch.onnx.export(
            graph, (graph.example(batch),), dynamo=True, verbose=False, input_names=[INPUT],
            output_names=list(graph.outputs), opset_version=OPSET, dynamic_shapes=shapes)
    model = program.model_proto
    model.graph.name = 'trans3dhead'
    # The exporter notes on every node the source files that it came from.
    for item in (*model.graph.node, *model.graph.value_info, model.graph):
        del item.metadata_props[:]
        item.doc_string = ''
    for value in model.graph.output:
        value.doc_string = OUTPUTS[value.name]
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def open_onnx(path: Path, outputs: tuple[str, ...], threads: int = 1) -> Model:
    """
    Load a file into ONNX Runtime, on the CPU.

    :param path: ONNX file.
    :param outputs: names of the outputs to compute.
    :param threads: of the runtime.
    :return: the model.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=['CPUExecutionProvider'])

    def run(crops: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        return dict(zip(outputs, session.run(list(outputs), {INPUT: crops}), strict=True))

    return run


def torch_model(graph: HeadGraph) -> Model:
    """Return the network itself as a model, for comparison."""
    @torch.inference_mode()
    def run(crops: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        found = graph(torch.from_numpy(crops))
        return {name: value.numpy() for name, value in zip(graph.outputs, found, strict=True)}

    return run


def describe_onnx(path: Path) -> dict[str, Any]:
    """
    Return `kind`, `constants` (their number) and the metadata of a file; nothing is executed.

    :param path: ONNX file.
    :return: JSON values by name.
    :raises UserError: the file is damaged, or was not written by `trans3dhead export`.
    """
    import onnx

    try:
        # Never external data: our files have none, and a stranger's could name any file.
        model = onnx.load_model(str(path), format='protobuf', load_external_data=False)
    except OSError:
        raise
    except Exception:  # protobuf's errors have no public base class
        raise UserError(f'{path}: truncated or not an ONNX file; {_REMEDY}') from None
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if metadata.get('format') != FORMAT:
        raise UserError(f'{path}: not a file of `trans3dhead export`; {_REMEDY}')
    opset = next((entry.version for entry in model.opset_import if not entry.domain), 0)
    constants = sum(math.prod(tensor.dims) for tensor in model.graph.initializer)
    return {'kind': f'ONNX, opset {opset}', 'constants': constants,
            **{name: _json_or_text(text) for name, text in metadata.items()}}


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's deprecation notes and its hints about packages that are not used."""
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)
