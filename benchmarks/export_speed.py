"""
Measure the network in torch beside its exported files in onnxruntime and torch.

    python benchmarks/export_speed.py [--model FILE] [--threads 1] [--rounds 60] [--batches 1 8]

All of them answer the same crops, taking turns in one process, so that whatever else runs there
hits them alike. The ratio of each turn to torch's of the same turn is the figure to compare: its
median, and the quartiles in which half of the turns lie.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
import torch

from trans3dhead_ros.network.checkpoint import bundled_checkpoint, load_checkpoint
from trans3dhead_training.export.export_formats import FORMATS, Model, of_graph
from trans3dhead_training.export.graph import HeadGraph, describe

VARIANTS = (('onnxruntime', 'onnx', False), ('onnxruntime, half precision', 'onnx', True),
            ('TorchScript', 'torchscript', False), ('torch.export', 'exported-program', False))


def onnx_model(path: Path, outputs: tuple[str, ...], threads: int) -> Model:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options,
                                           providers=['CPUExecutionProvider'])
    return lambda crops: session.run(list(outputs), {'crops': crops})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', type=Path, default=bundled_checkpoint())
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--rounds', type=int, default=60)
    parser.add_argument('--batches', type=int, nargs='+', default=[1, 8])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network, metadata = load_checkpoint(options.model, torch.device('cpu'))
    graph = HeadGraph(network).eval()
    models = {'torch': of_graph(graph)}
    with TemporaryDirectory() as folder:
        for number, (name, form, half) in enumerate(VARIANTS):
            path = Path(folder) / f'{number}{FORMATS[form].suffix}'
            FORMATS[form].write(path, graph, None, half, describe(graph, metadata, half))
            models[name] = (onnx_model(path, graph.outputs, options.threads) if form == 'onnx'
                            else FORMATS[form].open(path, graph.outputs))
        for batch in options.batches:
            crops = np.random.default_rng(0).random((batch, 3, graph.size, graph.size), np.float32)
            times = measure(models, crops, options.rounds)
            print(f'{batch} crop(s), {options.threads} thread(s), {options.rounds} turns')
            for (name, taken) in zip(models, times.T, strict=True):
                low, middle, high = np.percentile(taken / times[:, 0], (25, 50, 75))
                print(f'  {name:28s} {1e3 * np.median(taken):8.2f} ms   {middle:5.2f} of torch '
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
