"""Plain trunks, arms and legs below the shoulders, for frames that show them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from trans3dhead_ros.types import Array
from trans3dhead_training.synthesis.occluders.mesh_primitives import (
    CLOTH,
    grid_mesh,
    plain_texture,
    sample_colour,
    tube_mesh,
)
from trans3dhead_training.synthesis.people.person import NECK_PIVOT
from trans3dhead_training.synthesis.render.textured_mesh import Mesh

_TORSO = 'torso'
# Cross-sections of the trunk from the chest down: height, half width, half depth, centre (x), m.
_TRUNK = np.array([(-0.33, 0.135, 0.085, -0.085), (-0.42, 0.155, 0.100, -0.085),
                   (-0.55, 0.150, 0.095, -0.085), (-0.68, 0.165, 0.105, -0.090),
                   (-0.80, 0.175, 0.115, -0.095), (-0.86, 0.15, 0.10, -0.095)])
_ARM = np.array([(-0.09, 0.19, -0.30), (-0.085, 0.225, -0.42), (-0.075, 0.235, -0.58),
                 (-0.04, 0.22, -0.80)])
_LEG = np.array([(-0.095, 0.085, -0.80), (-0.09, 0.095, -1.1), (-0.10, 0.095, -1.5)])


def sample_lower_body(
    generator: np.random.Generator, meshes: Sequence[Mesh], body_rotation: Array,
) -> list[Mesh]:
    """
    Return a trunk in the cloth of the person's torso, with arms and legs, in the head frame.

    :param generator: source of the choices.
    :param meshes: of the person; without a mesh named 'torso' nothing is added.
    :param body_rotation: (3, 3) shoulders → head frame.
    :return: the meshes.
    """
    torso = next((mesh for mesh in meshes if mesh.name == _TORSO), None)
    if torso is None:
        return []
    cloth, legs = (
        torso.texture.numpy(),
        plain_texture(sample_colour(generator) * 0.6),
    )
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    height, width, depth, middle = (_TRUNK[:, i, None] for i in range(4))
    trunk = np.stack([middle + depth * np.cos(angle), width * np.sin(angle),
                      np.broadcast_to(height, (len(_TRUNK), len(angle)))], axis=-1)
    parts = [grid_mesh(trunk, cloth, CLOTH, 'body', closed=True)]
    for side in (1.0, -1.0):
        parts.append(tube_mesh(
            _ARM * [1, side, 1], np.array([0.052, 0.05, 0.043, 0.036]), cloth,
            CLOTH, 'body', 10))
        parts.append(tube_mesh(
            _LEG * [1, side, 1], np.array([0.088, 0.075, 0.055]), legs, CLOTH,
            'body', 10))
    turn, pivot = (torch.from_numpy(value).float() for value in (body_rotation, NECK_PIVOT))
    return [part.transformed(turn, pivot - turn @ pivot) for part in parts]
