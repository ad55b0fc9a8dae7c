"""Synthetic scenes: labels sit on the pixels, poses cover the range, seeds give the same bytes."""

from dataclasses import dataclass

import cv2
import numpy as np
import pytest
import torch
from synthetic import bundled_head_model

from trans3dhead_ros.geometry import (
    geodesic_distance_deg,
    rotation_from_euler,
    viewing_ray_rotation,
)
from trans3dhead_ros.network.head_module import visible_contour
from trans3dhead_training.synthesis.occluders.mesh_primitives import (
    mesh_from_arrays,
    plain_texture,
)
from trans3dhead_training.synthesis.occluders.occluder_placement import (
    OccluderPlacement,
    only_occluders,
)
from trans3dhead_training.synthesis.render.lighting import (
    constant_irradiance,
    environment_irradiance,
)
from trans3dhead_training.synthesis.render.renderer import Lighting, Scene, render
from trans3dhead_training.synthesis.render.textured_mesh import Material
from trans3dhead_training.synthesis.scenes import scene_generator
from trans3dhead_training.synthesis.scenes.camera_sampling import CameraDistribution, sample_view
from trans3dhead_training.synthesis.scenes.expression_sampling import (
    expression_coefficients,
    sample_expression,
)
from trans3dhead_training.synthesis.scenes.frame_generator import render_scene
from trans3dhead_training.synthesis.scenes.hdr_environments import Environment
from trans3dhead_training.synthesis.scenes.head_labels import HeadLabeller
from trans3dhead_training.synthesis.scenes.light_sampling import sample_light
from trans3dhead_training.synthesis.scenes.pose_sampling import PoseDistribution
from trans3dhead_training.synthesis.scenes.scene_generator import (
    SceneAssets,
    crop_stream,
    occluder_mask,
    render_crops,
    transform_meshes,
)

pytestmark = pytest.mark.train

EYES_RIGHT, EYES_LEFT, MOUTH = slice(36, 42), slice(42, 48), slice(48, 68)


@dataclass(frozen=True, eq=False)
class Mannequin:
    """A person in one colour whose surface is the head model's own."""

    model: object
    identity: np.ndarray

    def head_vertices(self, expression):
        shape = torch.from_numpy(self.identity[None, :50]).float()
        with torch.no_grad():
            return self.model(shape, torch.from_numpy(expression[None]).float())[0].numpy()

    def meshes(self, expression, gaze_deg=(0.0, 0.0), body_rotation=None):
        triangles = self.model.triangles.numpy()
        return (mesh_from_arrays(
            self.head_vertices(expression), triangles, np.zeros((len(triangles), 3, 2)),
            plain_texture((200, 150, 120)), Material(two_sided=True), 'skin'),)


@pytest.fixture(scope='module')
def model():
    return bundled_head_model()


@pytest.fixture(scope='module')
def assets(model):
    generator = np.random.default_rng(0)
    panorama = torch.from_numpy(generator.uniform(0.5, 1.5, (32, 64, 3)).astype(np.float32))
    environment = Environment('test', panorama, environment_irradiance(panorama),
                              torch.tensor([0.0, -1.0, 0.0]), torch.tensor([0.3, 0.3, 0.3]))
    return SceneAssets(lambda g: Mannequin(model, g.normal(0, 0.8, 100)), (environment,),
                       OccluderPlacement.from_model(model), HeadLabeller.from_model(model))


def picture_of(assets, euler_deg, occluders=None, expression=None, size=256, distance=0.9, seed=3):
    """Return the rendering, its truth and the head's vertices of the mean head before a camera."""
    model = assets.labeller.model
    expression = np.zeros(model.expression_count) if expression is None else expression
    person = Mannequin(model, np.zeros(100))
    vertices = person.head_vertices(expression).astype(np.float64)
    meshes = person.meshes(expression)
    if occluders is not None:
        meshes = assets.occluders.add_occluders(
            np.random.default_rng(seed), meshes, vertices, occluders)
    rotation = rotation_from_euler(np.array(euler_deg, float))
    translation = np.array([0.0, 0.0, distance]) - rotation @ [-0.085, 0, -0.03]
    focal = 2.6 * size * distance
    intrinsics = np.array([[focal, 0, size / 2 - 0.5], [0, focal, size / 2 - 0.5], [0, 0, 1]])
    light = Lighting(constant_irradiance((0.5, 0.5, 0.5)), torch.tensor([[0.0, -0.5, -0.866]]),
                     torch.tensor([[0.4, 0.4, 0.4]]), shadows=False)
    scene = Scene(
        transform_meshes(meshes, rotation, translation), torch.from_numpy(intrinsics).float(),
        light, torch.zeros(size, size, 3, dtype=torch.uint8))
    rendering = render([scene], oversampling=1)
    truth = assets.labeller.label(vertices, rotation, translation, intrinsics, np.zeros(50),
                                  expression, rendering.depth[0].numpy(),
                                  occluder_mask(rendering.part[0].numpy(), scene))
    return rendering, truth, vertices


