"""Samples and parts that need no data; in a module that worker processes can import."""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from synthetic import small_head_model

from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_training.data.sample import Placement, Sample


def drawn_sample(number: int, **known: Any) -> Sample:
    """A picture of dots where its points are."""
    generator = np.random.default_rng(number)
    points = generator.uniform(40, 120, (68, 2))
    image = np.full((160, 160, 3), 90, np.uint8)
    for x, y in points:
        cv2.circle(image, (round(x), round(y)), 2, (255, 255, 255), -1)
    picture = cv2.imencode('.jpg', image)[1].tobytes()
    return Sample(picture, 'drawn', f'group{number // 2}', number % 4 == 0, points, **known)


def fitted_sample(number: int, model=None) -> Sample:
    """A head whose points are those of its own coefficients."""
    model = model or small_head_model()
    generator = np.random.default_rng(number)
    shape = generator.normal(size=model.shape_count)
    expression = generator.uniform(0, 1, model.expression_count)
    rotation = rotation_from_euler(generator.uniform(-30, 30, 3))
    head = model.landmarks(model(torch.tensor(shape[None]).float(),
                                 torch.tensor(expression[None]).float()))[0].numpy()
    flat = np.exp(6.0) * head @ rotation[:2].T + 80
    return replace(drawn_sample(number), points=flat, points_are_3d=True, contour=flat[:17],
                   depth=np.zeros(68), rotation=rotation, placement=Placement(np.full(2, 80.), 6.0),
                   shape=shape, expression=expression, visible=generator.random(68) < 0.5)


@dataclass(frozen=True)
class DrawnMaker:
    """A part that needs no data."""

    items: int = 7
    name: str = 'synthetic'
    source: str = 'drawn by the test'
    licence: str = 'CC0 1.0'
    open: bool = True
    bytes_each: int = 4_000
    seed: int = 0

    def count(self) -> int:
        return self.items

    def settings(self) -> dict[str, Any]:
        return {'items': self.items, 'seed': self.seed}

    def samples_per_item(self) -> float:
        return 200.0

    def make(self, start: int, stop: int) -> list[Sample]:
        return [fitted_sample(10 * self.seed + i) for i in range(start, stop)]


@dataclass(frozen=True)
class SlowMaker(DrawnMaker):
    """A part whose samples take a while; each process leaves its id."""

    folder: str = ''

    def samples_per_item(self) -> float:
        return 500.0

    def make(self, start: int, stop: int) -> list[Sample]:
        (Path(self.folder) / f'{os.getpid()}.pid').touch()
        time.sleep(60)
        return []
