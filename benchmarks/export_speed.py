"""
Measure the network in torch beside its exported file in ONNX Runtime.

    python benchmarks/export_speed.py [--model FILE] [--threads 1] [--rounds 60] [--batches 1 8]

Both run on the same crops, taking turns in one process, so that whatever else the machine does
hits both alike. The ratio to torch in the same turn is the figure to compare: its median, and the
quartiles between which half of the turns lie.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from trans3dhead_ros.model_files.model_metadata import bundled_model
from trans3dhead_ros.network.checkpoint import load_checkpoint
from trans3dhead_training.export.head_graph import HeadGraph
from trans3dhead_training.export.onnx_file import Model, open_onnx, torch_model, write_onnx


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', type=Path, default=bundled_model())
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--rounds', type=int, default=60)
    parser.add_argument('--batches', type=int, nargs='+', default=[1, 8])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network, metadata = load_checkpoint(options.model, torch.device('cpu'))
    graph = HeadGraph(network).eval()
    with TemporaryDirectory() as folder:
        path = Path(folder) / 'head.onnx'
        write_onnx(path, graph, None, graph.metadata(metadata))
        models = {'torch': torch_model(graph),
                  'onnxruntime': open_onnx(path, graph.outputs, options.threads)}
    for batch in options.batches:
        crops = np.random.default_rng(0).random((batch, 3, graph.size, graph.size), np.float32)
        times = measure(models, crops, options.rounds)
        print(f'{batch} crop(s), {options.threads} thread(s), {options.rounds} turns')
        for name, taken in zip(models, times.T, strict=True):
            low, middle, high = np.percentile(taken / times[:, 0], (25, 50, 75))
            print(f'  {name:12s} {1e3 * np.median(taken):8.2f} ms   {middle:5.2f} of torch '
                  f'({low:.2f}-{high:.2f})')


def measure(models: dict[str, Model], crops: np.ndarray, rounds: int) -> np.ndarray:
    """Return seconds (rounds, models)."""
    for model in models.values():
        for _ in range(5):
            model(crops)
    times = np.empty((rounds, len(models)))
    for row in times:
        for column, model in enumerate(models.values()):
            start = time.perf_counter()
            model(crops)
            row[column] = time.perf_counter() - start
    return times


if __name__ == '__main__':
    main()
