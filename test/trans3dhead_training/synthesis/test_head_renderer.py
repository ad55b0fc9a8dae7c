"""Rendered heads lie where the camera sees them."""

import cv2
import numpy as np
import pytest
from synthetic import small_head_model

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import FACING_CAMERA, rotation_from_euler
from trans3dhead_ros.network.checkpoint import load_head_model
from trans3dhead_ros.perception.detector import make_detector
from trans3dhead_training.synthesis.preview.head_renderer import (
    HeadRenderer,
    named_expression,
)

CAMERA = Camera.from_fov((160, 120), 60)
GREEN = np.full((120, 160, 3), (0, 255, 0), np.uint8)


def test_the_outline_is_that_of_the_projected_vertices():
    model = small_head_model()
    rotation = rotation_from_euler(np.array([20.0, 5, 10]))
    translation = np.array([0.05, 0.02, 0.6])
    renderer = HeadRenderer.from_model(model)
    vertices = (model.mean.numpy() + renderer.appearance.hair) @ rotation.T + translation
    hull = cv2.convexHull(CAMERA.project(vertices).astype(np.float32))
    expected = cv2.fillConvexPoly(np.zeros((120, 160), np.uint8), np.round(hull).astype(int), 1)
    mask = (renderer.render(GREEN, CAMERA, rotation, translation) != GREEN).any(axis=2)
    assert (mask & (expected > 0)).sum() / (mask | (expected > 0)).sum() > 0.9


def test_a_turned_head_shows_more_of_its_hair():
    renderer = HeadRenderer.from_model(small_head_model())
    back = FACING_CAMERA @ np.diag([-1.0, -1.0, 1.0])
    place = np.array([0.0, 0.0, 0.5])
    front_view, back_view = (renderer.render(GREEN, CAMERA, rotation, place)
                             for rotation in (FACING_CAMERA, back))
    front, behind = ((view != GREEN).any(axis=2) for view in (front_view, back_view))
    assert front_view[front].mean() > 1.5 * back_view[behind].mean()


def test_an_unknown_expression_is_named():
    model = small_head_model()
    assert named_expression(model, {'jawOpen': 0.5}).tolist() == [0.5, 0.0, 0.0]
    with pytest.raises(ValueError, match='unknown wink'):
        named_expression(model, {'wink': 1.0})


def test_a_face_detector_finds_the_rendered_head():
    camera, place = Camera.from_fov((480, 360), 60), np.array([0.0, 0.0, 0.46])
    background = np.full((360, 480, 3), 120, np.uint8)
    image = HeadRenderer.from_model(load_head_model()).render(
        background, camera, FACING_CAMERA, place
    )
    found = make_detector(device='cpu').detect(image)
    nose = camera.project(place)
    assert ((found.landmark_box[0, :2] < nose) & (nose < found.landmark_box[0, 2:])).all()
