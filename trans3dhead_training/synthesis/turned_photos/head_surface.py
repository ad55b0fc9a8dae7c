"""The head model prepared for photographs: mouth pocket, hair, texture layout, eyelids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from trans3dhead_ros.landmarks import JAW_COUNT
from trans3dhead_ros.mesh import vertex_normals
from trans3dhead_ros.network.head_module import HeadModule, visible_contour
from trans3dhead_ros.types import Array, BoolArray, IndexArray
from trans3dhead_training.synthesis.turned_photos.cylindrical_atlas import (
    CylindricalAtlas,
    angle_from_front,
    hair_weight,
)

SIDES = ('R', 'L')
"""The person's right and left, the suffixes of the expressions' names."""

_LID_MOVES = 0.1
_NECK_END, _NECK_FADE = -0.145, 0.02
_INNER_LIPS = slice(60, 68)
_MOUTH_RINGS = ((0.55, 0.008), (0.0, 0.014))
"""Size (share of the mouth's) and depth (m) of the rings that close the mouth behind the lips."""


@dataclass(frozen=True, eq=False)
class HeadSurface:
    """
    The head model with a pocket that closes its mouth, hair on its skull and a texture layout.

    Its vertices are those of the model (V) followed by those of the pocket; `vertices` returns
    them.

    Example::

        surface = HeadSurface.from_model(load_head_model())
        photograph = prepare_photograph(picture, points, fit, surface)
        (image, labels), = render_poses(photograph, [TargetPose((60.0, 0.0, 0.0))])
    """

    model: HeadModule
    """The head model."""
    triangles: IndexArray
    """(T, 3) counter-clockwise from outside."""
    pocket: BoolArray
    """(T,) triangles of the mouth's inside."""
    atlas: CylindricalAtlas
    """Its cylindrical texture layout."""
    hair: Array
    """(vertices,) 0 (skin) .. 1 (hair)."""
    neck_fade: Array
    """(vertices,) 0 where the mesh ends .. 1 on the head."""
    eyeball: BoolArray
    """(vertices,) vertices of the eyeballs."""
    lids: BoolArray
    """(2, T) triangles that a blink of each of the `SIDES` moves."""
    eyeballs: BoolArray
    """(2, T) triangles of the eyeballs of the `SIDES`."""
    depth_in_mouth: Array
    """(vertices,) 0 at the lips .. 1."""
    expressions: Array
    """(E, V, 3) m, the model's expression basis."""
    parts: tuple[IndexArray, IndexArray]
    """Triangles that are opaque, and triangles that fade where the neck ends."""
    lips: IndexArray
    """Vertices around the hole of the mouth."""

    @classmethod
    def from_model(cls, model: HeadModule) -> HeadSurface:
        """Prepare a head model; a mesh without a hole at the mouth gets no pocket."""
        mean = model.mean.double().cpu().numpy()
        triangles = model.triangles.cpu().numpy()
        lips = _mouth_loop(triangles, mean, model.landmark_indices.cpu().numpy()[_INNER_LIPS])
        closing = _pocket_triangles(lips, len(mean))
        triangles_with_pocket = np.concatenate([triangles, closing])
        pocket = np.arange(len(triangles_with_pocket)) >= len(triangles)
        vertices = np.concatenate([mean, _pocket_points(mean[lips])]) if len(lips) else mean
        eyeball = np.zeros(len(vertices), dtype=bool)
        eyeball[:len(mean)] = _eyeballs(triangles, len(mean))
        hair = np.zeros(len(vertices))
        hair[:len(mean)] = hair_weight(angle_from_front(mean), mean[:, 2])
        expressions = model.expression.double().cpu().numpy()
        above = neck_fade(vertices[:, 2])
        side = vertices[triangles_with_pocket][..., 1].mean(1)
        on_ball = eyeball[triangles_with_pocket].all(1)
        solid = (above[triangles_with_pocket] == 1).all(1)
        return cls(
            model, triangles_with_pocket, pocket,
            CylindricalAtlas.from_surface(vertices, triangles_with_pocket), hair * ~eyeball, above,
            eyeball, _lids(expressions, model.expression_names, triangles_with_pocket),
            np.stack([on_ball & (side < 0), on_ball & (side > 0)]),
            _depth_in_mouth(len(mean), len(vertices)), expressions,
            (np.flatnonzero(solid), np.flatnonzero(~solid)), lips)

    def vertices(self, head: Array) -> Array:
        """Return the surface's vertices, without hair, of the model's (V, 3) m."""
        if len(self.lips) == 0:
            return head
        return np.concatenate([head, _pocket_points(head[self.lips])])

    def with_hair(self, vertices: Array, thickness: Array) -> Array:
        """Return the vertices moved outwards by hair of a thickness (vertices,) m."""
        normals = vertex_normals(vertices, self.triangles)
        return vertices + (thickness * self.hair)[:, None] * normals

    def model_vertices(self, shape: Array, expression: Array) -> Array:
        """Return the model's vertices (V, 3) m for coefficients (I,) and (E,)."""
        with torch.no_grad():
            vertices = self.model(torch.from_numpy(np.asarray(shape, np.float32))[None],
                                  torch.from_numpy(np.asarray(expression, np.float32))[None])
        return vertices[0].double().numpy()

    def contour(self, head: Array, rotation: Array) -> Array:
        """
        Return the jaw points (17, 3) m on the visible contour.

        :param head: (V, 3) m, head frame.
        :param rotation: (3, 3) head -> camera.
        :return: (17, 3) m, head frame.
        """
        candidates = head[self.model.contour_indices.numpy()]
        chosen = visible_contour(torch.from_numpy(candidates)[None],
                                 torch.from_numpy(rotation)[None])[0].numpy()
        return candidates[np.arange(JAW_COUNT), chosen]


def neck_fade(z: Array) -> Array:
    """Return 0 where the model's neck ends .. 1 on the head, for heights (m, head frame)."""
    return np.clip((z - _NECK_END) / _NECK_FADE, 0, 1)


def _boundary_loops(triangles: IndexArray) -> list[list[int]]:
    edges = Counter((int(a), int(b)) for pair in ((0, 1), (1, 2), (2, 0))
                    for a, b in triangles[:, pair])
    follows = {a: b for a, b in edges if (b, a) not in edges}
    loops, seen = [], set()
    for start in sorted(follows):
        loop, current = [], start
        while current not in seen and current in follows:
            seen.add(current)
            loop.append(current)
            current = follows[current]
        if loop and current == start:
            loops.append(loop)
    return loops


def _mouth_loop(
    triangles: IndexArray, mean: Array, inner_lips: IndexArray,
) -> IndexArray:
    """Return the boundary loop between the lips, empty where the mesh has none."""
    middle = mean[inner_lips].mean(0)
    for loop in _boundary_loops(triangles):
        if np.linalg.norm(mean[loop].mean(0) - middle) < 0.015:
            return np.array(loop)
    return np.empty(0, dtype=np.int64)


def _pocket_points(lips: Array) -> Array:
    middle = lips.mean(0)
    rings = []
    for share, depth in _MOUTH_RINGS:
        ring = middle + share * (lips - middle) - [depth, 0.0, 0.0]
        rings.append(ring if share > 0 else ring[:1])
    return np.concatenate(rings)


def _pocket_triangles(lips: IndexArray, first: int) -> IndexArray:
    """Close the loop with a ring and a fan."""
    count = len(lips)
    if count == 0:
        return np.empty((0, 3), dtype=np.int64)
    ring = first + np.arange(count)
    after = np.roll(np.arange(count), -1)
    middle = np.full(count, first + count)
    return np.concatenate([
        np.stack([lips[after], lips, ring], axis=1),
        np.stack([lips[after], ring, ring[after]], axis=1),
        np.stack([ring[after], ring, middle], axis=1)])


def _lids(
    expressions: Array, names: Sequence[str], triangles: IndexArray,
) -> BoolArray:
    moves = np.zeros((len(SIDES), int(triangles.max()) + 1), dtype=bool)
    for row, side in enumerate(SIDES):
        if f'eyeBlink_{side}' in names:
            distance = np.linalg.norm(expressions[names.index(f'eyeBlink_{side}')], axis=1)
            moves[row, :len(distance)] = distance > _LID_MOVES * distance.max()
    return moves[:, triangles].any(2)


def _depth_in_mouth(model_count: int, count: int) -> Array:
    depth = np.zeros(count)
    depth[model_count:] = 0.6
    if count > model_count:
        depth[-1] = 1.0
    return depth


def _eyeballs(triangles: IndexArray, count: int) -> BoolArray:
    """Return which vertices (V,) are not connected to the skin."""
    pairs = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]]])
    graph = csr_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    return label != np.bincount(label).argmax()


def spread_displacements(
    positions: Array, points: Array, displacements: Array, reach_m: float = 0.03,
    noise: float = 0.03,
) -> Array:
    """
    Extend displacements at points smoothly over a surface.

    A Gaussian process with a Matérn 3/2 kernel: a point keeps its displacement, distant ones get
    none.

    :param positions: (V, 3) m, the surface.
    :param points: (P, 3) m.
    :param displacements: (P, C) at the points.
    :param reach_m: length scale of the kernel.
    :param noise: variance of the observations.
    :return: (V, C).
    """
    def kernel(a: Array, b: Array) -> Array:
        squared = (a ** 2).sum(1)[:, None] + (b ** 2).sum(1) - 2 * a @ b.T
        r = np.sqrt(np.maximum(squared, 0)) * (3 ** 0.5 / reach_m)
        return (1 + r) * np.exp(-r)

    inner = kernel(points, points) + noise * np.eye(len(points))
    return kernel(positions, points) @ np.linalg.solve(inner, displacements)
