"""
Measure how long the stages of the pipeline take on this machine.

The stages take turns, so that whatever else the machine does affects them alike.
"""

from __future__ import annotations

import itertools
import json
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.cli.pipeline_options import add_pipeline_arguments, load_pipeline
from trans3dhead_ros.errors import UserError

MAX_FRAMES = 30
"""Frames of the source that are used; the stages that follow heads over time repeat them."""


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('source', nargs='?', metavar='SOURCE',
                        help='picture, folder, GIF, video or camera index (default: a clip of two '
                             'rendered people)')
    add_pipeline_arguments(parser)
    parser.add_argument('--threads', type=int, default=1,
                        help='of the network and of OpenCV (default: %(default)s)')
    parser.add_argument('--batches', type=int, nargs='+', default=[1, 2, 4, 8], metavar='N',
                        help='crops that the network takes at once (default: 1 2 4 8)')
    parser.add_argument('--rounds', type=int, default=60,
                        help='measurements of each stage (default: %(default)s)')
    parser.add_argument('--json', action='store_true', help='print one JSON object')


def run(options: Namespace) -> int:
    """
    Measure the stages and print a table.

    :param options: as `add_arguments` declares them.
    :return: exit code.
    :raises UserError: for a user's mistake.
    """
    for name in ('threads', 'rounds'):
        if getattr(options, name) < 1:
            raise UserError(f'--{name}: expected at least 1, got {getattr(options, name)}')
    if min(options.batches) < 1:
        raise UserError(f'--batches: expected at least 1, got {min(options.batches)}')
    # These take seconds to load: too long for the help.
    import cv2

    from trans3dhead_ros.cli.bench_stages import measure_stages, processor_name
    from trans3dhead_ros.media.clip_truth import bundled_clip
    from trans3dhead_ros.media.sources import open_source
    cv2.setNumThreads(options.threads)
    pipeline = load_pipeline(options, options.threads)
    with open_source(options.source or bundled_clip()) as source:
        images = [frame.image for frame in itertools.islice(source, MAX_FRAMES)]
        name, camera = source.name, source.camera
    images = [image for image in images if image.shape == images[0].shape]
    engine = pipeline.aligner.engine
    result = {'device': engine.device, 'processor': processor_name(engine.device),
              'threads': options.threads, 'backend': engine.backend, 'version': engine.version,
              'model': str(options.model or 'bundled'), 'source': name,
              **measure_stages(pipeline, images, camera, options.batches, options.rounds)}
    print(json.dumps(result, indent=2) if options.json else _table(result))
    return 0


def _table(result: Mapping[str, Any]) -> str:
    width, height = result['size']
    lines = [f'{result["device"]} ({result["processor"]}), {result["threads"]} thread(s), '
             f'{result["backend"]} {result["version"]}',
             f'{result["source"]}: {width} x {height}, {result["heads"]} head(s)', '',
             f'{"stage":28s}{"p50 ms":>9s}{"p95 ms":>9s}']
    lines += [f'{stage["name"]:28s}{stage["p50_ms"]:9.2f}{stage["p95_ms"]:9.2f}'
              for stage in result['stages']]
    return '\n'.join(lines)
