"""A synthetic person as meshes, for any expression, gaze and torso rotation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from trans3dhead_ros.types import Array, Float32Array
from trans3dhead_training.synthesis.anatomy.face_kit import HeadPart
from trans3dhead_training.synthesis.anatomy.skin_uv_maps import smoothstep
from trans3dhead_training.synthesis.appearance.eyelid_collision import Eyelid
from trans3dhead_training.synthesis.render.textured_mesh import Mesh

NECK_PIVOT = np.array([-0.075, 0.0, -0.12])
"""m, head frame: the point about which the head turns on the torso."""
MAX_GAZE_DEG = {'Out': 32.0, 'In': 32.0, 'Up': 22.0, 'Down': 28.0}
"""Rotation of an eyeball at an eyeLook coefficient of 1."""


@dataclass(frozen=True, eq=False)
class SmoothDisplacement:
    """A sum of K Gaussians, for shapes outside the linear basis."""

    centres: Array
    """(K, 3) m."""
    widths: Array
    """(K,) m, standard deviations."""
    shifts: Array
    """(K, 3) m, displacements at the centres."""

    def at(self, points: NDArray[np.floating]) -> Float32Array:
        """Return the displacement (P, 3) of points (P, 3) m; zero at the origin, the sellion."""
        return (self._at(points) - self._at(np.zeros((1, 3)))).astype(np.float32)

    def _at(self, points: NDArray[np.floating]) -> Array:
        # |p - c|² expanded: a matrix product instead of (P, K, 3) differences.
        gap = (points ** 2).sum(1)[:, None] - 2 * points @ self.centres.T + (
            self.centres ** 2).sum(1)
        return np.exp(-0.5 * gap / self.widths ** 2) @ self.shifts


NO_DISPLACEMENT = SmoothDisplacement(np.zeros((0, 3)), np.zeros(0), np.zeros((0, 3)))


def neutral_vertices(
    part: HeadPart, identity: Float32Array, asymmetry: SmoothDisplacement
) -> Float32Array:
    """Return a part's vertices (V, 3) m of an identity (100,) plus a displacement."""
    moved = part.mean + np.tensordot(identity, part.identity, axes=1)
    return (moved + asymmetry.at(part.mean)).astype(np.float32)


def apply_expression(
    vertices: Float32Array, part: HeadPart, expression: Float32Array
) -> Float32Array:
    """Add an expression (53,) to neutral vertices (V, 3)."""
    active = np.flatnonzero(expression)
    if len(active) == 0:
        return vertices
    return vertices + np.tensordot(expression[active], part.expression[active], axes=1)


def torso_weights(points: NDArray[np.floating]) -> Float32Array:
    """Return the blend weights (V,) 0..1 of points (V, 3) m of the mean head: 0 head, 1 torso."""
    line = -0.11 - 0.4 * (points[:, 0] + 0.03)
    return smoothstep(line - points[:, 2], 0.0, 0.055).astype(np.float32)


@dataclass(frozen=True, eq=False)
class GarmentInstance:
    """A mesh that expressions do not deform."""

    mesh: Mesh
    """The mesh, head frame."""
    torso_weights: Float32Array
    """(V,) blend weights 0..1: 0 follows the head, 1 the torso."""


