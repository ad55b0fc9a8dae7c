"""Write a checkpoint as an ONNX file, and keep the file only if it agrees with torch."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.model_files.detector_files import is_detector
from trans3dhead_ros.model_files.model_pair import GRAPH_SUFFIX
from trans3dhead_ros.network.checkpoint import load_checkpoint
from trans3dhead_ros.network.detector_checkpoint import load_detector
from trans3dhead_training.export.detector_graph import DetectorGraph
from trans3dhead_training.export.head_graph import HeadGraph
from trans3dhead_training.export.onnx_check import (
    CROP_COUNT,
    MAX_DEVIATION_PX,
    Deviation,
    batch_deviations,
    check_crops,
    check_images,
    deviations,
)
from trans3dhead_training.export.onnx_file import Graph, open_onnx, torch_model, write_onnx


def export_checkpoint(
    checkpoint: Path, output: Path, *, vertices: bool = False, batch: int | None = None,
    crop_count: int = CROP_COUNT,
) -> list[Deviation]:
    """
    Export a checkpoint; an existing file is replaced in one step.

    :param checkpoint: the `.safetensors` file.
    :param output: ONNX file to write.
    :param vertices: make the vertices of the head an output too.
    :param batch: number of crops that the file takes at once; None: any.
    :param crop_count: number of crops on which it is compared with torch.
    :return: how far each output is from torch's.
    :raises UserError: the checkpoint cannot be loaded, or an output differs from torch by more
        than its limit; what lay at `output` is still there then.
    """
    if is_detector(checkpoint):
        if vertices:
            raise UserError('export: a head detector has no vertices; leave --vertices out')
        detector, metadata = load_detector(checkpoint, torch.device('cpu'))
        graph = DetectorGraph(detector).eval()
    else:
        network, metadata = load_checkpoint(checkpoint, torch.device('cpu'))
        graph = HeadGraph(network, vertices).eval()
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f'.{output.stem}.{os.getpid()}{output.suffix}')
    try:
        write_onnx(partial, graph, batch, graph.metadata(metadata))
        rows = _compare(graph, partial, batch, crop_count)
        failing = [row for row in rows if not row.passes]
        if failing:
            worst = max(failing, key=lambda row: np.nan_to_num(row.largest / row.limit, nan=np.inf))
            raise UserError(
                f'export: {output} was not written: {worst.output} differs from torch by '
                f'{worst.largest:.1e}, more than {worst.limit:.0e}, as do '
                f'{len(failing) - 1} other outputs')
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)
    return rows


def _compare(graph: Graph, path: Path, batch: int | None, count: int) -> list[Deviation]:
    """Compare a file with torch on so many crops or images."""
    reference, exported = torch_model(graph), open_onnx(path, graph.outputs)
    if isinstance(graph, HeadGraph):
        crops = check_crops(graph.network.head_model, graph.size, count)
        return deviations(reference, exported, crops, batch)
    images = check_images(count)
    if batch is not None:
        images = [np.repeat(image[:1], batch, axis=0) for image in images]
    return batch_deviations(reference, exported, images, {
        'head_box': MAX_DEVIATION_PX, 'landmark_box': MAX_DEVIATION_PX})


def export_beside(checkpoint: Path) -> Path | None:
    """
    Complete a model: write the ONNX file of a checkpoint beside it.

    :param checkpoint: the `.safetensors` file.
    :return: the ONNX file; None where a package that writes it is not installed.
    :raises UserError: the file does not compute what torch does.
    """
    if any(find_spec(name) is None for name in ('onnx', 'onnxruntime', 'onnxscript')):
        return None
    output = checkpoint.with_suffix(GRAPH_SUFFIX)
    export_checkpoint(checkpoint, output)
    return output
