"""A small model of two files, and changes of its ONNX file."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from synthetic import small_head_model

from trans3dhead_ros.model_files.onnx_graph import read_onnx
from trans3dhead_ros.network.checkpoint import save_checkpoint
from trans3dhead_ros.network.config import NetworkConfig
from trans3dhead_ros.network.model import Trans3DHead
from trans3dhead_training.export.export_checkpoint import export_checkpoint

CONFIG = NetworkConfig(
    input_size=32, widths=(8, 8, 16, 16), dim=16, num_heads=2, ffn_dim=16, two_branches=False,
    parameter_queries='grouped', contour_queries=False, content_rank=4, embed_estimates=True,
    reference='mean')
"""A graph that every engine runs."""


def confident_network(seed: int = 0, config: NetworkConfig = CONFIG) -> Trans3DHead:
    """Return an untrained network that takes every crop for a head, each for a different one."""
    torch.manual_seed(seed)
    network = Trans3DHead(config, small_head_model()).eval()
    turn = torch.linspace(0.0, 6.2, len(network.mean_points))
    with torch.no_grad():
        # Untrained features differ little from one crop to the next.
        network.input_projection.weight.mul_(100.0)
        network.mean_points.copy_(0.6 * torch.stack([turn.cos(), turn.sin()], dim=-1))
        network.mean_parameters[8] = 2.0
        network.score_output.bias.fill_(6.0)
        network.point_log_scale.bias.fill_(-4.5)
        for residual in network.point_residuals:
            residual.output.weight.normal_(0.0, 0.03)
        for residual in network.parameter_residuals:
            residual.output.weight.normal_(0.0, 0.1)
    return network


def write_pair(path: Path, seed: int = 0, config: NetworkConfig = CONFIG) -> Path:
    """Write a checkpoint with its ONNX file beside it, and return its path."""
    save_checkpoint(path, confident_network(seed, config), {
        'training_data': 'none', 'licence': 'CC0 1.0', 'metrics': {'nme': 0.5}})
    export_checkpoint(path, path.with_suffix('.onnx'), crop_count=4)
    return path


def copy_pair(pair: Path, folder: Path) -> Path:
    """Copy both files of a model into a folder, and return the path of the checkpoint."""
    for file in (pair, pair.with_suffix('.onnx')):
        shutil.copy(file, folder)
    return folder / pair.name


def edit_onnx(path: Path, edit: Callable) -> None:
    """Change an ONNX file by a function of its ModelProto and its metadata as a dict."""
    import onnx

    model = onnx.load_model(str(path))
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    edit(model, metadata)
    onnx.helper.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString())


def altered_graph(source: Path, path: Path, sha256: str, noise: float = 0.01, **metadata: str,
                  ) -> Path:
    """Write an ONNX file whose weights differ a little, as those of a candidate do."""
    import onnx
    shutil.copy(source, path)

    def disturb(model, _) -> None:
        random = np.random.default_rng(int(sha256[:8], 16))
        for tensor in model.graph.initializer:
            values = onnx.numpy_helper.to_array(tensor)
            if values.dtype.kind == 'f' and values.size > 100:
                factor = 1 + noise * random.standard_normal(values.shape)
                tensor.CopyFrom(onnx.numpy_helper.from_array(
                    (values * factor).astype(values.dtype), tensor.name))

    def describe(_, texts) -> None:
        texts |= {**metadata, 'sha256': sha256, 'graph_sha256': read_onnx(path).sha256}

    edit_onnx(path, disturb)
    edit_onnx(path, describe)
    return path
