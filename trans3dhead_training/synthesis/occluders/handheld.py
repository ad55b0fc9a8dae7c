"""Hands and what they hold before a face: phones, cups, microphones, random blobs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from trans3dhead_ros.types import Array
from trans3dhead_training.synthesis.occluders.mesh_primitives import (
    CLOTH,
    PLASTIC,
    box_mesh,
    ellipsoid_mesh,
    plain_texture,
    sample_colour,
    sample_fabric_texture,
    tube_mesh,
)
from trans3dhead_training.synthesis.render.textured_mesh import Material, Mesh

SKIN = Material(specular=0.03, roughness=0.55, wrap=0.3, two_sided=True)


def sample_prop(generator: np.random.Generator, landmarks: Array, skin: Array) -> list[Mesh]:
    """
    Return a random object held before or beside a face.

    :param generator: source of the choices.
    :param landmarks: (68, 3) m, head frame.
    :param skin: (3,) sRGB 0…255, colour of the person's skin.
    :return: the object and the hand.
    """
    kind = generator.choice(5, p=[0.42, 0.18, 0.12, 0.12, 0.16])
    side = generator.choice([-1.0, 1.0])
    if kind == 0:
        return _hand_on_face(generator, landmarks, skin, side)
    if kind == 1:
        return _phone(generator, landmarks, skin, side)
    if kind == 2:
        return _cup(generator, landmarks, skin, side)
    if kind == 3:
        return _microphone(generator, landmarks, side)
    return [_blob(generator, landmarks)]


def hand(
    generator: np.random.Generator, wrist: Array, fingers: Array, palm: Array, skin: Array,
    side: float,
) -> list[Mesh]:
    """
    Return an open or half-closed hand with its forearm.

    :param generator: source of the choices.
    :param wrist: (3,) m.
    :param fingers: (3,) direction in which the fingers point.
    :param palm: (3,) direction that the palm faces.
    :param skin: (3,) sRGB 0…255.
    :param side: +1 for a thumb along `fingers` x `palm`, -1 for the mirror image.
    :return: palm, fingers, forearm and sleeve.
    """
    along = fingers / np.linalg.norm(fingers)
    palm = palm - (palm @ along) * along
    palm /= np.linalg.norm(palm)
    across = side * np.cross(along, palm)
    size = generator.uniform(0.85, 1.08)
    colour = np.clip(skin * generator.uniform(0.9, 1.08), 0, 255)
    texture = _skin_texture(generator, colour)
    curl = generator.uniform(0.0, 0.9)
    spread = generator.uniform(0.2, 1.0)
    middle = wrist + size * 0.05 * along
    axes = size * np.stack([0.052 * along, 0.040 * across, 0.014 * palm])
    meshes = [ellipsoid_mesh(middle, axes, texture, SKIN, 'hand', 9)]
    for place, length in ((0.028, 0.072), (0.009, 0.08), (-0.010, 0.074), (-0.028, 0.058)):
        root = wrist + size * (0.088 * along + place * across)
        aim = along + spread * 6.0 * place * across
        points = [root - size * 0.02 * aim, root]
        bend = curl * generator.uniform(0.7, 1.2)
        for step, part in enumerate((0.45, 0.32, 0.23)):
            turned = np.cos(bend * (step + 0.3)) * aim + np.sin(bend * (step + 0.3)) * palm
            points.append(points[-1] + size * length * part * turned / np.linalg.norm(turned))
        radius = size * np.array([0.0088, 0.009, 0.0085, 0.0078, 0.0055])
        meshes.append(tube_mesh(np.stack(points), radius, texture, SKIN, 'hand', 8))
    root = wrist + size * (0.03 * along + 0.034 * across)
    tip = root + size * (0.045 * along + 0.035 * across + 0.02 * palm)
    end = tip + size * (0.026 * along + 0.006 * across + 0.01 * palm)
    meshes.append(tube_mesh(
        np.stack([root, tip, end]), size * np.array([0.013, 0.011, 0.007]), texture, SKIN,
        'hand', 8))
    elbow = wrist - 0.24 * along - 0.05 * palm
    sleeve = generator.random() < 0.6
    cloth = sample_fabric_texture(generator) if sleeve else texture
    arm = np.stack([wrist + 0.01 * along, wrist - 0.04 * along, elbow])
    meshes.append(tube_mesh(arm, size * np.array([0.024, 0.027, 0.042]), texture, SKIN, 'hand', 10))
    if sleeve:
        start = wrist - 0.06 * along
        meshes.append(tube_mesh(
            np.stack([start, (start + elbow) / 2, elbow]), np.array([0.036, 0.042, 0.052]),
            cloth, CLOTH, 'hand', 10))
    return meshes


def _skin_texture(generator: np.random.Generator, colour: Array) -> NDArray[np.uint8]:
    texture = np.full((16, 16, 4), 255, np.uint8)
    texture[..., :3] = np.clip(colour * generator.normal(1, 0.03, (16, 16, 1)), 0, 255)
    return texture


def _hand_on_face(generator: np.random.Generator, landmarks: Array, skin: Array,
                  side: float) -> list[Mesh]:
    """Return a hand over the mouth, on a cheek, at the chin, before an eye or at the temple."""
    cheek, eye = (3, 36) if side < 0 else (13, 45)
    targets = (landmarks[[33, 57]].mean(0), landmarks[[cheek, 48 if side < 0 else 54]].mean(0),
               landmarks[8], landmarks[eye], landmarks[0 if side < 0 else 16])
    target = targets[generator.integers(len(targets))]
    out = np.array([1.0, 0.35 * side * generator.random(), 0.0])
    if generator.random() < 0.5:
        out = target - [-0.085, 0.0, target[2]]
    out /= np.linalg.norm(out)
    target = target + out * generator.uniform(0.022, 0.035)
    lean = np.deg2rad(generator.uniform(-25, 75)) * -side
    up = np.array([0.0, np.sin(lean), np.cos(lean)])
    wrist = target - generator.uniform(0.05, 0.11) * up + 0.012 * out
    return hand(generator, wrist, up, -out, skin, side * generator.choice([-1.0, 1.0]))


def _phone(generator: np.random.Generator, landmarks: Array, skin: Array,
           side: float) -> list[Mesh]:
    texture = plain_texture(sample_colour(generator) * 0.5)
    half = np.diag([0.0042, 0.036, 0.074]) * generator.uniform(0.95, 1.1)
    if generator.random() < 0.5:  # at the ear
        ear = landmarks[0 if side < 0 else 16]
        turn = Rotation.from_euler('zx', [side * 80, -side * generator.uniform(5, 30)],
                                   degrees=True).as_matrix()
        centre = ear + np.array([0.03, side * 0.018, -0.025])
    else:  # held up before a part of the face
        turn = Rotation.from_euler('xyz', generator.normal(0, [20, 12, 12]),
                                   degrees=True).as_matrix()
        centre = np.array([generator.uniform(0.06, 0.14), side * generator.uniform(0.0, 0.07),
                           generator.uniform(-0.11, 0.02)])
    meshes = [box_mesh(centre, half @ turn.T, texture, PLASTIC, 'phone')]
    palm_at = centre + turn @ np.array([0.012, side * 0.02, -0.05])
    meshes += hand(generator, palm_at - [0, 0, 0.04], np.array([0.15, -0.2 * side, 1.0]),
                   -turn[:, 0], skin, side)
    return meshes


def _cup(generator: np.random.Generator, landmarks: Array, skin: Array,
         side: float) -> list[Mesh]:
    mouth = landmarks[[62, 66]].mean(0)
    radius, height = generator.uniform(0.03, 0.043), generator.uniform(0.08, 0.13)
    tilt = np.deg2rad(generator.uniform(10, 70))
    axis = np.array([np.cos(tilt), 0.0, -np.sin(tilt)])
    rim = mouth + np.array([0.012, 0.0, 0.0]) + 0.2 * radius * np.array([0, 0, -1.0])
    start = rim + radius * 0.8 * np.array([np.sin(tilt), 0, np.cos(tilt)]) * 0.3
    path = np.stack([start, start + 0.5 * height * axis, start + height * axis])
    texture = sample_fabric_texture(generator)
    meshes = [
        tube_mesh(path, radius * np.array([1.0, 0.95, 0.85]), texture, PLASTIC, 'cup', 16)
    ]
    hold = start + 0.6 * height * axis + np.array([0.0, side * (radius + 0.012), -0.03])
    meshes += hand(generator, hold - [0, -0.02 * side, 0.05], np.array([0.2, -0.5 * side, 1.0]),
                   np.array([0.0, -side, 0.0]), skin, side)
    return meshes


def _microphone(generator: np.random.Generator, landmarks: Array, side: float) -> list[Mesh]:
    mouth = landmarks[[62, 66]].mean(0)
    head = mouth + np.array([generator.uniform(0.03, 0.08), side * generator.uniform(0, 0.03),
                             generator.uniform(-0.045, 0.005)])
    radius = generator.uniform(0.018, 0.032)
    axis = np.array([0.5, side * generator.uniform(0, 0.6), -generator.uniform(0.5, 1.2)])
    axis /= np.linalg.norm(axis)
    dark = plain_texture(sample_colour(generator) * 0.35)
    grille = np.full((16, 16, 4), 255, np.uint8)
    grille[..., :3] = 90 + 60 * (np.indices((16, 16)).sum(0) % 2)[..., None]
    return [
        ellipsoid_mesh(head, radius * np.eye(3), grille, PLASTIC, 'microphone', 9),
        tube_mesh(
            np.stack([head, head + 0.1 * axis, head + 0.22 * axis]),
            np.array([0.017, 0.013, 0.012]), dark, PLASTIC, 'microphone', 10),
    ]


def _blob(generator: np.random.Generator, landmarks: Array) -> Mesh:
    """Return an ellipsoid with a random texture before a part of the face."""
    target = landmarks[generator.integers(68)]
    out = target - [-0.09, 0.0, target[2]]
    out /= np.linalg.norm(out)
    half = np.exp(generator.uniform(np.log(0.012), np.log(0.06), 3))
    turn = Rotation.from_rotvec(generator.normal(0, 1.5, 3)).as_matrix()
    centre = target + out * (half.max() + generator.uniform(0.005, 0.06))
    return ellipsoid_mesh(
        centre, half[:, None] * turn, sample_fabric_texture(generator),
        PLASTIC, 'blob', 10)