@pytest.mark.parametrize('yaw', [0, 50, -85, 140])
def test_labels_sit_where_the_renderer_draws(assets, yaw):
    rendering, truth, _ = picture_of(assets, (yaw, 8, -5))
    rows, columns = np.nonzero(rendering.part[0].numpy() >= 0)
    drawn = np.array([columns.min(), rows.min(), columns.max(), rows.max()])
    low, high = truth.vertices_px[:, :2].min(0), truth.vertices_px[:, :2].max(0)
    # The corners where the neck is cut are thinner than a pixel.
    np.testing.assert_allclose(drawn, [*low, *high], atol=2.5)
    nose_x, nose_y = truth.landmarks[30, :2].round().astype(int)
    if truth.visible[30]:
        nose_z = (truth.rotation_camera @ _nose(assets) + truth.translation_camera)[2]
        around = rendering.depth[0, nose_y - 1:nose_y + 2, nose_x - 1:nose_x + 2].numpy()
        assert np.abs(around - nose_z).min() < 0.003


def _nose(assets):
    model = assets.labeller.model
    return model.mean[model.landmark_indices[30]].numpy().astype(float)


def test_the_far_eye_of_a_profile_and_the_face_of_a_back_view_are_hidden(assets):
    # Yaw > 0 turns the nose to the image's left, so the left eye is the near one.
    _, right_profile, _ = picture_of(assets, (80, 0, 0))
    assert not right_profile.visible[EYES_RIGHT].any() and right_profile.visible[EYES_LEFT].any()
    _, behind, _ = picture_of(assets, (180, 0, 0))
    assert not behind.visible[17:].any()
    _, front, _ = picture_of(assets, (0, 0, 0))
    assert front.visible[17:].all()


def test_occluders_hide_points_and_leave_labels(assets):
    _, bare, _ = picture_of(assets, (10, 0, 0))
    _, masked, _ = picture_of(assets, (10, 0, 0), only_occluders(mask=1.0))
    assert bare.visible[MOUTH].all() and not masked.visible[MOUTH].any()
    np.testing.assert_array_equal(bare.landmarks, masked.landmarks)
    _, shaded, _ = picture_of(assets, (10, 0, 0), only_occluders(sun_glasses=1.0), seed=1)
    assert not shaded.visible[36:48].any() and shaded.visible[MOUTH].all()


def test_depth_is_zero_at_the_sellion_and_smaller_nearer(assets):
    _, truth, _ = picture_of(assets, (0, 0, 0))
    assert truth.landmarks[27, 2] == pytest.approx(0.0, abs=1e-6)
    assert truth.landmarks[30, 2] < -3 and truth.landmarks[0, 2] > 10


@pytest.mark.parametrize(('yaw', 'side'), [(40, slice(10, 16)), (-40, slice(1, 7))])
def test_the_far_jaw_lies_on_the_outline(assets, yaw, side):
    # Turned to the image's left the far cheek is at the left: points 0..7 of a facing head.
    rendering, truth, _ = picture_of(assets, (-yaw, 0, 0))
    mask = (rendering.part[0].numpy() >= 0).astype(np.uint8)
    inwards = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    outwards = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    longer = (truth.box[2:] - truth.box[:2]).max()
    x, y = truth.contour[side].round().astype(int).T
    away = np.maximum(inwards[y, x], outwards[y, x]) / longer
    fixed_x, fixed_y = truth.landmarks[side, :2].round().astype(int).T
    assert away.max() < 0.03 and inwards[fixed_y, fixed_x].max() / longer > 0.06


def test_the_contour_means_what_the_head_model_means(assets, model):
    generator = np.random.default_rng(1)
    candidates = model.contour_indices.numpy()
    away = []
    for yaw in (-70, -45, -20, 0, 30, 60, 85):
        _, truth, vertices = picture_of(assets, (yaw, *generator.uniform(-15, 15, 2)))
        chosen = visible_contour(torch.from_numpy(vertices[candidates])[None],
                                 torch.from_numpy(truth.rotation)[None])[0].numpy()
        theirs = truth.vertices_px[candidates[np.arange(17), chosen], :2]
        longer = (truth.box[2:] - truth.box[:2]).max()
        away.append(np.linalg.norm(theirs - truth.contour, axis=1) / longer)
    assert np.median(away) < 0.01 and np.percentile(away, 90) < 0.05


