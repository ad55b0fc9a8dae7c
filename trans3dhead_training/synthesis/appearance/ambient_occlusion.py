"""Ambient occlusion of the head's vertices: creases and nostrils receive less light."""

from __future__ import annotations

import numpy as np

from trans3dhead_ros.types import Array, Float32Array, IndexArray
from trans3dhead_training.core.rasterizer import rasterize

DIRECTIONS = 96
PIXELS = 192
TOLERANCE_M = 0.0025
MIN_VISIBILITY = 0.12
"""Lower bound of the result: light also passes through thin skin."""


def ambient_visibility(
    vertices: Array, normals: Array, occluders: Array, triangles: IndexArray,
) -> Float32Array:
    """
    Return the cosine-weighted fraction of directions that are unobstructed at each vertex.

    :param vertices: (V, 3) m.
    :param normals: (V, 3) unit.
    :param occluders: (O, 3) m, vertices of the occluding mesh.
    :param triangles: (T, 3) of the occluding mesh.
    :return: (V,) 0..1.
    """
    visible, total = np.zeros(len(vertices)), np.zeros(len(vertices))
    middle = occluders.mean(0)
    reach = np.linalg.norm(occluders - middle, axis=1).max()
    scale = 0.5 * (PIXELS - 3) / reach
    for towards in fibonacci_sphere(DIRECTIONS):
        frame = _frame(towards)
        rotated, queries = (occluders - middle) @ frame.T, (vertices - middle) @ frame.T
        pixels = rotated[:, :2] * [scale, -scale] + PIXELS / 2
        fragments = rasterize(pixels, 2 * reach - rotated[:, 2], triangles, (PIXELS, PIXELS))
        nearest = np.full(PIXELS * PIXELS, -np.inf)
        nearest[fragments.pixel] = fragments.interpolate(
            rotated[:, 2:].astype(np.float32), triangles)[:, 0]
        at = np.clip(np.round(queries[:, :2] * [scale, -scale] + PIXELS / 2).astype(int), 0,
                     PIXELS - 1)
        weight = np.maximum(normals @ towards, 0)
        # A slanted surface must not occlude its own neighbourhood within a pixel.
        slack = TOLERANCE_M + 0.7 / scale * np.sqrt(1 - weight ** 2) / np.maximum(weight, 0.15)
        free = queries[:, 2] > nearest[at[:, 1] * PIXELS + at[:, 0]] - slack
        visible += weight * free
        total += weight
    share = visible / np.maximum(total, 1e-9)
    return (MIN_VISIBILITY + (1 - MIN_VISIBILITY) * np.clip(share, 0, 1)).astype(np.float32)


def fibonacci_sphere(count: int) -> Array:
    """Return (count, 3) evenly distributed unit vectors."""
    i = np.arange(count) + 0.5
    polar, around = np.arccos(1 - 2 * i / count), np.pi * (1 + 5 ** 0.5) * i
    return np.stack([np.cos(around) * np.sin(polar), np.sin(around) * np.sin(polar),
                     np.cos(polar)], -1)


def _frame(towards: Array) -> Array:
    """Return a rotation (3, 3) whose third row is `towards`."""
    aside = np.cross(towards, [0, 0, 1.0] if abs(towards[2]) < 0.9 else [1.0, 0, 0])
    aside /= np.linalg.norm(aside)
    return np.stack([aside, np.cross(towards, aside), towards])