@dataclass(frozen=True, eq=False)
class Person:
    """
    A sampled person; all geometry in the head frame, m.

    Example::

        assets = PersonAssets.load(data_root, cache)
        person = sample_person(assets, np.random.default_rng(0))
        meshes = person.meshes(np.zeros(53), gaze_deg=(10, 0))
    """

    identity: Float32Array
    """(100,) coefficients of the parametric head; the first 50 are those of the head model."""
    asymmetry: SmoothDisplacement
    """Displacement of the face outside the linear basis."""
    description: Mapping[str, str]
    """Sampled traits in words."""
    sources: tuple[str, ...]
    """Origin and licence of the assets."""
    parts: Mapping[str, HeadPart]
    """Meshes and bases of the parametric head, by name."""
    head: HeadPart
    """The head model's vertices with the full basis."""
    neutral_vertices: Mapping[str, Float32Array]
    """(V, 3) m of each part with a neutral expression."""
    eyelids: Mapping[str, Eyelid]
    """The lids of 'eye_left' and 'eye_right'."""
    skin_torso_weights: Float32Array
    """(V,) blend weights of the skin, as `torso_weights` returns them."""
    part_meshes: Mapping[str, Mesh]
    """Textured meshes of the parts."""
    garments: tuple[GarmentInstance, ...]
    """Hair and clothes."""
    expression_names: tuple[str, ...]
    """(53,) in the order of the head model."""

    def meshes(
        self, expression: NDArray[np.floating] | torch.Tensor,
        gaze_deg: tuple[float, float] | NDArray[np.floating] = (0.0, 0.0),
        body_rotation: NDArray[np.floating] | None = None,
    ) -> tuple[Mesh, ...]:
        """
        Return the meshes of skin, eyes, lashes, teeth, gums, eye sockets, hair and clothes.

        :param expression: (53,) in the order of the head model.
        :param gaze_deg: rotation of both eyes to the head's left and up, added to that of the
            eyeLook coefficients.
        :param body_rotation: (3, 3) torso -> head frame relative to its rest; the neck blends.
        :return: the meshes.
        :raises ValueError: a shape is wrong.
        """
        coefficients = self._checked(expression)
        turn = None if body_rotation is None else np.asarray(body_rotation, dtype=float)
        if turn is not None and turn.shape != (3, 3):
            raise ValueError(f'body_rotation: expected (3, 3), got {turn.shape}')
        meshes = []
        for name, mesh in self.part_meshes.items():
            vertices = apply_expression(self.neutral_vertices[name], self.parts[name], coefficients)
            if name.startswith('eye_'):
                vertices = self._rotate_eyeball(vertices, name, coefficients, gaze_deg)
            elif name == 'skin':
                for eyelid in self.eyelids.values():
                    vertices = eyelid.push_skin_outside(vertices)
                vertices = rotate_torso(vertices, self.skin_torso_weights, turn)
            meshes.append(mesh.with_vertices(torch.from_numpy(vertices)))
        for item in self.garments:
            if turn is None:
                meshes.append(item.mesh)
                continue
            vertices = rotate_torso(item.mesh.vertices.numpy(), item.torso_weights, turn)
            meshes.append(item.mesh.with_vertices(torch.from_numpy(vertices)))
        return tuple(meshes)

    def head_vertices(self, expression: NDArray[np.floating] | torch.Tensor) -> Float32Array:
        """
        Return the person's vertices (3493, 3) m at the head model's sampling.

        They include modes that the head model lacks. The neck is that of the resting torso.

        :param expression: (53,) in the order of the head model.
        :return: (3493, 3) m.
        :raises ValueError: the shape is wrong.
        """
        shape = neutral_vertices(self.head, self.identity, self.asymmetry)
        return apply_expression(shape, self.head, self._checked(expression))

    def _checked(self, expression: NDArray[np.floating] | torch.Tensor) -> Float32Array:
        values = np.asarray(expression, dtype=np.float32)
        if values.shape != (len(self.expression_names),):
            raise ValueError(f'expression: expected ({len(self.expression_names)},), '
                             f'got {values.shape}')
        return values

    def _rotate_eyeball(
        self, vertices: Float32Array, name: str, expression: Float32Array,
        gaze_deg: tuple[float, float] | NDArray[np.floating],
    ) -> Float32Array:
        side = 'L' if name == 'eye_left' else 'R'

        def angle(where: str) -> float:
            return MAX_GAZE_DEG[where] * float(
                expression[self.expression_names.index(f'eyeLook{where}_{side}')])

        outward = angle('Out') - angle('In')
        yaw = float(gaze_deg[0]) + (outward if side == 'L' else -outward)
        pitch = float(gaze_deg[1]) + angle('Up') - angle('Down')
        turn = Rotation.from_euler('ZY', [yaw, -pitch], degrees=True).as_matrix()
        centre = self.eyelids[name].centre
        return ((vertices - centre) @ turn.T + centre).astype(np.float32)


def rotate_torso(
    vertices: Float32Array, torso_weights: Float32Array, rotation: Array | None
) -> Float32Array:
    """Rotate vertices (V, 3) about the neck, each by its weight (V,) times a rotation (3, 3)."""
    if rotation is None:
        return vertices
    vector = Rotation.from_matrix(rotation).as_rotvec()
    moving = np.flatnonzero(torso_weights > 0)
    result = vertices.copy()
    away = vertices[moving] - NECK_PIVOT
    # Rodrigues' formula with an angle of its own for each vertex.
    angle = np.linalg.norm(vector) * torso_weights[moving, None]
    axis = vector / max(np.linalg.norm(vector), 1e-9)
    sine, cosine = np.sin(angle), np.cos(angle)
    result[moving] = (away * cosine + np.cross(axis, away) * sine
                      + (away @ axis)[:, None] * axis * (1 - cosine) + NECK_PIVOT)
    return result