def test_placement_is_the_weak_perspective_of_the_network(assets):
    model, generator = assets.labeller.model, np.random.default_rng(2)
    errors = []
    for _ in range(40):
        shape = generator.normal(0, 0.8, 50)
        expression = sample_expression(generator, model.expression_names)
        vertices = assets.labeller.model_vertices(shape, expression)
        view = sample_view(generator, PoseDistribution().sample(generator),
                           vertices[model.landmark_indices.numpy()], 256,
                           CameraDistribution(field_of_view_deg=(30, 60), head_share=(0.1, 0.35)))
        truth = assets.labeller.label(vertices, view.rotation, view.translation, view.intrinsics,
                                      shape, expression)
        flat = np.exp(truth.log_scale) * vertices @ truth.rotation[:2].T + truth.translation
        away = flat[model.landmark_indices.numpy()] - truth.landmarks[:, :2]
        longer = (truth.box[2:] - truth.box[:2]).max()
        errors.append(np.linalg.norm(away, axis=1).mean() / longer)
        # Twice the box: a crop of one and a half boxes with a detector's errors stays inside.
        assert 256 / 2.2 < longer < 256 / 1.9
    assert np.mean(errors) < 0.015


def test_a_head_beside_the_axis_looks_turned(assets):
    model, generator = assets.labeller.model, np.random.default_rng(4)
    vertices = model.mean.numpy().astype(float)
    apparent = rotation_from_euler(np.array([20.0, 5.0, 0.0]))
    view = sample_view(generator, apparent, vertices[model.landmark_indices.numpy()], 256,
                       CameraDistribution(field_of_view_deg=(80, 90), head_share=(0.1, 0.2)))
    truth = assets.labeller.label(vertices, view.rotation, view.translation, view.intrinsics,
                                  np.zeros(50), np.zeros(53))
    middle = view.rotation @ [-0.07, 0.0, -0.035] + view.translation
    unturned = viewing_ray_rotation(middle).T @ view.rotation
    assert geodesic_distance_deg(truth.rotation, apparent) < 3
    assert geodesic_distance_deg(truth.rotation, unturned) < 3
    assert geodesic_distance_deg(view.rotation, apparent) > 5


def test_expressions_stay_within_limits_and_close_eyes_often(model):
    generator, names = np.random.default_rng(7), model.expression_names
    drawn = np.stack([sample_expression(generator, names) for _ in range(300)])
    assert drawn.shape == (300, 53) and drawn.min() >= 0 and drawn.max() <= 1
    closed = drawn[:, names.index('eyeBlink_L')] > 0.8
    assert 0.12 < closed.mean() < 0.4
    with pytest.raises(ValueError, match='unknown wings'):
        expression_coefficients({'wings': 1.0}, names)


def test_the_same_seed_and_number_give_the_same_bytes(assets, monkeypatch):
    monkeypatch.setattr(scene_generator, 'PICTURES_PER_PERSON', 2)

    def take(first, count):
        stream = crop_stream(assets, seed=9, first=first, size=96)
        return [next(stream) for _ in range(count)]

    some, later = take(0, 4), take(3, 1)
    assert [number for number, _, _ in some] == list(range(4))
    number, image, truth = later[0]
    assert number == 3 and image.tobytes() == some[3][1].tobytes()
    np.testing.assert_array_equal(truth.landmarks, some[3][2].landmarks)
    other = next(crop_stream(assets, seed=10, size=96))
    assert other[1].tobytes() != some[0][1].tobytes()


def test_a_head_fills_its_crop(assets):
    for image, truth in render_crops(assets, np.random.default_rng(1), 3, 128):
        assert image.shape == (128, 128, 3) and image.dtype == np.uint8
        centre = (truth.box[:2] + truth.box[2:]) / 2
        assert np.abs(centre - 63.5).max() < 6
        assert truth.shape.shape == (50,) and truth.expression.shape == (53,)


def test_scenes_have_as_many_truths_as_heads_the_nearest_first(assets):
    image, none = render_scene(assets, np.random.default_rng(1), (160, 120), heads=0)
    assert none == [] and image.shape == (120, 160, 3)
    image, several = render_scene(assets, np.random.default_rng(2), (320, 240), heads=4)
    places = np.array([head.labels.translation_camera for head in several])
    assert len(several) == 4 and (np.diff(places[:, 2]) >= 0).all()
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1)
    assert gaps[~np.eye(4, dtype=bool)].min() > 0.4
    for head in several:
        inner = head.labels.landmarks[17:, :2]
        assert (head.head_box[:2] < inner.min(0)).all() and (inner.max(0)[0] < head.head_box[2])
        assert 0.0 <= head.seen <= 1.0
    assert several[0].seen > 0.3  # nothing is in front of the nearest
    with pytest.raises(ValueError, match='heads: expected 0…8, got 9'):
        render_scene(assets, np.random.default_rng(1), heads=9)


def test_light_is_exposed_for_the_head(assets):
    generator = np.random.default_rng(12)
    lights = [sample_light(generator, assets.environments) for _ in range(60)]
    dark = [light for light in lights if light.kind == 'low']
    assert 1 <= len(dark) < 20
    assert all(torch.isfinite(light.lighting.irradiance).all() for light in lights)
