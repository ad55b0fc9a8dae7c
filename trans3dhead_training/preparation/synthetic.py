"""Synthetic people, with the whole truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from trans3dhead_training.data.sample import Placement, Sample
from trans3dhead_training.fitting.head_basis import load_head_model
from trans3dhead_training.preparation.encode import encoded
from trans3dhead_training.preparation.photographs import fingerprint
from trans3dhead_training.synthesis.people.person_assets import PORTRAIT_FITS
from trans3dhead_training.synthesis.scenes.head_labels import SyntheticHead
from trans3dhead_training.synthesis.scenes.scene_generator import (
    PICTURES_PER_PERSON,
    SceneAssets,
    render_crops,
)

AVERTED_TRUST = 0.25
"""Weight of the points of a head that shows its back: they are true, but not to be seen."""

VALIDATION_EVERY = 50
"""Of so many people one is held out."""


@dataclass(frozen=True)
class SyntheticMaker:
    """
    Pictures of drawn people; an item is one person in several pictures.

    :ivar root: data folder. :ivar cache: where the registered assets are kept.
    :ivar head_model: whose coefficients are the truth. :ivar people: how many.
    """

    root: Path
    cache: Path
    head_model: Path
    people: int
    seed: int
    name: str = 'synthetic'
    source: str = ('synthetic people: ICT-FaceKit head, MakeHuman skins and hair, skins of '
                   'Congress portraits, HDR environments')
    licence: str = 'MIT (head), CC0 1.0 (MakeHuman, environments), public domain (portraits)'
    open: bool = True
    bytes_each: int = 19_000

    def count(self) -> int:
        """
        Return the number of people.

        :raises ValueError: an asset is missing or damaged.
        """
        # Registers the assets once, before several processes would each do so.
        load_scene_assets(self.root, self.cache, self.head_model)
        return self.people

    def settings(self) -> dict[str, Any]:
        """Return what the samples depend on."""
        portraits = self.cache.parent / PORTRAIT_FITS
        return {'people': self.people, 'pictures_per_person': PICTURES_PER_PERSON,
                'head_model': fingerprint(self.head_model),
                'portrait_skins': fingerprint(portraits) if portraits.is_file() else None}

    def samples_per_item(self) -> float:
        """Return how many pictures a person gives."""
        return float(PICTURES_PER_PERSON)

    def make(self, start: int, stop: int) -> list[Sample]:
        """Return the pictures of some people."""
        place = load_scene_assets(self.root, self.cache, self.head_model)
        samples = []
        for person in range(start, stop):
            generator = np.random.default_rng((self.seed, person))
            held_out = person % VALIDATION_EVERY == VALIDATION_EVERY - 1
            samples += [synthetic_sample(image, truth, f'person{person}', held_out)
                        for image, truth in render_crops(place, generator, PICTURES_PER_PERSON)]
        return samples


@lru_cache(maxsize=1)
def load_scene_assets(root: Path, cache: Path, head_model: Path) -> SceneAssets:
    """Return what pictures are made with, loaded once a process."""
    return SceneAssets.load(root, cache, load_head_model(head_model))


def synthetic_sample(
    image: np.ndarray, truth: SyntheticHead, group: str, is_validation: bool,
) -> Sample:
    """Return one picture (H, W, 3) BGR and its truth."""
    averted = truth.rotation[2, 0] > 0  # the face points away from the camera
    return Sample(
        picture=encoded(image), source='synthetic', group=f'synthetic/{group}',
        is_validation=is_validation, points=truth.landmarks[:, :2], points_are_3d=True,
        trust=AVERTED_TRUST if averted else 1.0, depth=truth.landmarks[:, 2],
        contour=truth.contour, visible=truth.visible, rotation=truth.rotation,
        placement=Placement(truth.translation, truth.log_scale), shape=truth.shape,
        expression=truth.expression)
