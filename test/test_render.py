"""Rendered heads lie where the camera sees them, and their truth is beside them."""

import cv2
import numpy as np
import pytest
from synthetic import small_head_model

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import FACING_CAMERA, rotation_from_euler
from trans3dhead_ros.network.checkpoint import bundled_checkpoint
from trans3dhead_ros.perception.raster import rasterise
from trans3dhead_ros.perception.render import (
    HeadRenderer,
    clip_truth,
    load_head,
    named_expression,
    write_turning_head,
)
from trans3dhead_ros.perception.source import open_source

CAMERA = Camera.from_fov((160, 120), 60)
GREEN = np.full((120, 160, 3), (0, 255, 0), np.uint8)


def test_the_nearer_triangle_hides_the_farther_one():
    square = np.array([[10.0, 10], [10, 30], [30, 30], [30, 10]])
    pixels = np.concatenate([square, square + 10])
    depth = np.array([2.0] * 4 + [1.0] * 4)
    triangles = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    for order in (triangles, triangles[::-1]):
        seen = rasterise(pixels, depth, order, (64, 64))
        owner = np.full(64 * 64, -1)
        owner[seen.pixel] = order[seen.triangle, 0] // 4
        owner = owner.reshape(64, 64)
        assert (owner[20:31, 20:31] == 1).all() and (owner[12:19, 12:19] == 0).all()
        assert owner[5, 5] == -1 and seen.outside.all()


def test_values_are_interpolated_over_a_triangle():
    pixels = np.array([[0.0, 0], [0, 40], [40, 0]])
    seen = rasterise(pixels, np.ones(3), np.array([[0, 1, 2]]), (64, 64))
    values = seen.interpolate(pixels.astype(np.float32), np.array([[0, 1, 2]]))
    np.testing.assert_allclose(values[:, 0], seen.pixel % 64, atol=1e-4)
    np.testing.assert_allclose(values[:, 1], seen.pixel // 64, atol=1e-4)
    assert len(values) == 41 * 42 // 2


def test_what_is_behind_the_camera_or_outside_the_image_is_not_drawn():
    pixels = np.array([[-30.0, -30], [-30, 90], [90, -30]])
    triangles = np.array([[0, 1, 2]])
    assert len(rasterise(pixels, np.array([1.0, 1.0, -1.0]), triangles, (8, 8)).pixel) == 0
    assert len(rasterise(pixels - 200, np.ones(3), triangles, (8, 8)).pixel) == 0
    assert len(rasterise(pixels, np.ones(3), triangles, (8, 8)).pixel) == 64


def test_the_outline_is_that_of_the_projected_vertices():
    model = small_head_model()
    rotation = rotation_from_euler(np.array([20.0, 5, 10]))
    translation = np.array([0.05, 0.02, 0.6])
    renderer = HeadRenderer.of(model)
    vertices = (model.mean.numpy() + renderer.appearance.hair) @ rotation.T + translation
    hull = cv2.convexHull(CAMERA.project(vertices).astype(np.float32))
    expected = cv2.fillConvexPoly(np.zeros((120, 160), np.uint8), np.round(hull).astype(int), 1)
    mask = (renderer.render(GREEN, CAMERA, rotation, translation) != GREEN).any(axis=2)
    assert (mask & (expected > 0)).sum() / (mask | (expected > 0)).sum() > 0.9


def test_a_turned_head_shows_more_of_its_hair():
    renderer = HeadRenderer.of(small_head_model())
    back = FACING_CAMERA @ np.diag([-1.0, -1.0, 1.0])
    place = np.array([0.0, 0.0, 0.5])
    front_view, back_view = (renderer.render(GREEN, CAMERA, rotation, place)
                             for rotation in (FACING_CAMERA, back))
    front, behind = ((view != GREEN).any(axis=2) for view in (front_view, back_view))
    assert front_view[front].mean() > 1.5 * back_view[behind].mean()


def test_an_unknown_expression_is_named():
    model = small_head_model()
    assert named_expression(model, {'jawOpen': 0.5}).tolist() == [[0.5, 0.0, 0.0]]
    with pytest.raises(ValueError, match='unknown wink'):
        named_expression(model, {'wink': 1.0})


def test_the_clip_has_its_truth_and_its_camera(tmp_path):
    source = open_source(write_turning_head(tmp_path / 'new', small_head_model(), seconds=0.4))
    frames = list(source)
    assert len(frames) == len(source.truth.rotation) == 10
    assert source.size == source.camera.size == (480, 360) and source.fps == 25
    for frame, rotation, position in zip(frames, source.truth.rotation, source.truth.translation,
                                         strict=True):
        assert frame.image.std() > 20
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        x, y = source.camera.project(position)
        assert 60 < x < 420 and 60 < y < 300


def test_the_clip_turns_both_ways_and_begins_facing_the_camera():
    truth = clip_truth()
    yaw = np.rad2deg(np.arcsin(-truth.rotation[:, 0, 0]))
    assert abs(yaw[0]) < 1 and yaw.max() > 30 and yaw.min() < -30 and len(yaw) == 125


@pytest.mark.skipif(not bundled_checkpoint().is_file(), reason='needs the bundled checkpoint')
def test_a_face_detector_finds_the_rendered_head():
    truth = clip_truth()
    camera = Camera(truth.intrinsics, size=truth.size)
    background = np.full((360, 480, 3), 120, np.uint8)
    image = HeadRenderer.of(load_head()).render(background, camera, truth.rotation[0],
                                                truth.translation[0])
    cascade = cv2.CascadeClassifier(
        cv2.data.haarcascades + 'haarcascade_frontalface_default.xml')
    faces = cascade.detectMultiScale(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), 1.1, 5)
    nose = camera.project(truth.translation[0])
    assert any(x < nose[0] < x + w and y < nose[1] < y + h for x, y, w, h in faces)
