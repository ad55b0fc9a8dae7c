"""Fits find the pose of heads that their own model cannot make."""

from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import bundled_head_model

from trans3dhead_ros.geometry import geodesic_distance_deg, viewing_ray_rotation
from trans3dhead_training.core.data_root import data_root
from trans3dhead_training.fitting.fit import fit_landmarks, towards_box
from trans3dhead_training.fitting.fit_camera import POSE, PerspectiveCamera, in_picture
from trans3dhead_training.fitting.simulated_faces import (
    FaceSimulator,
    SimulatedFaces,
    SimulationConfig,
)

pytestmark = pytest.mark.train


def source_path() -> Path:
    try:
        path = data_root() / 'head_model' / 'ict_facekit.npz'
    except ValueError as error:
        pytest.skip(f'no training data here: {error}')
    if not path.is_file():
        pytest.skip(f'no parametric head at {path}')
    return path


@pytest.fixture(scope='module')
def heads() -> SimulatedFaces:
    """Perspective, noise, foreign identities and expressions, jaw on the mesh's silhouette."""
    return FaceSimulator(source_path()).draw(150, np.random.default_rng(0))


def mean_errors(heads: SimulatedFaces, rotation: torch.Tensor) -> tuple[float, float]:
    """Return degrees up to 60 degrees of yaw, and beyond."""
    error = geodesic_distance_deg(rotation.double().numpy(), heads.rotation)
    beyond = np.abs(heads.yaw_deg) > 60
    return error[~beyond].mean(), error[beyond].mean()


def test_pose_is_found_where_the_field_of_view_is_known(heads):
    camera = torch.eye(3).repeat(len(heads.points), 1, 1)
    camera[:, 0, 0] = camera[:, 1, 1] = torch.from_numpy(heads.focal_px).float()
    points, focal = towards_box(torch.from_numpy(heads.points).float(), camera)
    fit = fit_landmarks(bundled_head_model(), points, focal_px=focal)
    near, far = mean_errors(heads, fit.rotation)
    assert near < 2.5 and far < 4.0
    away = fit.inverse_distance.numpy() / heads.inverse_distance
    assert abs(np.log(away)).mean() < 0.1


def test_pose_is_found_in_a_crop_of_an_unknown_camera(heads):
    fit = fit_landmarks(bundled_head_model(), torch.from_numpy(heads.points).float())
    near, far = mean_errors(heads, fit.rotation)
    assert near < 2.5 and far < 4.0


def test_a_head_off_the_axis_is_stretched_as_by_a_real_camera():
    random = torch.Generator().manual_seed(3)
    seen = torch.rand(4, 68, 2, generator=random, dtype=torch.double) - 0.5
    off_axis = 0.6 * torch.rand(4, 2, generator=random, dtype=torch.double) - 0.3
    focal = torch.full((4,), 3.0, dtype=torch.double)
    shown = in_picture(seen, off_axis, focal)
    for face, (k, rays) in enumerate(zip(off_axis, seen / 3.0, strict=True)):
        ray = np.append(k, 1.0)
        away = np.append(rays, np.ones((68, 1)), axis=1) @ viewing_ray_rotation(ray).T
        # The picture's own focal length is shorter than the way to the box's middle.
        picture = 3.0 / np.linalg.norm(ray) * (away[:, :2] / away[:, 2:] - k.numpy())
        assert np.allclose(shown[face], picture, atol=1e-9)


def test_off_axis_derivatives_are_those_of_the_projection():
    random = torch.Generator().manual_seed(5)
    turned = 0.1 * torch.randn(2, 9, 3, generator=random, dtype=torch.double)
    camera = PerspectiveCamera(
        torch.eye(3, dtype=torch.double).repeat(2, 1, 1), torch.full((2,), 2.4).double(),
        torch.tensor([[0.1, -0.2], [0.0, 0.3]]).double(), torch.tensor([0.5, -0.2]).double(),
        torch.tensor([[0.2, -0.1], [-0.15, 0.25]]).double())
    _, near, flat = camera.project(turned)
    pose, _ = camera.jacobian(turned, near, flat)
    for column in range(3, POSE):
        step = torch.zeros(2, POSE, dtype=torch.double)
        step[:, column] = 1e-6
        numeric = (camera.moved(step).project(turned)[0] - camera.moved(-step).project(turned)[0])
        # The length of the ray is held fixed in the derivative, which costs little.
        assert torch.allclose(pose[..., column], numeric / 2e-6, atol=0.02)


def test_heads_are_the_same_for_the_same_seed():
    source = FaceSimulator(source_path())
    first, second = (source.draw(3, np.random.default_rng(7), SimulationConfig()) for _ in range(2))
    assert (first.points == second.points).all() and (first.rotation == second.rotation).all()
    other = source.draw(3, np.random.default_rng(8), SimulationConfig())
    assert (first.points != other.points).any()


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(ValueError, match=r'nothing\.npz'):
        FaceSimulator(tmp_path / 'nothing.npz')
