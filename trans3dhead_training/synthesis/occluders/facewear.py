"""Glasses, masks and scarves fitted to a face."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.types import Array
from trans3dhead_training.synthesis.occluders.mesh_primitives import (
    CLOTH,
    PLASTIC,
    fan_mesh,
    grid_mesh,
    plain_texture,
    sample_colour,
    sample_fabric_texture,
    tube_mesh,
)
from trans3dhead_training.synthesis.occluders.radial_surface import (
    MOUTH_CENTRE,
    direction_vector,
    sample_map,
)
from trans3dhead_training.synthesis.render.textured_mesh import Material, Mesh

_GLASS = Material(specular=0.12, roughness=0.08, two_sided=True, cutout=True)
_METAL = Material(specular=0.5, roughness=0.3, two_sided=True)
_CURVE = 3.2
"""1/m, curvature of spectacles about the face: x falls by this times y squared."""


def sample_glasses(
    generator: np.random.Generator, vertices: Array, landmarks: Array, dark: bool,
) -> list[Mesh]:
    """
    Return random spectacles or sunglasses.

    :param generator: source of the choices.
    :param vertices: (V, 3) m, the head.
    :param landmarks: (68, 3) m.
    :param dark: whether they are sunglasses.
    :return: frame and lenses.
    """
    eyes = (landmarks[36:42].mean(0), landmarks[42:48].mean(0))
    apart = np.linalg.norm(eyes[0] - eyes[1])
    width, height = apart * generator.uniform(0.66, 0.84), apart * generator.uniform(0.44, 0.76)
    if dark:
        width, height = 1.06 * width, 1.12 * height
    height = min(height, 0.95 * width)
    power = generator.uniform(2.0, 4.5)
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    rim = np.stack([np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** (2 / power) * width / 2,
                    np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2 / power) * height / 2], -1)
    rim[:, 0] *= 1 - 0.12 * generator.random() * (rim[:, 1:] < 0)[:, 0]
    rims = []
    for side, eye in zip((-1.0, 1.0), eyes, strict=True):
        outwards = max(0.06 * width, 0.0)
        flat = rim * [side, 1] + [eye[1] + side * (outwards - 0.002), eye[2] - 0.06 * height]
        rims.append(flat)
    distance = _clear_distance(np.concatenate(rims), vertices, landmarks[27, 0])
    curved_rims = [np.column_stack([distance - _CURVE * flat[:, 0] ** 2, flat]) for flat in rims]

    colour = sample_colour(generator) * (0.35 if generator.random() < 0.6 else 1.0)
    material = _METAL if generator.random() < 0.4 else PLASTIC
    thick = generator.uniform(*((0.0006, 0.0012) if material is _METAL else (0.001, 0.003)))
    texture = plain_texture(colour)
    meshes = []
    if generator.random() < 0.88:
        for points in curved_rims:
            closed = np.concatenate([points, points[:2]])
            meshes.append(tube_mesh(closed, thick, texture, material, 'glasses', 6))
    inner = [points[np.argmin(np.abs(points[:, 1]))] for points in curved_rims]
    arch = (inner[0] + inner[1]) / 2 + [0.002, 0.0, 0.003]
    meshes.append(tube_mesh(
        np.stack([inner[0], arch, inner[1]]), max(thick, 0.001), texture, material, 'glasses', 6))
    for points, side, ear in zip(curved_rims, (-1.0, 1.0), landmarks[[0, 16]], strict=True):
        hinge = points[np.argmax(side * points[:, 1] + 0.4 * points[:, 2])]
        ear_y = side * max(abs(ear[1]) + 0.003, abs(hinge[1]) + 0.002)
        corner = hinge + np.array([-0.008, side * 0.004, 0.0])
        over = np.array([ear[0] - 0.004, ear_y, max(ear[2] + 0.018, hinge[2] - 0.022)])
        path = np.stack([hinge, corner, 0.5 * (corner + over) + [0, side * 0.002, 0.001], over,
                         [ear[0] - 0.022, ear_y - side * 0.003, ear[2] - 0.004]])
        meshes.append(tube_mesh(
            path, generator.uniform(0.8, 1.0) * max(1.8 * thick, 0.0018), texture, material,
            'glasses', 6, 0.45, np.array([0.0, 0.0, 1.0])))
    lens = _lens(generator, dark)
    if lens is not None:
        meshes += [fan_mesh(points, lens, _GLASS, 'lens') for points in curved_rims]
    return meshes


def _clear_distance(flat: Array, vertices: Array, sellion: float) -> float:
    """Return the x at which rims (N, 2; y, z) do not intersect the face."""
    face = vertices[vertices[:, 0] > -0.05]
    away = np.linalg.norm(face[None, :, 1:] - flat[:, None], axis=-1)
    near = away < 0.006
    needed = np.where(near, face[None, :, 0] + _CURVE * flat[:, None, 0] ** 2, -np.inf).max()
    return float(np.clip(needed + 0.002, sellion + 0.003, sellion + 0.016))


def _lens(generator: np.random.Generator, dark: bool) -> NDArray[np.uint8] | None:
    texture = np.zeros((32, 32, 4), np.uint8)
    down = np.linspace(0, 1, 32)[:, None]
    if dark:
        tint = generator.choice([0, 1, 2], p=[0.6, 0.25, 0.15])
        colour = ((14, 14, 16), (42, 26, 14), sample_colour(generator) * 0.5)[tint]
        texture[..., :3] = np.clip(colour, 0, 255)
        fade = generator.uniform(0, 0.45) * (generator.random() < 0.4)
        # The renderer dithers half-transparent surfaces, so most lenses are opaque.
        opacity = 1.0 if generator.random() < 0.7 else generator.uniform(0.88, 1.0) - fade * down
        texture[..., 3] = np.broadcast_to(255 * np.clip(opacity, 0, 1), (32, 32))
        return texture
    if generator.random() < 0.75:
        return None
    # Clear glass shows by its reflections: a bright window, or the tint of a coating.
    texture[..., :3] = np.clip(sample_colour(generator) * 0.3 + 175, 0, 255)
    patch = np.zeros((32, 32), np.float32)
    corner = generator.uniform(2, 20, 2)
    quad = corner + np.array([[0, 0], [10, 1], [9, 9], [-2, 8]]) * generator.uniform(0.4, 1.3)
    cv2.fillPoly(patch, [quad.round().astype(np.int32)], float(generator.uniform(0.08, 0.3)))
    texture[..., 3] = 255 * np.clip(generator.uniform(0.0, 0.05) + patch, 0, 1)
    return texture


def sample_mask(generator: np.random.Generator, surface: Array, landmarks: Array) -> list[Mesh]:
    """
    Return a random surgical or cloth mask with ear loops.

    :param generator: source of the choices.
    :param surface: (E, A, 3) m, the head seen from `MOUTH_CENTRE`.
    :param landmarks: (68, 3) m.
    :return: the mask and its loops.
    """
    def elevation_of(point: Array) -> float:
        offset = point - MOUTH_CENTRE
        return float(np.rad2deg(np.arctan2(offset[2], np.hypot(offset[0], offset[1]))))

    slipped = generator.random() < 0.15  # below the nose
    nose = landmarks[28] * 0.6 + landmarks[29] * 0.4 if not slipped else landmarks[33]
    top, bottom = elevation_of(nose), elevation_of(landmarks[8]) - generator.uniform(2, 14)
    half = generator.uniform(56, 70)
    across = np.linspace(-1, 1, 25)
    share = np.linspace(0, 1, 13)[:, None]
    # The upper edge drops towards the cheeks, the lower edge rises towards the jaw.
    upper = top - generator.uniform(14, 24) * np.abs(across) ** 1.3
    lower = bottom + generator.uniform(12, 24) * across ** 2
    elevation = upper * (1 - share) + lower * share
    azimuth = np.broadcast_to(half * across, elevation.shape)
    radius = np.linalg.norm(surface - MOUTH_CENTRE, axis=-1).astype(np.float32)
    # Dilated, to clear lips and nose between grid points.
    radius = cv2.dilate(radius, np.ones((3, 3)))
    taut = np.maximum(cv2.GaussianBlur(radius, (0, 0), 2.2), radius) + 0.0025
    radii = sample_map(taut.astype(np.float64), elevation, azimuth)
    # Cloth spans hollows, so it does not come nearer than its smoothed surface.
    radii = np.maximum(radii, cv2.GaussianBlur(radii.astype(np.float32), (0, 0), 2.0))
    points = MOUTH_CENTRE + radii[..., None] * direction_vector(elevation, azimuth)
    if generator.random() < 0.65:
        base = ((205, 225, 238), (240, 240, 240), (35, 36, 40), (180, 214, 205))[
            generator.integers(4)]
        texture = np.full((64, 64, 4), 255, np.uint8)
        pleats = 1 - 0.16 * (np.sin(np.arange(64) * 2 * np.pi * 3 / 64) > 0.8)[:, None, None]
        grain = generator.normal(1, 0.02, (64, 64, 1))
        texture[..., :3] = np.clip(np.array(base) * pleats * grain, 0, 255)
    else:
        texture = sample_fabric_texture(generator)
    meshes = [grid_mesh(points, texture, CLOTH, 'mask')]
    loops = plain_texture((225, 225, 225))
    for column, ear, side in ((-1, landmarks[16], 1.0), (0, landmarks[0], -1.0)):
        behind = ear + np.array([-0.02, side * 0.004, 0.01])
        for row in (0, -1):
            beside = ear + np.array([0.004, side * 0.004, 0.02 * (row == 0)])
            path = np.stack([points[row, column], beside, behind])
            meshes.append(tube_mesh(path, 0.0012, loops, CLOTH, 'mask', 5))
    return meshes


def sample_scarf(generator: np.random.Generator, landmarks: Array) -> list[Mesh]:
    """Return a random scarf in folds around the neck, which at times covers chin and mouth."""
    chin = landmarks[8, 2]
    high = chin + generator.choice([generator.uniform(-0.035, -0.005), generator.uniform(0, 0.055)],
                                   p=[0.7, 0.3])
    covers = high > chin - 0.004
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)[None, :]
    down = np.linspace(0, 1, 18)[:, None]
    # Diagonal folds of random depth, as in wound cloth.
    folds = sum(generator.uniform(0.15, 1.0) * np.sin(
        turns * angle + generator.uniform(8, 26) * down + generator.uniform(0, 6.28))
                for turns in (1, -2, 3, 2))
    reach = (0.103 if covers else 0.076) + generator.uniform(0, 0.014)
    bulge = generator.uniform(0.018, 0.034) * np.sin(np.pi * np.clip(down, 0.0, 0.75)) ** 0.7
    radius = reach + bulge + 0.02 * down + 0.0042 * folds * np.clip(6 * down, 0.1, 1)
    length = generator.uniform(0.075, 0.12)
    dip = 0.014 * np.cos(angle) * generator.uniform(-0.6, 1.0)
    points = np.stack([-0.106 + radius * np.cos(angle), 0.94 * radius * np.sin(angle),
                       np.broadcast_to(high - length * down - dip, radius.shape)], axis=-1)
    lining = np.stack([points[0] * [1, 0.86, 1] - [0.012, 0, 0.035], points[0]])
    cloth = sample_fabric_texture(generator)
    material = replace(CLOTH, roughness=1.0)
    return [grid_mesh(points, cloth, material, 'scarf', closed=True),
            grid_mesh(lining, cloth, material, 'scarf', closed=True)]
