"""An exported file is held against torch, crop by crop, before anybody gets it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.head_model import HeadModel
from trans3dhead_training.export.export_formats import Model
from trans3dhead_training.synthesis.preview.head_renderer import HeadRenderer

Crops = NDArray[np.float32]

COUNT = 100
"""Inputs of a check: half of them noise of all kinds, half rendered heads in all poses."""

FULL_BOUND = 1e-4
"""Largest difference from torch of any number of any output, in the output's own unit."""

HALF_BOUND = 0.02
"""The same in half precision: 1 % of the crop, 1.2 degrees of an entry of the rotation."""
HALF_SCORE_BOUND = 0.2
"""The score is a logit of magnitude 10, whose half precision alone is 0.004."""

_BATCHES = (1, 1, 2, 3, 5, 8, 16, 32, 32)
_RENDERED = 128


@dataclass(frozen=True)
class Deviation:
    """
    How far one output is from torch's over all inputs.

    :ivar largest, mean: of the absolute differences, in the output's unit.
    :ivar bound: that `largest` must not exceed.
    """

    output: str
    largest: float
    mean: float
    bound: float

    @property
    def passes(self) -> bool:
        """Whether it is within its bound; not where a number is not finite."""
        return self.largest <= self.bound


def check_crops(model: HeadModel, size: int, count: int = COUNT, seed: int = 0) -> Crops:
    """Return (count, 3, size, size) RGB in 0..1: noise of all kinds, and rendered heads."""
    generator = np.random.default_rng(seed)
    renderer = HeadRenderer.of(model)
    pictures = [_noise(generator, _RENDERED) if number % 2 else _head(generator, renderer)
                for number in range(count)]
    resized = [cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
               for picture in pictures]
    rgb = np.stack(resized)[..., ::-1].transpose(0, 3, 1, 2)
    return np.ascontiguousarray(rgb, dtype=np.float32) / 255.0


def _noise(generator: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Return a picture of some grain, brightness and contrast, from one flat colour to pixels."""
    side = int(generator.choice([1, 4, 16, size]))
    grain = generator.normal(generator.uniform(0, 255), generator.uniform(0, 120), (side, side, 3))
    return cv2.resize(np.clip(grain, 0, 255).astype(np.uint8), (size, size))


def _head(generator: np.random.Generator, renderer: HeadRenderer) -> NDArray[np.uint8]:
    camera = Camera.from_fov((_RENDERED, _RENDERED), 30.0)
    euler = generator.normal(0.0, [45.0, 15.0, 20.0])
    place = np.array([*generator.normal(0.0, 0.015, 2), generator.uniform(0.38, 0.6)])
    names = renderer.model.expression_names
    expression = {name: float(generator.uniform()) for name in generator.choice(names, 3)}
    shape = {number: float(generator.normal()) for number in range(renderer.model.shape_count)}
    return renderer.render(_noise(generator, _RENDERED), camera, rotation_from_euler(euler), place,
                           expression, shape)


def deviations(
    reference: Model, exported: Model, crops: Crops, batch: int | None, half: bool,
) -> list[Deviation]:
    """
    Compare all outputs.

    :param batch: the only size that the file takes; None: sizes from 1 to 32 are tried.
    """
    differences: dict[str, list[NDArray[np.float64]]] = {}
    for part in _parts(crops, batch):
        expected, found = reference(part), exported(part)
        for name, value in expected.items():
            difference = np.abs(found[name].astype(np.float64) - value)
            differences.setdefault(name, []).append(difference.ravel())
    rows = []
    for name, values in differences.items():
        every = np.concatenate(values)
        bound = FULL_BOUND if not half else HALF_SCORE_BOUND if name == 'score' else HALF_BOUND
        rows.append(Deviation(name, float(every.max()), float(every.mean()), bound))
    return rows


def _parts(crops: Crops, batch: int | None) -> Iterator[Crops]:
    sizes, start = iter(_BATCHES if batch is None else ()), 0
    while start < len(crops):
        size = next(sizes, 1) if batch is None else batch
        # The last one is filled up from the front where the size is fixed.
        rows = np.arange(start, start + size)
        yield crops[rows % len(crops) if batch else rows[rows < len(crops)]]
        start += size


def table(rows: list[Deviation]) -> str:
    """Return a line for every output."""
    lines = [f'  {"output":16s}{"largest":>10s}{"mean":>10s}{"bound":>10s}']
    lines += [f'  {row.output:16s}{row.largest:10.1e}{row.mean:10.1e}{row.bound:10.1e}'
              + ('' if row.passes else '  fails') for row in rows]
    return '\n'.join(lines)
