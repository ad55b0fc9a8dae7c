"""Beanies, caps, hats and headphones fitted to a head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from trans3dhead_ros.types import Array
from trans3dhead_training.synthesis.occluders.mesh_primitives import (
    CLOTH,
    PLASTIC,
    ellipsoid_mesh,
    grid_mesh,
    plain_texture,
    sample_colour,
    sample_fabric_texture,
    tube_mesh,
)
from trans3dhead_training.synthesis.occluders.radial_surface import (
    SKULL_CENTRE,
    direction_vector,
    sample_map,
    spherical_coordinates,
)
from trans3dhead_training.synthesis.render.textured_mesh import Mesh

_AZIMUTH = np.linspace(-180, 180, 49)
_HAIR_GAP = 0.003
_HAIR_BEARS = 0.03


@dataclass(frozen=True, eq=False)
class HatCrown:
    """The crown of a hat: cloth over the top of the head, above an edge."""

    edge_deg: Array
    """(49,) elevation of the edge seen from `SKULL_CENTRE`, by azimuth."""
    radius: Array
    """(E, A) m by direction, on the grid of a `RadialSurface`."""

    def points(self, rows: int = 9) -> Array:
        """Return the cloth as a grid (rows, 48, 3) m from its edge to the top."""
        share = np.linspace(0, 1, rows)[:, None]
        elevation = self.edge_deg[None, :-1] * (1 - share) + 89.9 * share
        azimuth = np.broadcast_to(_AZIMUTH[None, :-1], elevation.shape)
        radius = sample_map(self.radius, elevation, azimuth)
        return SKULL_CENTRE + radius[..., None] * direction_vector(elevation, azimuth)

    def flatten_hair(self, hair: Mesh) -> Mesh:
        """Return a mesh of hair with the part above the edge pressed below the cloth."""
        points = hair.vertices.numpy().astype(np.float64)
        elevation, azimuth, radius = spherical_coordinates(points, SKULL_CENTRE)
        above = elevation > np.interp(azimuth, _AZIMUTH, self.edge_deg) - 2.0
        limit = sample_map(self.radius, elevation, azimuth) - _HAIR_GAP
        pressed = above & (radius > limit)
        factor = np.where(pressed, limit / np.maximum(radius, 1e-6), 1.0)[:, None]
        return hair.with_vertices(
            torch.from_numpy((SKULL_CENTRE + factor * (points - SKULL_CENTRE)).astype(np.float32))
        )


def fit_hat_crown(surface: Array, front_deg: float, back_deg: float, thickness: float,
                  peak: float = 0.0) -> HatCrown:
    """
    Return a crown slightly off the skull.

    :param surface: (E, A, 3) m of a `RadialSurface` about `SKULL_CENTRE`.
    :param front_deg: elevation of the edge at the front.
    :param back_deg: elevation of the edge at the back.
    :param thickness: m off the skin.
    :param peak: m, additional height at the top.
    :return: the crown.
    """
    turn = (1 - np.cos(np.deg2rad(_AZIMUTH))) / 2
    edge = front_deg + (back_deg - front_deg) * turn
    radius = np.linalg.norm(surface - SKULL_CENTRE, axis=-1).astype(np.float32)
    # Azimuth wraps around, elevation does not.
    around = cv2.copyMakeBorder(radius, 0, 0, 6, 6, cv2.BORDER_WRAP)
    smooth = cv2.GaussianBlur(around, (0, 0), 2.5, borderType=cv2.BORDER_REPLICATE)
    smooth = np.maximum(smooth[:, 6:-6], radius) + thickness
    up = np.sin(np.linspace(0, np.pi / 2, len(radius)))[:, None]
    return HatCrown(edge, (smooth + peak * up).astype(np.float64))


def sample_hat(generator: np.random.Generator, surface: Array) -> tuple[list[Mesh], HatCrown]:
    """
    Return a random beanie, cap or hat with a brim.

    :param generator: source of the choices.
    :param surface: (E, A, 3) m, the head seen from `SKULL_CENTRE`.
    :return: its meshes, and the crown under which hair is to be flattened.
    """
    kind = generator.choice(3, p=[0.4, 0.4, 0.2])
    front = generator.uniform(18, 32)
    cloth = sample_fabric_texture(generator)
    if kind == 0:
        crown = fit_hat_crown(
            surface, front, generator.uniform(-30, -5), generator.uniform(0.006, 0.012),
            generator.uniform(0.0, 0.018))
        fold = crown.points()
        rim = grid_mesh(SKULL_CENTRE + (fold[:3] - SKULL_CENTRE) * 1.045, cloth, CLOTH, 'hat', True)
        return [grid_mesh(fold, cloth, CLOTH, 'hat', True), rim], crown
    crown = fit_hat_crown(
        surface, front, generator.uniform(-8, 12), generator.uniform(0.008, 0.013),
        generator.uniform(0.0, 0.015) if kind == 1 else generator.uniform(0.01, 0.03))
    meshes = [grid_mesh(crown.points(), cloth, CLOTH, 'hat', True)]
    edge = crown.points()[0]
    azimuth = _AZIMUTH[:-1]
    if kind == 1:
        half = generator.uniform(50, 70)
        backwards = generator.random() < 0.12
        centre = 180.0 if backwards else 0.0
        offset = (azimuth - centre + 180) % 360 - 180
        order = np.argsort(offset, kind='stable')
        order = order[np.abs(offset[order]) <= half]
        root, across = edge[order], offset[order] / half
        reach = generator.uniform(0.055, 0.08) * (1 - np.abs(across) ** 3)
        ahead = -1.0 if backwards else 1.0
        drop = generator.uniform(0.05, 0.4)
        share = np.linspace(0, 1, 5)[:, None]
        brim = np.repeat(root[None], 5, axis=0)
        brim[..., 0] += ahead * share * reach
        brim[..., 2] -= share * reach * drop + 0.02 * share * np.abs(across) ** 2 - 0.003
        visor = sample_fabric_texture(generator) if generator.random() < 0.3 else cloth
        meshes.append(grid_mesh(brim, visor, CLOTH, 'hat'))
    else:
        width, drop = generator.uniform(0.035, 0.085), generator.uniform(-0.3, 0.5)
        out = edge - SKULL_CENTRE
        out[:, 2] = 0
        out /= np.linalg.norm(out, axis=1, keepdims=True)
        share = np.linspace(0, 1, 4)[:, None, None]
        brim = edge + share * width * out
        brim[..., 2] -= drop * width * share[..., 0] ** 1.5
        meshes.append(grid_mesh(brim, cloth, CLOTH, 'hat', True))
    return meshes, crown


def surface_over_hair(surface: Array, hair: Sequence[Mesh]) -> Array:
    """
    Return the surface of a head with its hair, as far as headphones compress it.

    :param surface: (E, A, 3) m, the skin seen from `SKULL_CENTRE`.
    :param hair: meshes in the head frame.
    :return: (E, A, 3) m.
    """
    radius = np.linalg.norm(surface - SKULL_CENTRE, axis=-1)
    rows, columns = radius.shape
    outer = radius.copy()
    for mesh in hair:
        elevation, azimuth, away = spherical_coordinates(
            mesh.vertices.numpy().astype(np.float64), SKULL_CENTRE
        )
        row = np.round((elevation + 90) / 180 * (rows - 1)).astype(int)
        column = np.round((azimuth + 180) / 360 * (columns - 1)).astype(int)
        np.maximum.at(outer, (row, column), np.minimum(away, radius[row, column] + _HAIR_BEARS))
    outer = cv2.blur(cv2.dilate(outer, np.ones((3, 3))), (3, 3))
    return SKULL_CENTRE + (np.maximum(outer, radius) / radius)[..., None] * (surface - SKULL_CENTRE)


def sample_headphones(generator: np.random.Generator, surface: Array) -> list[Mesh]:
    """Return random headphones on a surface (E, A, 3) m seen from `SKULL_CENTRE`."""
    texture = plain_texture(sample_colour(generator))
    cup = (
        plain_texture(sample_colour(generator))
        if generator.random() < 0.5
        else texture
    )
    off = generator.uniform(0.006, 0.014)
    elevation = np.concatenate([np.linspace(-8, 80, 10), np.linspace(90, -8, 11)])
    azimuth = np.where(np.arange(21) < 10, 92.0, -92.0)
    points = sample_map(surface, elevation, azimuth)
    path = points + off * direction_vector(elevation, azimuth)
    meshes = [
        tube_mesh(
            path, generator.uniform(0.007, 0.014), texture, PLASTIC, 'headphones', 8,
            0.35, np.array([1.0, 0.0, 0.0]))
    ]
    radius, depth = generator.uniform(0.03, 0.044), generator.uniform(0.012, 0.022)
    for side in (1.0, -1.0):
        ear = sample_map(surface, np.array(-16.0), np.array(side * 95.0))
        axes = np.array([[radius, 0, 0], [0, depth, 0], [0, 0, 1.15 * radius]])
        centre = ear + np.array([0, side * 0.6 * depth, 0])
        meshes.append(ellipsoid_mesh(centre, axes, cup, PLASTIC, 'headphones', 9))
    return meshes
