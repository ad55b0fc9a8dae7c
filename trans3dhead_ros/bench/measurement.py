"""What one process measures; its environment has limited the threads of all libraries."""

from __future__ import annotations

import itertools
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trans3dhead_ros.bench.ratios import compared_actions, ratios, spread_boxes
from trans3dhead_ros.bench.settings import Settings
from trans3dhead_ros.bench.stages import (
    align_actions,
    dense_action,
    network_action,
    network_actions,
    stream_actions,
)
from trans3dhead_ros.bench.timing import percentiles, take_turns
from trans3dhead_ros.camera import Camera
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.clip_truth import bundled_clip
from trans3dhead_ros.media.sources import open_source
from trans3dhead_ros.perception.detector import make_detector
from trans3dhead_ros.perception.pipeline import HeadPipeline
from trans3dhead_ros.types import Array, Image

MAX_FRAMES = 30
"""Frames of the source that are used; the stages that follow heads over time repeat them."""
FOV_DEG = 60.0
"""Of a source that does not bring its camera; no stage takes longer for another one."""

_CPUINFO = Path('/proc/cpuinfo')


@dataclass(frozen=True, eq=False)
class _Scene:
    images: list[Image]
    camera: Camera | None
    name: str
    image: Image
    boxes: Array

    @property
    def known_camera(self) -> Camera:
        height, width = self.image.shape[:2]
        return self.camera or Camera.from_fov((width, height), FOV_DEG)


def measure_stages(settings: Settings) -> dict[str, Any]:
    """
    Measure all stages, and one head beside the peers.

    :param settings: what is measured.
    :return: JSON values: where it was measured, `stages` and `peers` with percentiles, and the
        ratios.
    :raises UserError: no head is found in the source, or what the settings name does not exist.
    """
    pipeline, scene = _open(settings)
    camera, rounds, clock = scene.known_camera, settings.rounds, settings.clock
    compared = take_turns(compared_actions(
        pipeline, scene.image, scene.boxes[0], camera, settings.threads), rounds, clock=clock)
    taken = take_turns({**network_actions(pipeline.aligner, settings.batches),
                        **align_actions(pipeline, scene.image, scene.boxes, camera)}, rounds,
                       clock=clock)
    # A detection takes as long as a dozen of the others; it is given fewer turns.
    slow = stream_actions(pipeline, scene.images, scene.camera)
    if settings.yunet:
        yunet = make_detector(settings.yunet)
        slow['YuNet alone'] = lambda: yunet.detect(scene.images[0])
    taken |= take_turns(slow, -(-rounds // 6), 1, clock)
    engine, (height, width) = pipeline.aligner.engine, scene.image.shape[:2]
    return {
        'device': engine.device, 'processor': processor_name(engine.device),
        'threads': settings.threads, 'processor_time': settings.processor_time,
        'backend': engine.backend, 'version': engine.version, 'model': settings.model,
        'source': scene.name, 'size': [width, height],
        'heads': len(scene.boxes), **ratios(compared),
        'compared': _rows(compared), 'stages': _rows(taken)}


def measure_throughput(settings: Settings) -> list[dict[str, Any]]:
    """
    Measure heads per second for numbers of heads in one image.

    :param settings: what is measured.
    :return: for each batch JSON values: threads, batch, heads per second of the network alone and
        of everything from the image to pose and vertices.
    :raises UserError: as for `measure_stages`.
    """
    pipeline, scene = _open(settings)
    actions = {}
    for batch in settings.batches:
        actions['network', batch] = network_action(pipeline.aligner, batch)
        actions['all', batch] = dense_action(
            pipeline, scene.image, spread_boxes(scene.boxes[0], batch), scene.known_camera)
    taken = take_turns(actions, -(-settings.rounds // 3), clock=settings.clock)
    rate = {key: round(1e3 * key[1] / float(np.median(times)), 1) for key, times in taken.items()}
    return [{'threads': settings.threads, 'batch': batch,
             'network_heads_per_s': rate['network', batch], 'heads_per_s': rate['all', batch]}
            for batch in settings.batches]


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


def _open(settings: Settings) -> tuple[HeadPipeline, _Scene]:
    cv2.setNumThreads(settings.threads)
    pipeline = HeadPipeline.load(settings.model, settings.device, settings.backend,
                                 settings.detector, threads=settings.threads)
    with open_source(settings.source or bundled_clip()) as source:
        images = [frame.image for frame in itertools.islice(source, MAX_FRAMES)]
        name, camera = source.name, source.camera
    images = [image for image in images if image.shape == images[0].shape]
    pipeline.aligner.warm_up()
    for image in images:
        heads = pipeline.detect(image)
        if heads:
            boxes = np.stack([head.box for head in heads])
            return pipeline, _Scene(images, camera, name, image, boxes)
    raise UserError(f'bench: no head is found in {len(images)} images; name another SOURCE')


def _rows(times: dict[str, Array]) -> list[dict[str, Any]]:
    return [{'name': name, 'rounds': len(values), **percentiles(values)}
            for name, values in times.items()]
