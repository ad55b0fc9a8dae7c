"""The stages of the pipeline, each as a function to be timed, and their timing in turns."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.perception.assembly import build_heads, estimate_poses
from trans3dhead_ros.perception.crop import crop_square, crop_window
from trans3dhead_ros.perception.pipeline import HeadPipeline
from trans3dhead_ros.types import Array, Image

_CPUINFO = Path('/proc/cpuinfo')

Action = Callable[[], object]

FOV_DEG = 60.0
"""Of a source that does not bring its camera; no stage takes longer for another one."""


def take_turns(
    actions: Mapping[str, Action], rounds: int, warm_up: int = 3,
) -> dict[str, Array]:
    """
    Time actions in turns; each of them waits for its results.

    :param actions: what to time, by name.
    :param rounds: turns that count.
    :param warm_up: turns before them that do not count.
    :return: milliseconds (rounds,) of each action.
    """
    taken = {name: np.empty(rounds) for name in actions}
    turns = range(-warm_up, rounds)
    for turn in tqdm(turns, desc='bench', unit='turn', leave=False, disable=None):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            if turn >= 0:
                taken[name][turn] = 1e3 * (time.perf_counter() - start)
    return taken


def network_actions(aligner: HeadAligner, batches: Sequence[int]) -> dict[str, Action]:
    """
    Return the network alone.

    :param aligner: whose network it is.
    :param batches: numbers of crops, one action each.
    :return: actions by name.
    """
    size = aligner.input_size

    def action(batch: int) -> Action:
        crops = np.random.default_rng(0).random((batch, 3, size, size), np.float32)
        return lambda: aligner.engine.run(crops)

    return {f'network, {batch} crop{"s" * (batch > 1)}': action(batch) for batch in batches}


def align_actions(
    pipeline: HeadPipeline, image: Image, boxes: Array, camera: Camera,
) -> dict[str, Action]:
    """
    Return the stages that follow when boxes are known: the parts of `align`, and all of it.

    :param pipeline: whose stages they are.
    :param image: (H, W, 3) BGR.
    :param boxes: (N, 4) x0 y0 x1 y1 px.
    :param camera: for the metric pose.
    :return: actions by name.
    """
    aligner, size = pipeline.aligner, pipeline.config.head_size
    windows = [crop_window(box, aligner.crop_scale) for box in boxes]
    found = aligner.align(image, boxes)
    poses = estimate_poses(found, image, camera, size)
    return {
        'crop': lambda: [crop_square(image, *window, aligner.input_size) for window in windows],
        'crop + network + decode': lambda: aligner.align(image, boxes),
        'metric pose': lambda: estimate_poses(found, image, camera, size),
        'vertices + projection': lambda: build_heads(aligner, found, poses, camera, size),
        'align, no camera': lambda: pipeline.align(image, boxes),
        'align, camera': lambda: pipeline.align(image, boxes, camera=camera),
    }


def stream_actions(
    pipeline: HeadPipeline, images: Sequence[Image], camera: Camera | None,
) -> dict[str, Action]:
    """
    Return the stages that find heads: the detector alone, `detect`, and `track` image by image.

    :param pipeline: whose stages they are.
    :param images: (H, W, 3) BGR, consecutive frames.
    :param camera: for metric poses; may be None.
    :return: actions by name.
    """
    first, turns = images[0], itertools.count()

    def track() -> None:
        turn = next(turns)
        pipeline.track(images[turn % len(images)], stamp=turn / 30.0, camera=camera)

    return {
        'detector alone': lambda: pipeline.detector.detect(first),
        'detect': lambda: pipeline.detect(first, camera=camera),
        'track': track,
    }


def measure_stages(
    pipeline: HeadPipeline, images: Sequence[Image], camera: Camera | None,
    batches: Sequence[int], rounds: int,
) -> dict[str, Any]:
    """
    Measure all stages.

    :param pipeline: whose stages they are.
    :param images: (H, W, 3) BGR, of one size, consecutive frames.
    :param camera: of the images; None takes a field of view of `FOV_DEG`.
    :param batches: numbers of crops for the network alone.
    :param rounds: measurements of each stage.
    :return: JSON values: heads, size, and `stages` with name, rounds, p50_ms and p95_ms.
    :raises UserError: no head is found in any of the images.
    """
    height, width = images[0].shape[:2]
    pipeline.aligner.warm_up()
    image, heads = next(((image, heads) for image in images if (heads := pipeline.detect(image))),
                        (None, []))
    if image is None:
        raise UserError(f'bench: no head is found in {len(images)} images; name another SOURCE')
    boxes = np.stack([head.box for head in heads])
    known = camera or Camera.from_fov((width, height), FOV_DEG)
    taken = take_turns({**network_actions(pipeline.aligner, batches),
                        **align_actions(pipeline, image, boxes, known)}, rounds)
    # A detection takes as long as a dozen of the others; it is given fewer turns.
    taken |= take_turns(stream_actions(pipeline, images, camera), -(-rounds // 6), 1)
    return {'heads': len(boxes), 'size': [width, height],
            'stages': [{'name': name, 'rounds': len(times),
                        'p50_ms': round(float(np.percentile(times, 50)), 3),
                        'p95_ms': round(float(np.percentile(times, 95)), 3)}
                       for name, times in taken.items()]}


def processor_name(device: str) -> str:
    """Return the name of the GPU where torch knows it, or what is known of the CPU."""
    torch = sys.modules.get('torch')
    if device.startswith('cuda'):
        return device if torch is None else torch.cuda.get_device_name(device)
    model = ''
    if _CPUINFO.is_file():
        model = next((line.partition(':')[2].strip() for line in _CPUINFO.read_text().splitlines()
                      if line.startswith('model name')), '')
    return f'{os.cpu_count()} cores{", " * bool(model)}{model}'
