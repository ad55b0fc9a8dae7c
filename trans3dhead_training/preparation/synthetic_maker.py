"""The part `synthetic`: rendered people with exact labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from trans3dhead_training.data.sample import Placement, Sample
from trans3dhead_training.fitting.head_basis import load_head_model_npz
from trans3dhead_training.preparation.photograph_maker import fingerprint
from trans3dhead_training.preparation.picture_bytes import encode_jpeg
from trans3dhead_training.synthesis.people.person_assets import PORTRAIT_FITS
from trans3dhead_training.synthesis.scenes.head_labels import SyntheticHead
from trans3dhead_training.synthesis.scenes.scene_config import SCENE_PRESETS
from trans3dhead_training.synthesis.scenes.scene_generator import (
    PICTURES_PER_PERSON,
    SceneAssets,
    render_crops,
)

AVERTED_TRUST = 0.25
"""Weight of the points of a head seen from behind: they are exact but not visible."""

VALIDATION_EVERY = 50
"""One of so many people is held out."""


@dataclass(frozen=True)
class SyntheticMaker:
    """Pictures of rendered people; an item is one person in several pictures."""

    root: Path
    """Data folder."""
    cache: Path
    """Folder that caches the registered assets."""
    head_model: Path
    """File of the head model whose coefficients are the labels."""
    people: int
    """Number of people."""
    seed: int
    preset: str = 'standard'
    """One of `SCENE_PRESETS`."""
    name: str = 'synthetic'
    source: str = ('synthetic people: ICT-FaceKit head, MakeHuman skins and hair, skins of '
                   'Congress portraits, HDR environments')
    licence: str = 'MIT (head), CC0 1.0 (MakeHuman, environments), public domain (portraits)'
    open: bool = True
    bytes_each: int = 19_000

    def count(self) -> int:
        """
        Return the number of people.

        :return: number of items.
        :raises UserError: an asset is missing or damaged.
        """
        # Registers the assets once, before several processes would each do so.
        load_scene_assets(self.root, self.cache, self.head_model, self.preset)
        return self.people

    def settings(self) -> dict[str, Any]:
        """Return the values on which the samples depend."""
        portraits = self.cache.parent / PORTRAIT_FITS
        return {'preset': self.preset, 'pictures_per_person': PICTURES_PER_PERSON,
                'head_model': fingerprint(self.head_model),
                'portrait_skins': fingerprint(portraits) if portraits.is_file() else None}

    def samples_per_item(self) -> float:
        """Return the number of pictures of a person."""
        return float(PICTURES_PER_PERSON)

    def make(self, start: int, stop: int) -> list[Sample]:
        """Make the pictures of some people; see `PartMaker`."""
        place = load_scene_assets(self.root, self.cache, self.head_model, self.preset)
        samples = []
        for person in range(start, stop):
            generator = np.random.default_rng((self.seed, person))
            held_out = person % VALIDATION_EVERY == VALIDATION_EVERY - 1
            samples += [synthetic_sample(image, truth, f'person{person}', held_out)
                        for image, truth in render_crops(place, generator, PICTURES_PER_PERSON)]
        return samples


@lru_cache(maxsize=1)
def load_scene_assets(
    root: Path, cache: Path, head_model: Path, preset: str = 'standard',
) -> SceneAssets:
    """Return what pictures are made with, loaded once a process."""
    return SceneAssets.load(root, cache, load_head_model_npz(head_model), SCENE_PRESETS[preset])


def synthetic_sample(
    image: np.ndarray, truth: SyntheticHead, group: str, is_validation: bool,
) -> Sample:
    """
    Return one picture and its labels as a sample.

    :param image: (H, W, 3) BGR.
    :param truth: its labels.
    :param group: name of the person.
    :param is_validation: held out.
    :return: the sample.
    """
    averted = truth.rotation[2, 0] > 0  # the face points away from the camera
    return Sample(
        picture=encode_jpeg(image), source='synthetic', group=f'synthetic/{group}',
        is_validation=is_validation, points=truth.landmarks[:, :2], points_are_3d=True,
        trust=AVERTED_TRUST if averted else 1.0, depth=truth.landmarks[:, 2],
        contour=truth.contour, visible=truth.visible, rotation=truth.rotation,
        placement=Placement(truth.translation, truth.log_scale), shape=truth.shape,
        expression=truth.expression)
