"""Write a checkpoint as an ONNX file, and keep the file only if it computes what torch does."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.model_files.model_pair import GRAPH_SUFFIX
from trans3dhead_ros.network.checkpoint import load_checkpoint
from trans3dhead_training.export.head_graph import HeadGraph, file_metadata
from trans3dhead_training.export.onnx_check import (
    CROP_COUNT,
    MAX_DEVIATION,
    Deviation,
    check_crops,
    deviations,
)
from trans3dhead_training.export.onnx_file import open_onnx, torch_model, write_onnx


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
        than `MAX_DEVIATION`; what lay at `output` is still there then.
    """
    network, metadata = load_checkpoint(checkpoint, torch.device('cpu'))
    graph = HeadGraph(network, vertices).eval()
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f'.{output.stem}.{os.getpid()}{output.suffix}')
    try:
        write_onnx(partial, graph, batch, file_metadata(graph, metadata))
        crops = check_crops(network.head_model, graph.size, crop_count)
        rows = deviations(torch_model(graph), open_onnx(partial, graph.outputs), crops, batch)
        failing = [row for row in rows if not row.passes]
        if failing:
            worst = max(failing, key=lambda row: np.nan_to_num(row.largest, nan=np.inf))
            raise UserError(
                f'export: {output} was not written: {worst.output} differs from torch by '
                f'{worst.largest:.1e}, more than {MAX_DEVIATION:.0e}, as do '
                f'{len(failing) - 1} other outputs')
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)
    return rows


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
