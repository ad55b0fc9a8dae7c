"""Compare an exported file with torch, on rendered heads and on noise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_training.export.onnx_file import Model
from trans3dhead_training.synthesis.preview.head_renderer import HeadRenderer

Crops = NDArray[np.float32]

CROP_COUNT = 100
"""Crops of a check: half of them noise, half rendered heads in all poses."""

MAX_DEVIATION = 1e-4
"""Largest allowed difference from torch of any number of any output, in the output's own unit."""

MAX_DEVIATION_PX = 0.01
"""The same of the boxes of a detector, whose coordinates are px of a whole image."""

_IMAGE_SIZES = ((32, 32), (96, 160), (64, 224), (320, 256))

_BATCHES = (1, 1, 2, 3, 5, 8, 16, 32, 32)
_RENDERED_PX = 128


@dataclass(frozen=True)
class Deviation:
    """How far one output is from torch's, over all crops."""

    output: str
    """Name of the output."""
    largest: float
    """Largest absolute difference, in the output's unit."""
    mean: float
    """Mean absolute difference."""
    limit: float = MAX_DEVIATION
    """Largest allowed difference."""

    @property
    def passes(self) -> bool:
        """Whether it is within the limit; False where a number is not finite."""
        return self.largest <= self.limit


def check_crops(model: HeadModule, size: int, count: int = CROP_COUNT, seed: int = 0) -> Crops:
    """
    Make crops to compare on: alternately a rendered head and noise.

    :param model: head model to render.
    :param size: side of the crops, px.
    :param count: how many.
    :param seed: of everything random.
    :return: (count, 3, size, size) RGB in 0..1.
    """
    generator = np.random.default_rng(seed)
    renderer = HeadRenderer.from_model(model)
    pictures = [_noise(generator) if number % 2 else _head(generator, renderer)
                for number in range(count)]
    resized = [cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
               for picture in pictures]
    rgb = np.stack(resized)[..., ::-1].transpose(0, 3, 1, 2)
    return np.ascontiguousarray(rgb, dtype=np.float32) / 255.0


def check_images(count: int = CROP_COUNT, seed: int = 0) -> list[Crops]:
    """
    Make images to compare a detector on: noise of several sizes.

    :param count: how many images; half of them in pairs.
    :param seed: of everything random.
    :return: batches (B, 3, H, W) RGB in 0..1.
    """
    generator, batches = np.random.default_rng(seed), []
    while sum(map(len, batches)) < count:
        height, width = _IMAGE_SIZES[len(batches) % len(_IMAGE_SIZES)]
        pictures = [cv2.resize(_noise(generator), (width, height))
                    for _ in range(1 + len(batches) % 2)]
        batches.append(np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32) / 255)
    return batches


def _noise(generator: np.random.Generator) -> NDArray[np.uint8]:
    """Return noise of random grain, brightness and contrast, from one flat colour to pixels."""
    side = int(generator.choice([1, 4, 16, _RENDERED_PX]))
    grain = generator.normal(generator.uniform(0, 255), generator.uniform(0, 120), (side, side, 3))
    return cv2.resize(np.clip(grain, 0, 255).astype(np.uint8), (_RENDERED_PX, _RENDERED_PX))


def _head(generator: np.random.Generator, renderer: HeadRenderer) -> NDArray[np.uint8]:
    camera = Camera.from_fov((_RENDERED_PX, _RENDERED_PX), 30.0)
    euler = generator.normal(0.0, [45.0, 15.0, 20.0])
    translation = np.array([*generator.normal(0.0, 0.015, 2), generator.uniform(0.38, 0.6)])
    names = renderer.model.expression_names
    expression = {name: float(generator.uniform()) for name in generator.choice(names, 3)}
    shape = {number: float(generator.normal()) for number in range(renderer.model.shape_count)}
    return renderer.render(_noise(generator), camera, rotation_from_euler(euler), translation,
                           expression, shape)


def deviations(
    reference: Model, exported: Model, crops: Crops, batch: int | None,
) -> list[Deviation]:
    """
    Compare all outputs of two models.

    :param reference: the network in torch.
    :param exported: the file.
    :param crops: (N, 3, S, S) RGB in 0..1.
    :param batch: the only batch size that the file takes; None: sizes from 1 to 32 are tried.
    :return: one entry for each output.
    """
    return batch_deviations(reference, exported, _batches(crops, batch), {})


def batch_deviations(
    reference: Model, exported: Model, batches: Iterable[Crops], limits: Mapping[str, float],
) -> list[Deviation]:
    """
    Compare all outputs of two models.

    :param reference: the network in torch.
    :param exported: the file.
    :param batches: (B, 3, H, W) RGB in 0..1.
    :param limits: largest allowed difference of an output, where it is not `MAX_DEVIATION`.
    :return: one entry for each output.
    """
    differences: dict[str, list[NDArray[np.float64]]] = {}
    for part in batches:
        expected, found = reference(part), exported(part)
        for name, value in expected.items():
            difference = np.abs(found[name].astype(np.float64) - value)
            differences.setdefault(name, []).append(difference.ravel())
    joined = {name: np.concatenate(values) for name, values in differences.items()}
    return [Deviation(name, float(values.max()), float(values.mean()),
                      limits.get(name, MAX_DEVIATION)) for name, values in joined.items()]


def _batches(crops: Crops, batch: int | None) -> Iterator[Crops]:
    sizes, start = iter(_BATCHES if batch is None else ()), 0
    while start < len(crops):
        size = next(sizes, 1) if batch is None else batch
        # Where the size is fixed, the last batch is filled up with the first crops.
        rows = np.arange(start, start + size)
        yield crops[rows % len(crops) if batch else rows[rows < len(crops)]]
        start += size


def table(rows: list[Deviation]) -> str:
    """Return a line for each output, under a heading."""
    lines = [f'  {"output":16s}{"largest":>10s}{"mean":>10s}']
    lines += [f'  {row.output:16s}{row.largest:10.1e}{row.mean:10.1e}'
              + ('' if row.passes else '  too large') for row in rows]
    return '\n'.join(lines)
