"""Metric pose on projections of a head whose pose is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation
from synthetic import small_head_model

from trans3dhead_ros import Camera
from trans3dhead_ros.geometry import (
    geodesic_distance_deg,
    rotation_from_euler,
    viewing_ray_rotation,
)
from trans3dhead_ros.perception.assembly import rays_with_scale
from trans3dhead_ros.perception.metric_pose import PoseNoise, solve_poses, weak_perspective_poses

K = np.array([[620.0, 0.0, 318.0], [0.0, 615.0, 243.0], [0.0, 0.0, 1.0]])
CAMERAS = {
    'pinhole': Camera(K, size=(640, 480)),
    'plumb_bob': Camera(K, (-0.3, 0.1, 0.001, -0.0005, 0.0), (640, 480)),
    'rational': Camera(K, (0.2, -0.4, 0.0005, 0.0003, 0.1, 0.3, -0.35, 0.05), (640, 480),
                       'rational_polynomial'),
    'fisheye': Camera(K, (0.02, -0.01, 0.004, -0.001), (640, 480), 'equidistant'),
}
MODEL = small_head_model()
HEAD = MODEL.landmarks(MODEL(torch.zeros(1, 4), torch.zeros(1, 3)))[0].double().numpy()
ONLY_LANDMARKS = PoseNoise(
    head_size=0.0, position=0.0, rotation=0.0, landmark_correlation=1.0)


def solve(camera, pixels, apparent, sigma_px=1.0, noise=ONLY_LANDMARKS):
    """Solve pixels (B, 68, 2), starting from apparent rotations (B, 3, 3)."""
    focal = camera.K[0, 0]
    return solve_poses(
        np.broadcast_to(HEAD, (len(pixels), *HEAD.shape)), camera.rays(pixels),
        np.full(pixels.shape[:2], sigma_px / focal), apparent, camera.rays(pixels.mean(1)),
        np.ones(len(pixels)), noise)


def apparent_rotation(rotation, translation):
    """Return the rotation as it looks along the viewing ray."""
    return viewing_ray_rotation(translation).T @ rotation


@pytest.mark.parametrize('camera', CAMERAS.values(), ids=CAMERAS)
@pytest.mark.parametrize('distance', [0.3, 0.7, 4.0])
def test_exact_landmarks_give_the_exact_pose_anywhere_in_the_image(camera, distance):
    rng = np.random.default_rng(7)
    for _ in range(8):
        ray = np.array([*rng.uniform([-0.42, -0.3], [0.42, 0.3]), 1.0])
        translation = distance * ray
        rotation = viewing_ray_rotation(ray) @ rotation_from_euler(
            rng.uniform([-80, -40, -70], [80, 40, 70]))
        pixels = camera.project(HEAD @ rotation.T + translation)[None]
        # The network's own answer is never exact either.
        error = Rotation.from_rotvec(np.deg2rad(8.0) * rng.normal(size=3) / np.sqrt(3)).as_matrix()
        start = error @ apparent_rotation(rotation, translation)
        found = solve(camera, pixels, start[None])
        assert geodesic_distance_deg(found.rotation[0], rotation) < 0.1
        np.testing.assert_allclose(found.translation[0], translation, atol=2e-3 * distance)


def test_a_head_that_faces_along_its_viewing_ray_is_rotated_in_the_camera_frame():
    camera = CAMERAS['pinhole']
    translation = np.array([0.35, 0.0, 0.8])
    apparent = rotation_from_euler(np.array([0.0, 0.0, 0.0]))
    rotation = viewing_ray_rotation(translation) @ apparent
    pixels = camera.project(HEAD @ rotation.T + translation)[None]
    found = solve(camera, pixels, apparent[None])
    turned = geodesic_distance_deg(found.rotation[0], apparent)
    assert abs(turned - np.rad2deg(np.arctan2(0.35, 0.8))) < 0.1


def test_outliers_hardly_change_the_pose():
    camera, rng = CAMERAS['pinhole'], np.random.default_rng(2)
    rotation, translation = rotation_from_euler(np.array([25.0, 5.0, -10.0])), np.array([0, 0, 0.6])
    pixels = camera.project(HEAD @ rotation.T + translation)
    pixels[:8] += rng.uniform(20, 60, (8, 2))
    found = solve(camera, pixels[None], rotation[None])
    assert geodesic_distance_deg(found.rotation[0], rotation) < 2.0
    assert np.linalg.norm(found.translation[0] - translation) < 0.02


def test_the_pose_is_the_least_huber_cost_that_scipy_finds():
    camera, rng = CAMERAS['pinhole'], np.random.default_rng(8)
    rotation = rotation_from_euler(rng.uniform([-60, -30, -50], [60, 30, 50], (6, 3)))
    translation = rng.uniform([-0.2, -0.2, 0.4], [0.2, 0.2, 2.0], (6, 3))
    pixels = camera.project(HEAD @ rotation.swapaxes(1, 2) + translation[:, None])
    pixels += rng.laplace(scale=2.0, size=pixels.shape)
    found = solve(camera, pixels, viewing_ray_rotation(translation).swapaxes(1, 2) @ rotation)
    for i in range(6):
        def root_of_cost(pose, i=i):
            seen = HEAD @ Rotation.from_rotvec(pose[3:]).as_matrix().T + pose[:3]
            size = np.linalg.norm(seen[:, :2] / seen[:, 2:] - camera.rays(pixels[i]), axis=1)
            near = np.minimum(size * K[0, 0], 2.5)
            return np.sqrt(near * (size * K[0, 0] - 0.5 * near))

        start = [*translation[i], *Rotation.from_matrix(rotation[i]).as_rotvec()]
        best = least_squares(root_of_cost, start, xtol=1e-12, ftol=1e-12, gtol=1e-12).x
        difference = np.concatenate([
            found.translation[i] - best[:3],
            (Rotation.from_matrix(found.rotation[i])
             * Rotation.from_rotvec(best[3:]).inv()).as_rotvec()])
        # In standard deviations of the pose.
        assert difference @ np.linalg.solve(found.covariance[i], difference) < 0.01 ** 2


def test_uncertain_landmarks_weigh_less():
    camera = CAMERAS['pinhole']
    rotation, translation = rotation_from_euler(np.array([25.0, 5.0, -10.0])), np.array([0, 0, 0.6])
    pixels = camera.project(HEAD @ rotation.T + translation)
    pixels[:17] += 6.0
    sigma = np.where(np.arange(68) < 17, 30.0, 0.3)[None] / K[0, 0]
    found = solve_poses(HEAD[None], camera.rays(pixels)[None], sigma, rotation[None],
                        camera.rays(pixels.mean(0))[None], np.ones(1), ONLY_LANDMARKS)
    assert geodesic_distance_deg(found.rotation[0], rotation) < 0.1


def test_the_covariance_is_that_of_a_monte_carlo():
    camera, rng = CAMERAS['pinhole'], np.random.default_rng(4)
    rotation, translation = rotation_from_euler(np.array([30.0, -10.0, 5.0])), np.array(
        [0.15, -0.1, 0.7])
    exact = camera.project(HEAD @ rotation.T + translation)
    pixels = exact + rng.normal(scale=1.0, size=(1500, 68, 2))
    start = np.broadcast_to(apparent_rotation(rotation, translation), (1500, 3, 3))
    found = solve(camera, pixels, start)
    errors = np.concatenate([
        found.translation - translation,
        Rotation.from_matrix(found.rotation @ rotation.T).as_rotvec()], axis=1)
    seen, said = np.cov(errors.T), found.covariance.mean(0)
    # In the frame where the stated covariance is the identity, all directions count alike.
    whitening = np.linalg.inv(np.linalg.cholesky(said))
    deviations = np.sqrt(np.linalg.eigvalsh(whitening @ seen @ whitening.T))
    assert deviations.min() > 0.85 and deviations.max() < 1.15


def test_the_uncertain_size_of_heads_enters_the_depth_along_the_ray():
    camera = CAMERAS['pinhole']
    rotation, translation = rotation_from_euler(np.zeros(3)), np.array([0.3, 0.0, 1.0])
    pixels = camera.project(HEAD @ rotation.T + translation)[None]
    start = apparent_rotation(rotation, translation)[None]
    without = solve(camera, pixels, start).covariance[0]
    uncertain_size = replace(ONLY_LANDMARKS, head_size=0.05)
    found = solve(camera, pixels, start, noise=uncertain_size).covariance[0]
    np.testing.assert_allclose(
        (found - without)[:3, :3], 0.05 ** 2 * np.outer(translation, translation), atol=1e-9)
    np.testing.assert_allclose((found - without)[3:, 3:], 0.0, atol=1e-12)


def test_a_poor_fit_increases_the_covariance():
    camera, rng = CAMERAS['pinhole'], np.random.default_rng(5)
    rotation, translation = rotation_from_euler(np.zeros(3)), np.array([0.0, 0.0, 0.8])
    exact = camera.project(HEAD @ rotation.T + translation)
    noisy = exact + rng.normal(scale=4.0, size=exact.shape)
    deviations = [np.sqrt(np.diag(solve(camera, pixels[None], rotation[None]).covariance[0]))
                  for pixels in (exact, noisy)]
    assert (deviations[1] > 1.5 * deviations[0]).all()


@pytest.mark.parametrize('evidence', [
    np.full((68, 2), np.nan),
    np.full((68, 2), 1e300),
    np.zeros((68, 2)),
    np.where(np.arange(68)[:, None] < 65, np.nan, HEAD[:, 1:]),
    np.random.default_rng(0).normal(size=(68, 2)) * 50,
], ids=['no point seen', 'absurd', 'one place', 'three points', 'noise'])
def test_degenerate_landmarks_give_a_finite_pose_with_a_large_covariance(evidence):
    start = rotation_from_euler(np.array([10.0, 0.0, 0.0]))
    good = CAMERAS['pinhole'].rays(CAMERAS['pinhole'].project(HEAD @ start.T + [0.0, 0.0, 0.8]))
    found = solve_poses(
        np.stack([HEAD, HEAD]), np.stack([evidence, good]), np.full((2, 68), 1e-3),
        np.stack([start, start]), np.array([[0.1, 0.0], [0.0, 0.0]]), np.array([0.9, 0.8]),
        PoseNoise())
    for part in (found.rotation, found.translation, found.covariance):
        assert np.isfinite(part).all()
    assert (np.linalg.eigvalsh(found.covariance) > 0).all()
    np.testing.assert_allclose(found.rotation[0] @ found.rotation[0].T, np.eye(3), atol=1e-9)
    assert found.translation[0, 2] > 0
    # The other head of the batch does not suffer.
    assert geodesic_distance_deg(found.rotation[1], start) < 0.1


def test_a_batch_gives_what_each_head_gives_alone():
    camera, rng = CAMERAS['pinhole'], np.random.default_rng(6)
    rotation = rotation_from_euler(rng.uniform([-80, -40, -70], [80, 40, 70], (12, 3)))
    translation = rng.uniform([-0.2, -0.2, 0.4], [0.2, 0.2, 2.0], (12, 3))
    pixels = camera.project(HEAD @ rotation.swapaxes(1, 2) + translation[:, None])
    pixels += rng.laplace(scale=2.0, size=pixels.shape)
    start = viewing_ray_rotation(translation).swapaxes(1, 2) @ rotation
    together = solve(camera, pixels, start)
    for i in range(12):
        alone = solve(camera, pixels[i:i + 1], start[i:i + 1])
        np.testing.assert_allclose(together.translation[i], alone.translation[0], rtol=1e-4)
        assert geodesic_distance_deg(together.rotation[i], alone.rotation[0]) < 0.01


def test_rays_change_faster_per_pixel_at_the_edge_of_a_fisheye_image():
    camera = Camera([[200.0, 0, 320], [0, 200.0, 240], [0, 0, 1]], (), (640, 480), 'equidistant')
    angles = np.deg2rad([0.5, 30.0, 60.0])
    pixels = np.stack([320 + 200 * angles, np.full(3, 240.0)], axis=1)
    rays, scale = rays_with_scale(camera, pixels)
    np.testing.assert_allclose(rays[:, 0], np.tan(angles), rtol=1e-6)
    # Along the radius d tan(a) / da, across it tan(a) / a.
    expected = np.sqrt(1 / np.cos(angles) ** 2 * np.tan(angles) / angles) / 200
    np.testing.assert_allclose(scale, expected, rtol=0.02)


def test_no_heads_give_no_poses():
    found = solve_poses(np.zeros((0, 68, 3)), np.zeros((0, 68, 2)), np.zeros((0, 68)),
                        np.zeros((0, 3, 3)), np.zeros((0, 2)), np.zeros(0), PoseNoise())
    assert found.rotation.shape == (0, 3, 3) and found.covariance.shape == (0, 6, 6)


def test_weak_perspective_keeps_the_rotation_and_has_a_large_covariance():
    rotation = rotation_from_euler(np.array([[20.0, 3.0, -8.0]]))
    found = weak_perspective_poses(rotation, np.array([[0.2, -0.1]]), np.array([1.5]))
    np.testing.assert_array_equal(found.rotation, rotation)
    np.testing.assert_allclose(found.translation, [[0.3, -0.15, 1.5]])
    assert np.sqrt(found.covariance[0, 2, 2]) > 0.5
    assert (np.linalg.eigvalsh(found.covariance) > 0).all()
