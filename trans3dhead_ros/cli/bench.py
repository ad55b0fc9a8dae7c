"""
`trans3dhead bench`: how long the stages of the pipeline take on this machine.

The stages take turns, so that whatever else the machine does hits them alike.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.camera import Camera
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.clip_truth import bundled_clip
from trans3dhead_ros.media.sources import open_source
from trans3dhead_ros.network.device import full_precision
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.perception.assembly import assemble, pose
from trans3dhead_ros.perception.crop import crop_square, crop_window
from trans3dhead_ros.perception.pipeline import HeadPipeline

Action = Callable[[], object]
Image = NDArray[np.uint8]

FRAMES = 30
"""Of the source, at most: the stages that follow heads through time go round and round in them."""
FOV_DEG = 60.0
"""Of a source that does not bring its camera; no stage takes longer for another one."""


def take_turns(
    actions: Mapping[str, Action], rounds: int, device: torch.device, warm_up: int = 3,
) -> dict[str, NDArray[np.float64]]:
    """Return the milliseconds (rounds,) of each action; turns to warm up do not count."""
    taken = {name: np.empty(rounds) for name in actions}
    turns = range(-warm_up, rounds)
    for turn in tqdm(turns, desc='bench', unit='turn', leave=False, disable=None):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            if device.type == 'cuda':
                torch.cuda.synchronize(device)
            if turn >= 0:
                taken[name][turn] = 1e3 * (time.perf_counter() - start)
    return taken


def network_actions(aligner: HeadAligner, batches: Sequence[int]) -> dict[str, Action]:
    """Return the network alone, for some sizes of batch."""
    size = aligner.network.config.input_size

    def action(batch: int) -> Action:
        crops = torch.rand(batch, 3, size, size, device=aligner.device)

        @torch.inference_mode()
        def run() -> None:
            with full_precision(aligner.device):
                aligner.network(crops)

        return run

    return {f'network, {batch} crop{"s" * (batch > 1)}': action(batch) for batch in batches}


def align_actions(
    pipeline: HeadPipeline, image: Image, boxes: NDArray[np.float64], camera: Camera,
) -> dict[str, Action]:
    """Return what follows when boxes are known: the parts of `align`, and all of it."""
    aligner, size = pipeline.aligner, pipeline.config.head_size
    config = aligner.network.config
    windows = [crop_window(box, config.crop_scale) for box in boxes]
    found = aligner.align(image, boxes)
    poses = pose(found, image, camera, size)
    return {
        'crop': lambda: [crop_square(image, *window, config.input_size) for window in windows],
        'crop + network + decode': lambda: aligner.align(image, boxes),
        'metric pose': lambda: pose(found, image, camera, size),
        'vertices + projection': lambda: assemble(aligner, found, poses, camera, size),
        'align, no camera': lambda: pipeline.align(image, boxes),
        'align, camera': lambda: pipeline.align(image, boxes, camera=camera),
    }


def stream_actions(
    pipeline: HeadPipeline, images: Sequence[Image], camera: Camera | None,
) -> dict[str, Action]:
    """Return what has to find heads: the detector alone, `detect`, and `track` image by image."""
    first, turns = images[0], itertools.count()

    def track() -> None:
        turn = next(turns)
        pipeline.track(images[turn % len(images)], stamp=turn / 30.0, camera=camera)

    return {
        'detector alone': lambda: pipeline.detector.detect(first),
        'detect': lambda: pipeline.detect(first, camera=camera),
        'track': track,
    }


def bench(
    pipeline: HeadPipeline, images: Sequence[Image], camera: Camera | None,
    batches: Sequence[int], rounds: int,
) -> dict[str, Any]:
    """
    Measure all stages.

    :param images: (H, W, 3) BGR, of one size, one after another in time.
    :return: JSON values: heads, size, and `stages` with name, rounds, p50_ms and p95_ms.
    :raises ValueError: no head is found in any of the images.
    """
    height, width = images[0].shape[:2]
    device = pipeline.aligner.device
    pipeline.aligner.warm_up()
    image, heads = next(((image, heads) for image in images if (heads := pipeline.detect(image))),
                        (None, []))
    if image is None:
        raise UserError(f'bench: no head is found in {len(images)} images; name another SOURCE')
    boxes = np.stack([head.box for head in heads])
    known = camera or Camera.from_fov((width, height), FOV_DEG)
    taken = take_turns({**network_actions(pipeline.aligner, batches),
                        **align_actions(pipeline, image, boxes, known)}, rounds, device)
    # A search takes as long as a dozen of the others; it is given fewer turns.
    taken |= take_turns(stream_actions(pipeline, images, camera), -(-rounds // 6), device, 1)
    return {'heads': len(boxes), 'size': [width, height],
            'stages': [{'name': name, 'rounds': len(times),
                        'p50_ms': round(float(np.percentile(times, 50)), 3),
                        'p95_ms': round(float(np.percentile(times, 95)), 3)}
                       for name, times in taken.items()]}


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog='trans3dhead bench', description=__doc__)
    parser.add_argument('source', nargs='?', default=str(bundled_clip()), metavar='SOURCE',
                        help='picture, folder, GIF, video or camera index (default: a clip of two '
                             'rendered people)')
    parser.add_argument('--model', type=Path, help='checkpoint (default: the bundled one)')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--detector', default='cascade',
                        help='cascade, or a YuNet .onnx file (default: %(default)s)')
    parser.add_argument('--threads', type=int, default=1,
                        help='of torch and OpenCV (default: %(default)s)')
    parser.add_argument('--batches', type=int, nargs='+', default=[1, 2, 4, 8], metavar='N',
                        help='crops that the network takes at once (default: 1 2 4 8)')
    parser.add_argument('--rounds', type=int, default=60, help='turns (default: %(default)s)')
    parser.add_argument('--json', action='store_true', help='print one JSON table')
    options = parser.parse_args(argv)
    for name in ('threads', 'rounds'):
        if getattr(options, name) < 1:
            raise UserError(f'--{name}: expected at least 1, got {getattr(options, name)}')
    if min(options.batches) < 1:
        raise UserError(f'--batches: expected at least 1, got {min(options.batches)}')
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run `trans3dhead bench`; `ValueError` for a user's mistake."""
    options = _parse(argv)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    pipeline = HeadPipeline.load(options.model, options.device, detector=options.detector)
    with open_source(options.source) as source:
        images = [frame.image for frame in itertools.islice(source, FRAMES)]
        camera = source.camera
    images = [image for image in images if image.shape == images[0].shape]
    device = pipeline.aligner.device
    result = {'device': str(device), 'processor': _processor(device), 'threads': options.threads,
              'torch': torch.__version__, 'model': str(options.model or 'bundled'),
              'source': options.source,
              **bench(pipeline, images, camera, options.batches, options.rounds)}
    print(json.dumps(result, indent=2) if options.json else _text(result))
    return 0


def _processor(device: torch.device) -> str:
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    return f'{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}'


def _text(result: Mapping[str, Any]) -> str:
    width, height = result['size']
    lines = [f'{result["device"]} ({result["processor"]}), {result["threads"]} thread(s), torch '
             f'{result["torch"]}',
             f'{result["source"]}: {width} x {height}, {result["heads"]} head(s)', '',
             f'{"stage":28s}{"p50 ms":>9s}{"p95 ms":>9s}']
    lines += [f'{stage["name"]:28s}{stage["p50_ms"]:9.2f}{stage["p95_ms"]:9.2f}'
              for stage in result['stages']]
    return '\n'.join(lines)
