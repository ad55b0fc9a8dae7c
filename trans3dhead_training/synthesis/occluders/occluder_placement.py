"""Occluders fitted to a head; they change the visibility of landmarks, not their positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_ros.types import Array
from trans3dhead_training.synthesis.occluders.facewear import (
    sample_glasses,
    sample_mask,
    sample_scarf,
)
from trans3dhead_training.synthesis.occluders.handheld import sample_prop
from trans3dhead_training.synthesis.occluders.headwear import (
    sample_hat,
    sample_headphones,
    surface_over_hair,
)
from trans3dhead_training.synthesis.occluders.radial_surface import (
    MOUTH_CENTRE,
    SKULL_CENTRE,
    RadialSurface,
)
from trans3dhead_training.synthesis.render.textured_mesh import Mesh

_FALLBACK_SKIN = np.array([190.0, 145.0, 120.0])


@dataclass(frozen=True)
class OccluderDistribution:
    """Probability of each kind; several may occur together."""

    glasses: float = 0.17
    """Spectacles."""
    sun_glasses: float = 0.06
    """Sunglasses, instead of spectacles."""
    hat: float = 0.11
    """Beanies, caps and hats."""
    headphones: float = 0.04
    """Headphones, where there is no hat."""
    mask: float = 0.05
    """Surgical and cloth masks."""
    scarf: float = 0.05
    """Scarves."""
    prop: float = 0.09
    """Hands and handheld objects."""


@dataclass(frozen=True, eq=False)
class OccluderPlacement:
    """Fits occluders to heads of one head model; the rays are cast once."""

    model: HeadModule
    """The head model."""
    skull: RadialSurface
    """The head's surface seen from the centre of the skull."""
    face: RadialSurface
    """The head's surface seen from inside the mouth."""

    @classmethod
    def from_model(cls, model: HeadModule) -> OccluderPlacement:
        """Cast the rays from the centres of skull and mouth."""
        return cls(
            model, RadialSurface.from_model(model, SKULL_CENTRE),
            RadialSurface.from_model(model, MOUTH_CENTRE))

    def add_occluders(
        self, generator: np.random.Generator, meshes: Sequence[Mesh], vertices: Array,
        distribution: OccluderDistribution = OccluderDistribution(),
    ) -> tuple[Mesh, ...]:
        """
        Return a person's meshes with random occluders; hats flatten the hair.

        :param generator: source of the choices.
        :param meshes: of the person, head frame; the names of hair begin with 'hair', those of skin
            with 'skin'.
        :param vertices: (V, 3) m of the head model, head frame.
        :param distribution: probabilities of the occluders.
        :return: all meshes.
        """
        chance = generator.random(7)
        landmarks = vertices[self.model.landmark_indices.numpy()]
        occluders: list[Mesh] = []
        meshes = list(meshes)
        if chance[0] < distribution.hat:
            hat, crown = sample_hat(generator, self.skull.points(vertices))
            meshes = [crown.flatten_hair(mesh) if mesh.name.startswith('hair') else mesh
                      for mesh in meshes]
            occluders += hat
        elif chance[1] < distribution.headphones:
            hair = [mesh for mesh in meshes if mesh.name.startswith('hair')]
            occluders += sample_headphones(
                generator, surface_over_hair(self.skull.points(vertices), hair)
            )
        if chance[2] < distribution.sun_glasses:
            occluders += sample_glasses(generator, vertices, landmarks, dark=True)
        elif chance[3] < distribution.glasses:
            occluders += sample_glasses(generator, vertices, landmarks, dark=False)
        if chance[4] < distribution.mask:
            occluders += sample_mask(generator, self.face.points(vertices), landmarks)
        if chance[5] < distribution.scarf:
            occluders += sample_scarf(generator, landmarks)
        if chance[6] < distribution.prop:
            occluders += sample_prop(generator, landmarks, _skin_colour(meshes))
        return (*meshes, *occluders)


def only_occluders(**chances: float) -> OccluderDistribution:
    """Return a distribution with these probabilities and 0 for all other kinds."""
    nothing = OccluderDistribution(*([0.0] * 7))
    return replace(nothing, **chances)


def _skin_colour(meshes: Sequence[Mesh]) -> Array:
    for mesh in meshes:
        if mesh.name.startswith('skin'):
            # The middle of the texture, because its borders may be empty.
            height, width = mesh.texture.shape[:2]
            part = mesh.texture[height // 3:height // 2, width // 3:2 * width // 3, :3]
            return np.median(part.numpy().reshape(-1, 3), axis=0).astype(float)
    return _FALLBACK_SKIN
