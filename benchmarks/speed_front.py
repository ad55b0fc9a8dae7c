r"""
The trade-off between the speed and the accuracy of networks: their Pareto front.

    python benchmarks/speed_front.py --output runs/speed_front [--variants joint narrow …]
        [--rounds 40] [--runs RUN …]

Every variant is `network` of a configuration with some entries changed. For each it measures, on
one thread and with random weights: the time of one crop in ONNX Runtime over that of a MobileNet-v1
(120 x 120), and the crops per second of training (forward, backward and AdamW on a batch of 64)
over those of the first variant. Both ratios are medians of rounds in turns, so that whatever else
the machine does affects both sides alike.

A variant that has been measured is kept in OUTPUT/front.json and not measured again. `--runs`
names folders of `trans3dhead train`: the error of a variant is that of the run with its network, in
the last validation up to `--minutes`. OUTPUT/front.md and front.png show all of them; on the front
are those that no other one beats in both time and error.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from matplotlib.figure import Figure

from trans3dhead_ros.bench.mobilenet import mobilenet
from trans3dhead_ros.bench.timing import ELAPSED, PROCESSOR, take_turns
from trans3dhead_ros.inference.open_engine import open_graph
from trans3dhead_ros.model_files.onnx_graph import parse_onnx, read_onnx
from trans3dhead_ros.network.checkpoint import load_head_model
from trans3dhead_ros.network.config import NetworkConfig
from trans3dhead_ros.network.cost import multiply_adds, weight_count
from trans3dhead_ros.network.model import Trans3DHead
from trans3dhead_training.engine.trainer import computes_in_bfloat16
from trans3dhead_training.export.head_graph import HeadGraph
from trans3dhead_training.export.onnx_file import write_onnx

VARIANTS: dict[str, dict[str, Any]] = {
    'joint': {},
    'narrow': {'widths': (16, 32, 64, 96), 'blocks': (1, 1, 1)},
    'wide': {'widths': (24, 48, 96, 128), 'blocks': (1, 1, 1)},
    'wider': {'widths': (24, 48, 96, 192)},
    'stride 32': {'stride': 32, 'widths': (16, 24, 48, 96, 128), 'blocks': (1, 1, 1, 1)},
    '1 layer': {'decoder_layers': 1},
    '3 layers': {'decoder_layers': 3},
    'd 48': {'dim': 48, 'num_heads': 6, 'ffn_dim': 96},
    'd 96': {'dim': 96, 'num_heads': 6, 'ffn_dim': 192},
    'split decoders': {'two_branches': True},
    'a query per parameter': {'parameter_queries': 'single'},
    'contour queries': {'contour_queries': True},
    'full content': {'content_rank': 0},
    'shared memory': {'qamem': 'none'},
    'family memory': {'qamem': 'family'},
    'full memory': {'qamem': 'full'},
    'posed mean': {'reference': 'posed_mean'},
    '112 px': {'input_size': 112},
    '144 px': {'input_size': 144},
    '160 px': {'input_size': 160},
}
"""Changes of the configuration, by name; the first is what the others train beside."""

BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', type=Path, default=Path('config/train.yaml'))
    parser.add_argument('--output', type=Path, required=True, metavar='DIR')
    parser.add_argument('--variants', nargs='+', choices=VARIANTS, default=list(VARIANTS),
                        metavar='NAME', help=', '.join(VARIANTS))
    parser.add_argument('--rounds', type=int, default=40, help='measurements of one crop')
    parser.add_argument('--processor-time', action='store_true',
                        help='measure CPU time instead of elapsed time')
    parser.add_argument('--training-rounds', type=int, default=4)
    parser.add_argument('--runs', type=Path, nargs='*', default=[], metavar='RUN')
    parser.add_argument('--minutes', type=float, default=float('inf'),
                        help='training time after which errors are compared')
    parser.add_argument('--error', default='val_inner51_percent',
                        help='column of metrics.csv (default: %(default)s)')
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    options.output.mkdir(parents=True, exist_ok=True)
    stored = options.output / 'front.json'
    rows = json.loads(stored.read_text()) if stored.is_file() else {}
    base = yaml.safe_load(options.config.read_text())['network']
    for name in options.variants:
        config = NetworkConfig.from_dict({**base, **VARIANTS[name]})
        if rows.get(name, {}).get('network') != json.loads(json.dumps(config.to_dict())):
            reference = NetworkConfig.from_dict(base)
            rows[name] = measure(config, reference, options.rounds, options.training_rounds,
                                 PROCESSOR if options.processor_time else ELAPSED)
            stored.write_text(json.dumps(rows, indent=1))
        print(describe(name, rows[name]), flush=True)
    for row in rows.values():
        row['error'] = error_of(row['network'], options.runs, options.minutes, options.error)
    (options.output / 'front.md').write_text(table(rows))
    draw(rows, options.error, options.output / 'front.png')


def measure(
    config: NetworkConfig, reference: NetworkConfig, rounds: int, training_rounds: int,
    clock: Callable[[], float],
) -> dict[str, Any]:
    torch.manual_seed(0)
    network = Trans3DHead(config, load_head_model()).eval()
    size = config.input_size
    row = {'network': json.loads(json.dumps(config.to_dict())), 'weights': weight_count(network),
           'multiply_adds': multiply_adds(network, torch.zeros(1, 3, size, size))}
    graph = HeadGraph(network).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'network.onnx'
        write_onnx(path, graph, None, graph.metadata({}))
        engine = open_graph(read_onnx(path), 'onnxruntime', 'cpu', 1)
    peer = open_graph(parse_onnx(mobilenet()), 'onnxruntime', 'cpu', 1)
    crop = np.random.default_rng(0).random((1, 3, size, size), np.float32)
    small = np.random.default_rng(0).random((1, 3, 120, 120), np.float32)
    row['time'] = quartiles(take_turns(
        {'network': lambda: engine.run(crop), 'peer': lambda: peer.run(small)}, rounds,
        clock=clock))
    steps = {'network': training_step(network.train()), 'peer': training_step(
        Trans3DHead(reference, load_head_model()).train())}
    taken = take_turns(steps, training_rounds, 1, clock)
    # Crops per second: the inverse of the time.
    row['training'] = quartiles({'network': taken['peer'], 'peer': taken['network']})
    return row


def quartiles(taken: Mapping[str, np.ndarray]) -> list[float]:
    """Return the quartiles of the ratio in each round."""
    return np.percentile(taken['network'] / taken['peer'], (25, 50, 75)).round(3).tolist()


def training_step(network: Trans3DHead):
    """Return a step of the optimizer on one batch, in a training's precision, without losses."""
    size = network.config.input_size
    network.bfloat16_backbone = computes_in_bfloat16(torch.device('cpu'))
    crops = torch.rand(BATCH, 3, size, size).contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-6)

    def step() -> None:
        outputs = network.forward_layers(crops)
        total = sum(value.sum() for value in (*outputs.points, *outputs.parameters,
                                              outputs.point_scale, outputs.score))
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()

    return step


