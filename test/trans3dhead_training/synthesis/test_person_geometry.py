"""Bound vertices, displacements, colours and the neck of synthetic people."""


import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from trans3dhead_training.synthesis.anatomy.skin_binding import bind_to_skin, push_outside_skin
from trans3dhead_training.synthesis.appearance.hair_styles import tint_hair
from trans3dhead_training.synthesis.appearance.skin_texture import TONES, skin_tone_colour
from trans3dhead_training.synthesis.people.person import (
    NO_DISPLACEMENT,
    SmoothDisplacement,
    rotate_torso,
)


def test_bound_vertices_follow_the_skin_and_stay_outside():
    skin = np.stack([*np.meshgrid(np.linspace(0, 1, 9), np.linspace(0, 1, 9)),
                     np.zeros((9, 9))], -1).reshape(-1, 3).astype(np.float32)
    binding = bind_to_skin(np.array([[0.5, 0.5, 0.01]]), skin)
    assert np.allclose(binding.deformed(np.full_like(skin, 0.2)), [[0.7, 0.7, 0.21]], atol=1e-6)
    normals = np.tile(np.float32([0, 0, 1]), (len(skin), 1))
    sunk = np.float32([[0.5, 0.5, -0.01]])
    assert push_outside_skin(sunk, binding, skin, normals, 0.003)[0, 2] == pytest.approx(0.003)


def test_the_displacement_leaves_the_sellion_in_place():
    asymmetry = SmoothDisplacement(
        np.array([[0.01, 0, 0]]), np.array([0.03]), np.array([[0.001, 0, 0]])
    )
    assert np.allclose(asymmetry.at(np.zeros((1, 3))), 0)
    assert np.abs(asymmetry.at(np.array([[-0.1, 0, 0.05]]))).max() > 1e-4
    assert not NO_DISPLACEMENT.at(np.ones((3, 3))).any()


def test_tones_run_from_fair_to_dark():
    brightness = [skin_tone_colour(tone, 0).mean() for tone in np.linspace(0, 1, 12)]
    assert np.all(np.diff(brightness) < 0)
    assert TONES[0, 0] > TONES[0, 2]


def test_tinted_hair_has_the_colour_and_the_opacity():
    grey = np.dstack([np.full((4, 4), 110), np.arange(16).reshape(4, 4)]).astype(np.uint8)
    hair = tint_hair(grey, np.array([120, 60, 30]), 0.0)
    assert (hair[..., :3] == [120, 60, 30]).all()
    assert (hair[..., 3] == grey[..., 1]).all()


def test_the_neck_blends_between_head_and_torso():
    points = np.float32([[0, 0, 0], [0, 0.1, -0.3]])
    turn = Rotation.from_euler('z', 90, degrees=True).as_matrix()
    moved = rotate_torso(points, np.float32([0, 1]), turn)
    assert np.array_equal(moved[0], points[0])
    assert np.allclose(moved[1], [-0.175, 0.075, -0.3], atol=1e-6)
