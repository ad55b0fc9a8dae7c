"""One writer and one opener for each kind of file."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from trans3dhead_ros.errors import UserError
from trans3dhead_training.export.graph import INPUT, MEANING, HeadGraph

Answers = dict[str, NDArray[np.float32]]
Model = Callable[[NDArray[np.float32]], Answers]
"""Crops (B, 3, S, S) -> outputs by name."""

OPSET = 18
"""Of ONNX: old enough for the runtimes of embedded boards, new enough for layer normalisation."""

METADATA_FILE = 'trans3dhead.json'
"""What torch's files keep beside the graph, as one JSON table."""


@dataclass(frozen=True)
class Format:
    """
    A kind of file.

    :ivar suffix: by which it is recognised.
    :ivar write: (path, graph, batch or None for any, half precision, metadata).
    :ivar open: (path, names of the outputs) -> what the file computes.
    """

    suffix: str
    write: Callable[[Path, HeadGraph, int | None, bool, Mapping[str, str]], None]
    open: Callable[[Path, tuple[str, ...]], Model]


def write_onnx(
    path: Path, graph: HeadGraph, batch: int | None, half: bool, metadata: Mapping[str, str],
) -> None:
    """Write ONNX with named inputs and outputs, their meaning, and the metadata."""
    import onnx

    with _quiet():
        program = torch.onnx.export(
            graph, (graph.example(batch),), dynamo=True, verbose=False, input_names=[INPUT],
            output_names=list(graph.outputs), opset_version=OPSET, dynamic_shapes=_shapes(batch))
    model = program.model_proto
    if half:
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel
        model = convert_float_to_float16(model, keep_io_types=True)
        OnnxModel(model).topological_sort()  # the conversion appends its casts at the end
    model.graph.name = 'trans3dhead'
    # The exporter notes on every node where in whose source files it came from.
    for item in (*model.graph.node, *model.graph.value_info, model.graph):
        del item.metadata_props[:]
        item.doc_string = ''
    for value in model.graph.output:
        value.doc_string = MEANING[value.name]
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def open_onnx(path: Path, outputs: tuple[str, ...]) -> Model:
    """Return what onnxruntime answers on the processor, one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=['CPUExecutionProvider'])

    def answer(crops: NDArray[np.float32]) -> Answers:
        return dict(zip(outputs, session.run(list(outputs), {INPUT: crops}), strict=True))

    return answer


def write_torchscript(
    path: Path, graph: HeadGraph, batch: int | None, half: bool, metadata: Mapping[str, str],
) -> None:
    """Write a traced program, for libtorch; it takes any size of batch."""
    _refuse_half(half)
    with _quiet(), torch.no_grad():
        torch.jit.trace(graph, graph.example(batch), check_trace=False).save(
            str(path), _extra_files={METADATA_FILE: json.dumps(dict(metadata))})


def open_torchscript(path: Path, outputs: tuple[str, ...]) -> Model:
    """Return what the traced program answers."""
    with _quiet():
        return _of_torch(torch.jit.load(str(path), map_location='cpu'), outputs)


def write_program(
    path: Path, graph: HeadGraph, batch: int | None, half: bool, metadata: Mapping[str, str],
) -> None:
    """Write a `torch.export` program, for AOTInductor, ExecuTorch and the like."""
    _refuse_half(half)
    with _quiet():
        program = torch.export.export(graph, (graph.example(batch),),
                                      dynamic_shapes=_shapes(batch))
        # By its stream: `save` by name grumbles about other endings than its own.
        with path.open('wb') as file:
            torch.export.save(program, file,
                              extra_files={METADATA_FILE: json.dumps(dict(metadata))})


def open_program(path: Path, outputs: tuple[str, ...]) -> Model:
    """Return what the exported program answers."""
    with _quiet(), path.open('rb') as file:
        return _of_torch(torch.export.load(file).module(), outputs)


FORMATS = {
    'onnx': Format('.onnx', write_onnx, open_onnx),
    'torchscript': Format('.ts', write_torchscript, open_torchscript),
    'exported-program': Format('.pt2', write_program, open_program),
}


def of_graph(graph: HeadGraph) -> Model:
    """Return what the network itself answers."""
    return _of_torch(graph, graph.outputs)


def _of_torch(module: torch.nn.Module, outputs: tuple[str, ...]) -> Model:
    @torch.inference_mode()
    def answer(crops: NDArray[np.float32]) -> Answers:
        found = module(torch.from_numpy(crops))
        return {name: value.numpy() for name, value in zip(outputs, found, strict=True)}

    return answer


def _shapes(batch: int | None) -> tuple[dict[int, object], ...] | None:
    return ({0: torch.export.Dim('batch', min=1)},) if batch is None else None


def _refuse_half(half: bool) -> None:
    if half:
        raise UserError('--half: only ONNX files are written in half precision; in torch call '
                         '.half() or torch.autocast on what was loaded')


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep away what the exporters say of their own future and of packages that we do not use."""
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)