def error_of(
    network: Mapping[str, Any], runs: Sequence[Path], minutes: float, column: str,
) -> float | None:
    """Return the error of the run with this network, in its last validation up to a time."""
    for run in runs:
        config = NetworkConfig.from_dict(json.loads((run / 'config.json').read_text())['network'])
        if json.loads(json.dumps(config.to_dict())) == network:
            with (run / 'metrics.csv').open(newline='') as file:
                rows = [row for row in csv.DictReader(file) if float(row['minutes']) <= minutes]
            if rows:
                return float(rows[-1][column])
    return None


def on_front(rows: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the variants with an error that none of the others beats in both time and error."""
    known = {name: (row['time'][1], row['error']) for name, row in rows.items()
             if row['error'] is not None}
    return {name for name, (taken, error) in known.items()
            if not any(other[0] <= taken and other[1] <= error and other != (taken, error)
                       for other in known.values())}


def describe(name: str, row: Mapping[str, Any]) -> str:
    return (f'{name:24s}{row["weights"] / 1e6:6.2f} M weights {row["multiply_adds"] / 1e6:6.0f} '
            f'M MAC  time {row["time"][1]:5.2f} of MobileNet  crops/s {row["training"][1]:5.2f}')


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    front = on_front(rows)
    lines = ['| variant | M weights | M MAC | time / MobileNet ×1 (quartiles) | '
             'crops/s of training, relative (quartiles) | error |', '|---|---|---|---|---|---|']
    for name, row in rows.items():
        (low, time_ratio, high), (slow, speed, fast) = row['time'], row['training']
        error = '' if row['error'] is None else f'{row["error"]:.2f}' + ' *' * (name in front)
        lines.append(f'| {name} | {row["weights"] / 1e6:.2f} | {row["multiply_adds"] / 1e6:.0f} | '
                     f'{time_ratio:.2f} ({low:.2f}–{high:.2f}) | '
                     f'{speed:.2f} ({slow:.2f}–{fast:.2f}) | {error} |')
    return '\n'.join(lines) + '\n'


def draw(rows: Mapping[str, Mapping[str, Any]], column: str, path: Path) -> None:
    figure = Figure(figsize=(8, 5), layout='constrained')
    axes = figure.subplots()
    front = on_front(rows)
    errors = any(row['error'] is not None for row in rows.values())
    for name, row in rows.items():
        height = row['error'] if errors else row['training'][1]
        if height is None:
            continue
        axes.plot(row['time'][1], height, 'o', color='C3' if name in front else 'C0')
        axes.annotate(name, (row['time'][1], height), (4, 4), textcoords='offset points',
                      fontsize=8)
    best = sorted((rows[name]['time'][1], rows[name]['error']) for name in front)
    axes.plot([taken for taken, _ in best], [error for _, error in best], color='C3',
              linewidth=0.8, zorder=0)
    axes.margins(0.15, 0.05)
    axes.set(xlabel='time of one crop / MobileNet-v1 x1, ONNX Runtime, one thread',
             ylabel=f'{column}, after equal training time' if errors else
             f'crops/s of training / those of {next(iter(rows))}')
    figure.savefig(path, dpi=110)


if __name__ == '__main__':
    started = time.monotonic()
    main()
    print(f'{time.monotonic() - started:.0f} s')
