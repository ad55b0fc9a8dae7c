"""Write and run the ONNX files of `trans3dhead export`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from trans3dhead_ros.model_files.onnx_graph import parse_onnx
from trans3dhead_training.export.detector_graph import DetectorGraph
from trans3dhead_training.export.head_graph import HeadGraph

if TYPE_CHECKING:
    import onnx_ir as ir

Graph = HeadGraph | DetectorGraph

Model = Callable[[NDArray[np.float32]], dict[str, NDArray[np.float32]]]
"""Takes crops or images (B, 3, H, W) and returns the outputs by name."""

OPSET = 18
"""Old enough for the runtimes of embedded boards, new enough for layer normalisation."""


def write_onnx(
    path: Path, graph: Graph, batch: int | None, metadata: Mapping[str, str],
) -> None:
    """
    Write a graph with named inputs and outputs, their meaning, and metadata.

    :param path: file to write.
    :param graph: in evaluation mode, on the CPU.
    :param batch: number of crops or images that the file takes at once; None: any.
    :param metadata: as its `metadata` returns them.
    """
    import onnx

    sizes = graph.free_sizes(batch)
    with _quiet():
        program = torch.onnx.export(
            graph, (graph.example(batch),), dynamo=True, verbose=False,
            input_names=[graph.input_name],
            output_names=list(graph.outputs), opset_version=OPSET,
            dynamic_shapes=None if sizes is None else (sizes,))
    _fix_reshapes(program.model)
    model = program.model_proto
    model.graph.name = 'trans3dhead'
    # The exporter notes on every node the source files that it came from.
    for item in (*model.graph.node, *model.graph.value_info, model.graph):
        del item.metadata_props[:]
        item.doc_string = ''
    for value in model.graph.output:
        value.doc_string = graph.descriptions[value.name]
    onnx.checker.check_model(model)
    digest = parse_onnx(model.SerializeToString()).sha256
    onnx.helper.set_model_props(model, {**metadata, 'graph_sha256': digest})
    path.write_bytes(model.SerializeToString())


def _fix_reshapes(model: ir.Model) -> None:
    """
    Replace the shapes that a graph computes for its `Reshape` operators by constants.

    The exporter computes the free sizes from those of tensors, with operators that older runtimes
    do not import; 0 (as the input has it) and -1 (what is left) say the same.

    :param model: changed in place.
    """
    import onnx_ir as ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    for node in model.graph:
        if node.op_type != 'Reshape' or node.inputs[1].const_value is not None:
            continue
        source, found = node.inputs[0].shape, node.outputs[0].shape
        if source is None or found is None or found.has_unknown_dim():
            continue
        sizes = [size if isinstance(size, int) else 0 if source[place:place + 1] == (size,) else -1
                 for place, size in enumerate(found)]
        if sizes.count(-1) > 1:
            continue
        shape = ir.Value(name=f'{node.outputs[0].name}_shape', const_value=ir.tensor(sizes))
        model.graph.register_initializer(shape)
        node.replace_input_with(1, shape)
        node.attributes['allowzero'] = ir.AttrInt64('allowzero', 0)
    RemoveUnusedNodesPass()(model)


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

    name = session.get_inputs()[0].name

    def run(batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        return dict(zip(outputs, session.run(list(outputs), {name: batch}), strict=True))

    return run


def torch_model(graph: Graph) -> Model:
    """Return the network itself as a model, for comparison."""
    @torch.inference_mode()
    def run(crops: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        found = graph(torch.from_numpy(crops))
        return {name: value.numpy() for name, value in zip(graph.outputs, found, strict=True)}

    return run


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
