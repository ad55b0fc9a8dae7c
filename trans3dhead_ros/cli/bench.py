"""
Measure speed and memory of the pipeline on this machine, compared with a MobileNet.

Each number of threads is measured in a separate process, in which all libraries are limited to
it. Within a process the measurements alternate, so that other load on the machine affects them
equally: compare the ratios. `ratio_to_peer` is the time of one head, from the image to
pose, 68 points and vertices, over that of a MobileNet-v1 (120 x 120, 62 outputs, random weights) in
the same engine plus a dense reconstruction of 38,365 vertices from 50 coefficients, as 3DDFA_V2
computes them.
"""

from __future__ import annotations

import json
import statistics
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.cli.pipeline_options import add_pipeline_arguments
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.output_paths import check_outputs

_STARTS = 3


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('source', nargs='?', metavar='SOURCE', default='',
                        help='picture, folder, GIF, video or camera index (default: a clip of two '
                             'rendered people)')
    add_pipeline_arguments(parser)
    parser.add_argument('--threads', type=int, nargs='+', default=[1, 2], metavar='N',
                        help='threads of the engine, of OpenCV and of NumPy; stages and ratios use '
                             'the first number (default: 1 2)')
    parser.add_argument('--batches', type=int, nargs='+', default=[1, 2, 5, 10, 20], metavar='N',
                        help='numbers of heads in one call (default: 1 2 5 10 20)')
    parser.add_argument('--rounds', type=int, default=60,
                        help='measurements of each stage (default: %(default)s)')
    parser.add_argument('--processor-time', action='store_true',
                        help='measure CPU time instead of elapsed time, on a machine with other '
                             'load; needs --threads 1')
    parser.add_argument('--yunet', type=Path, metavar='FILE',
                        help='also time this YuNet file')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.add_argument('--plot', type=Path, metavar='FILE',
                        help='draw stages, heads per second and ratios; needs matplotlib')


def run(options: Namespace) -> int:
    """
    Measure, print a table and draw what is asked for.

    :param options: as `add_arguments` declares them.
    :return: exit code.
    :raises UserError: for a user's mistake.
    """
    for name in ('threads', 'batches', 'rounds'):
        value = getattr(options, name)
        least = min(value) if isinstance(value, list) else value
        if least < 1:
            raise UserError(f'--{name}: expected at least 1, got {least}')
    if options.processor_time and options.threads != [1]:
        raise UserError('--processor-time: adds up the time of all threads; add --threads 1')
    check_outputs({'plot': options.plot}, [options.source, str(options.model or '')], force=True)
    from trans3dhead_ros.bench.bench_plot import check_plot, draw
    from trans3dhead_ros.bench.child_process import measure_in_child
    from trans3dhead_ros.bench.settings import Settings
    if options.plot:
        check_plot(options.plot)
    settings = Settings(
        source=options.source, model=str(options.model or 'default'), device=options.device,
        backend=options.backend, detector=str(options.detector), yunet=str(options.yunet or ''),
        threads=options.threads[0], batches=options.batches, rounds=options.rounds,
        processor_time=options.processor_time)
    result = measure_in_child('stages', settings)
    result['throughput'] = [
        row for threads in options.threads
        for row in measure_in_child('throughput', replace(settings, threads=threads))]
    starts = [measure_in_child('start_up', settings) for _ in range(_STARTS)]
    result['start_up'] = {name: statistics.median(start[name] for start in starts)
                          for name in starts[0]}
    if options.plot:
        draw(result, options.plot)
    print(json.dumps(result, indent=2) if options.json else _table(result))
    return 0


def _table(result: Mapping[str, Any]) -> str:
    width, height = result['size']
    start = result['start_up']
    lines = [f'{result["device"]} ({result["processor"]}), {result["threads"]} thread(s), '
             f'{result["backend"]} {result["version"]}'
             + ', processor time' * result['processor_time'],
             f'{result["source"]}: {width} x {height}, {result["heads"]} head(s)', '']
    for title, rows in (('stage', result['stages']), ('measured in turns', result['compared'])):
        lines.append(f'{title:28s}{"p50 ms":>9s}{"p95 ms":>9s}{"p99 ms":>9s}')
        lines += [f'{row["name"]:28s}{row["p50_ms"]:9.2f}{row["p95_ms"]:9.2f}{row["p99_ms"]:9.2f}'
                  for row in rows]
        lines.append('')
    if result['ratio_to_peer'] is None:
        lines += ['torch runs no ONNX files: name another --backend for the peers', '']
    lines += [f'{name:28s}{value:9.2f}' for name, value in result.items()
              if isinstance(value, float)]
    lines += ['', f'{"heads per second":28s}{"network":>9s}{"all":>9s}']
    lines += [f'{row["threads"]} thread(s), {row["batch"]:3d} head(s)'.ljust(28)
              + f'{row["network_heads_per_s"]:9.0f}{row["heads_per_s"]:9.0f}'
              for row in result['throughput']]
    lines += ['', f'first head after {start["first_head_s"]:.2f} s, '
              f'{start["resident_mb"]:.0f} MB resident, peak {start["peak_mb"]:.0f} MB']
    return '\n'.join(lines)
