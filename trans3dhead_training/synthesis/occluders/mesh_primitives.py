"""Mesh primitives (grids, tubes, ellipsoids, boxes, fans) and procedural textures."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from trans3dhead_ros.types import Array
from trans3dhead_training.synthesis.render.textured_mesh import Material, Mesh

CLOTH = Material(specular=0.02, roughness=0.9, two_sided=True)
PLASTIC = Material(specular=0.05, roughness=0.35, two_sided=True)


def grid_mesh(
    points: Array, texture: NDArray[np.uint8], material: Material, name: str, closed: bool = False,
) -> Mesh:
    """
    Return a grid of points as a mesh that the texture covers once.

    :param points: (N, M, 3) m.
    :param texture: (h, w, 4) uint8 RGBA.
    :param material: its material.
    :param name: its name.
    :param closed: whether the last column joins the first.
    :return: the mesh.
    """
    rows, columns = points.shape[:2]
    steps = columns if closed else columns - 1
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(steps), indexing='ij')
    corner_rows = np.stack([i, i + 1, i + 1, i], axis=-1)
    corner_columns = np.stack([j, j, j + 1, j + 1], axis=-1)
    ids = corner_rows * columns + corner_columns % columns
    uv = np.stack([corner_columns / steps, corner_rows / (rows - 1)], axis=-1)
    halves = [[0, 1, 2], [0, 2, 3]]
    triangles = ids[..., halves].reshape(-1, 3)
    return mesh_from_arrays(
        points.reshape(-1, 3), triangles, uv[..., halves, :].reshape(-1, 3, 2), texture, material,
        name)


def tube_mesh(
    path: Array, radius: Array | float, texture: NDArray[np.uint8], material: Material, name: str,
    sides: int = 8, flat: float = 1.0, across: Array | None = None,
) -> Mesh:
    """
    Return a closed tube about a path.

    :param path: (N, 3) m.
    :param radius: m, for all rings or for each of the N.
    :param texture: (h, w, 4) uint8 RGBA.
    :param material: its material.
    :param name: its name.
    :param sides: vertices of a ring.
    :param flat: factor on the radius perpendicular to `across`.
    :param across: (3,) direction that lies in every cross-section, or None for any.
    :return: the mesh.
    """
    radius = np.broadcast_to(np.asarray(radius, float), (len(path),))
    # Rings of radius 0 close both ends.
    path = np.concatenate([path[:1], path, path[-1:]])
    radius = np.concatenate([[0.0], radius, [0.0]])
    along = np.gradient(path, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    if across is None:
        across = np.eye(3)[np.abs(along.mean(0)).argmin()]
    first = across - (along @ across)[:, None] * along
    first /= np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-9)
    second = np.cross(along, first)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = (np.cos(angle)[None, :, None] * first[:, None]
            + flat * np.sin(angle)[None, :, None] * second[:, None])
    return grid_mesh(
        path[:, None] + radius[:, None, None] * ring, texture, material, name, closed=True
    )


def ellipsoid_mesh(
    centre: Array, axes: Array, texture: NDArray[np.uint8], material: Material, name: str,
    steps: int = 12,
) -> Mesh:
    """Return an ellipsoid; the rows of `axes` (3, 3) m are its semi-axes."""
    polar = np.linspace(0, np.pi, steps)[:, None]
    angle = np.linspace(0, 2 * np.pi, 2 * steps, endpoint=False)[None, :]
    unit = np.stack([np.sin(polar) * np.cos(angle), np.sin(polar) * np.sin(angle),
                     np.cos(polar) * np.ones_like(angle)], axis=-1)
    return grid_mesh(centre + unit @ axes, texture, material, name, closed=True)


def box_mesh(
    centre: Array, axes: Array, texture: NDArray[np.uint8], material: Material, name: str
) -> Mesh:
    """Return a box; the rows of `axes` (3, 3) m are its half edges. Each face shows the texture."""
    vertices, triangles, uv = [], [], []
    square = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    for axis in range(3):
        for sign in (-1.0, 1.0):
            a, b = axes[(axis + 1) % 3], axes[(axis + 2) % 3]
            face = centre + sign * axes[axis] + (2 * square - 1) @ np.stack([a, b])
            start = 4 * len(vertices)
            vertices.append(face)
            triangles += [[start, start + 1, start + 2], [start, start + 2, start + 3]]
            uv += [square[[0, 1, 2]], square[[0, 2, 3]]]
    return mesh_from_arrays(
        np.concatenate(vertices), np.array(triangles), np.array(uv), texture, material, name
    )


def fan_mesh(rim: Array, texture: NDArray[np.uint8], material: Material, name: str) -> Mesh:
    """Return a triangle fan within a closed rim (N, 3); v is 0 at its top (z)."""
    count = len(rim)
    vertices = np.concatenate([rim, rim.mean(0, keepdims=True)])
    low, high = rim[:, 1:].min(0), rim[:, 1:].max(0)
    flat = (vertices[:, 1:] - low) / np.maximum(high - low, 1e-9)
    flat[:, 1] = 1 - flat[:, 1]
    ids = np.arange(count)
    triangles = np.stack([ids, (ids + 1) % count, np.full(count, count)], axis=-1)
    return mesh_from_arrays(vertices, triangles, flat[triangles], texture, material, name)


def mesh_from_arrays(
    vertices: Array, triangles: NDArray[np.integer], uv: Array, texture: NDArray[np.uint8],
    material: Material, name: str,
) -> Mesh:
    """Return the mesh of NumPy arrays."""
    return Mesh(torch.from_numpy(np.ascontiguousarray(vertices, np.float32)),
                torch.from_numpy(np.ascontiguousarray(triangles, np.int64)),
                torch.from_numpy(np.ascontiguousarray(uv, np.float32)),
                torch.from_numpy(np.ascontiguousarray(texture)), material, name)


def plain_texture(colour: Sequence[float], alpha: float = 1.0) -> NDArray[np.uint8]:
    """Return a texture of one sRGB colour 0…255."""
    texture = np.empty((4, 4, 4), np.uint8)
    texture[..., :3] = np.clip(colour, 0, 255)
    texture[..., 3] = round(255 * alpha)
    return texture


def sample_colour(generator: np.random.Generator) -> Array:
    """Return a random colour of clothes, sRGB 0…255: mostly dark, grey or blue."""
    if generator.random() < 0.5:
        grey = generator.uniform(12, 235)
        return np.clip(grey * np.exp(generator.normal(0, 0.08, 3)), 0, 255)
    hsv = np.array([[[generator.uniform(0, 180), generator.uniform(40, 230),
                      generator.uniform(40, 235)]]]).astype(np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(float)


def sample_fabric_texture(generator: np.random.Generator, size: int = 64) -> NDArray[np.uint8]:
    """Return a random fabric texture: plain, ribbed, striped, chequered or printed."""
    kind = generator.choice(5, p=[0.35, 0.25, 0.15, 0.10, 0.15])
    first, second = sample_colour(generator), sample_colour(generator)
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    wave = np.ones((size, size))
    if kind == 0:
        share = np.zeros((size, size))
    elif kind == 1:  # ribs
        share = np.zeros((size, size))
        wave = 0.8 + 0.2 * np.sin(2 * np.pi * x * generator.integers(10, 22) / size)
    elif kind == 2:
        share = (np.sin(2 * np.pi * y * generator.integers(2, 9) / size) > 0).astype(float)
    elif kind == 3:
        count = generator.integers(3, 9)
        share = 0.5 * ((np.sin(2 * np.pi * x * count / size) > 0).astype(float)
                       + (np.sin(2 * np.pi * y * count / size) > 0))
    else:
        coarse = generator.random((int(generator.integers(4, 12)),) * 2).astype(np.float32)
        share = np.clip(4 * cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC) - 1.5,
                        0, 1)
    colour = first * (1 - share[..., None]) + second * share[..., None]
    grain = generator.normal(1, 0.05, (size, size, 1))
    texture = np.full((size, size, 4), 255, np.uint8)
    texture[..., :3] = np.clip(colour * wave[..., None] * grain, 0, 255)
    return texture
