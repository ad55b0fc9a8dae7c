"""Mesh errors measure what was done to the mesh, by the definitions of DAD-3DHeads as well."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from command_line import evaluate as main
from dad_files import CENTRE_RGB, TRUE_EULER, dad_head, perspective, write_dad
from face_results import ConstantPredictor
from synthetic import bundled_head_model

from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.model_files.model_metadata import bundled_model
from trans3dhead_training.data.sample import Placement, Sample
from trans3dhead_training.evaluation.dad_metrics import (
    FlameTopology,
    compute_dad_metrics,
    read_annotation,
    read_head_boxes,
    read_topology,
)
from trans3dhead_training.evaluation.dataset_evaluation import evaluate_dataset
from trans3dhead_training.evaluation.mesh_errors import (
    HeadMesh,
    chamfer,
    compute_mesh_errors,
    predicted_mesh,
    true_mesh,
    z_accuracy,
)
from trans3dhead_training.formats.readers import read_samples
from trans3dhead_training.predictors import Alignment

needs_checkpoint = pytest.mark.skipif(
    not bundled_model().is_file(), reason=f'no checkpoint at {bundled_model()}')


@pytest.fixture(scope='module')
def model():
    return bundled_head_model()


@pytest.fixture(scope='module')
def mesh(model):
    return HeadMesh(model)


def known_head(mesh: HeadMesh) -> Sample:
    """A head of known coefficients, turned by 40°, 300 px per 0.3 m."""
    generator = np.random.default_rng(0)
    sample = Sample(
        b'', 'known', 'known', True, given_box=np.array([0.0, 0, 1, 1]),
        shape=generator.normal(size=mesh.counts[0]),
        expression=generator.uniform(0, 0.2, mesh.counts[1]),
        rotation=rotation_from_euler(np.array([40.0, -10.0, 5.0])),
        placement=Placement(np.array([160.0, 150.0]), float(np.log(1000))))
    vertices = true_mesh(mesh, sample)
    return replace(sample, given_box=None, points=vertices[mesh.landmark_indices, :2],
                   points_are_3d=True)


@needs_checkpoint
def test_a_perfect_mesh_has_no_error(mesh):
    true = true_mesh(mesh, known_head(mesh))
    assert compute_mesh_errors(mesh, true, true, 200.0) == pytest.approx(
        {'dense_percent': 0, 'dense_head_percent': 0, 'reconstruction_percent': 0, 'z5': 1,
         'chamfer': 0}, abs=1e-9)


@needs_checkpoint
def test_a_moved_mesh_has_a_dense_error_and_none_of_reconstruction(mesh):
    true = true_mesh(mesh, known_head(mesh))
    turned = 1.1 * true @ rotation_from_euler(np.array([5.0, 3.0, 2.0])).T + [30, 0, 9]
    errors = compute_mesh_errors(mesh, turned, true, 200.0)
    assert errors['reconstruction_percent'] == pytest.approx(0, abs=1e-9)
    assert errors['chamfer'] == pytest.approx(0, abs=1e-9) and errors['dense_percent'] > 5
    shifted = compute_mesh_errors(mesh, true + np.array([6.0, 8.0, 0]), true, 200.0)
    assert shifted['dense_percent'] == pytest.approx(5) == shifted['dense_head_percent']
    assert shifted['z5'] == 1


@needs_checkpoint
def test_reconstruction_is_over_the_distance_of_the_outer_eye_corners(mesh):
    true = true_mesh(mesh, known_head(mesh))
    eyes = np.linalg.norm(np.subtract(*true[mesh.landmark_indices[[36, 45]]]))
    noise = np.random.default_rng(1).normal(size=true.shape)
    # The mean length of a vector of three normal numbers is sqrt(8 / pi).
    errors = compute_mesh_errors(mesh, true + noise, true, 200.0)
    assert errors['reconstruction_percent'] == pytest.approx(
        100 * np.sqrt(8 / np.pi) / eyes, rel=0.05)


@needs_checkpoint
def test_coefficients_of_another_head_model_are_refused(mesh):
    sample = known_head(mesh)
    with pytest.raises(ValueError, match=r'known has 7 \+ 53 coefficients'):
        true_mesh(mesh, replace(sample, shape=np.zeros(7)))
    assert true_mesh(mesh, replace(sample, shape=None)) is None


@needs_checkpoint
def test_samples_that_know_their_mesh_are_measured_by_it(model, mesh, tmp_path):
    sample = known_head(mesh)
    picture = tmp_path / 'head.png'
    cv2.imwrite(str(picture), np.zeros((300, 320, 3), np.uint8))

    class Knowing(ConstantPredictor):
        head_model = model

        def predict(self, image, boxes):
            return [Alignment(sample.points, rotation=sample.rotation, score=1.0,
                              shape=sample.shape, expression=sample.expression,
                              placement=sample.placement) for _ in boxes]

    evaluation = evaluate_dataset([replace(sample, picture=picture)], {'knowing': Knowing()},
                                  label_free=False)
    result = evaluation.results['knowing'][0]
    assert result.extra['dense_percent'] == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(predicted_mesh(mesh, result.prediction), true_mesh(mesh, sample))


def test_z_accuracy_counts_pairs_in_the_right_order():
    line = np.stack([np.zeros(20), np.zeros(20), np.arange(20.0)], axis=1)
    assert z_accuracy(line[:, 2], line) == 1
    # All pairs the other way round.
    assert z_accuracy(-line[:, 2], line) == 0
    assert z_accuracy(3 * line[:, 2] + 7, line) == 1


def test_chamfer_is_the_squared_distance_where_the_inner_eyes_are_20_apart():
    generator = np.random.default_rng(0)
    true_68 = generator.normal(size=(68, 3))
    true_68[[39, 42]] = [[-1, 0, 0], [1, 0, 0]]  # so one unit here is ten there
    face = generator.uniform(-1, 1, (50, 3))
    # The predicted mesh is another topology: the face's points, 0.1 units to the front, and others.
    mesh = np.concatenate([face + depth for depth in np.array([[0, 0, 0.1], [0, 0, 50]])])
    assert chamfer(4 * mesh, face, 4 * true_68, true_68) == pytest.approx(1.0, rel=0.2)
    # One-sided: vertices far from the true face do not count.
    assert chamfer(face, face, true_68, true_68) == pytest.approx(0, abs=1e-20)


def write_topology(path) -> FlameTopology:
    """Any 68 vertices as landmarks, each the middle of three, and two sets of vertices."""
    vertices = np.random.default_rng(3).integers(0, 5023, (68, 3))
    np.savez(path, landmarks=vertices, weights=np.full((68, 3), 1 / 3), face=np.arange(0, 900),
             head=np.arange(0, 2500))
    return read_topology(path)


@pytest.mark.parametrize('scale', [1.0, 40.0])
def test_the_true_head_has_no_error_in_the_benchmark(tmp_path, scale):
    folder = write_dad(tmp_path, perspective(480), scale)
    topology = write_topology(tmp_path / 'flame.npz')
    (sample,) = read_samples(f'dad:{tmp_path}')
    annotation = read_annotation(sample, 480, read_head_boxes(folder)['a1'])
    true = rotation_from_euler(TRUE_EULER)
    vertices = dad_head() @ true.T + CENTRE_RGB
    right = Alignment(topology.landmark_points(sample.vertices[:, :2].astype(float)), rotation=true)
    found = compute_dad_metrics(annotation, topology, right, vertices,
                                topology.landmark_points(vertices))
    assert found['dad_pose'] == pytest.approx(0, abs=1e-6)
    assert found['dad_nme_percent'] == pytest.approx(0, abs=0.1)
    assert found['dad_chamfer'] == pytest.approx(0, abs=1e-6)
    assert found['dad_z5_by_nearest'] == pytest.approx(1)
    # The box of the file is 3 x 4.
    off = replace(right, landmarks=right.landmarks + np.array([3.0, 0]))
    found = compute_dad_metrics(annotation, topology, off, None, None)
    assert found['dad_nme_percent'] == pytest.approx(100 * 3 / np.sqrt(12), abs=0.1)


@pytest.mark.train
def test_without_the_tables_of_flame_only_the_pose_is_measured(tmp_path, capsys):
    write_dad(tmp_path, perspective(480))
    assert main(['--data', f'dad:{tmp_path}', '--labels-only', '--draws', '0', '--device', 'cpu',
                 '--json', str(tmp_path / 'out.json')]) == 0
    assert '(--flame, see docs/evaluation.md)' in capsys.readouterr().out
    row = json.loads((tmp_path / 'out.json').read_text())['results']['ours']['all']
    assert 'dad_pose' in row and 'dad_nme_percent' not in row and 'intervals' not in row


def test_tables_of_something_else_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r'nothing\.npz is not an \.npz file with landmarks'):
        read_topology(tmp_path / 'nothing.npz')
    write_topology(tmp_path / 'flame.npz')
    with np.load(tmp_path / 'flame.npz') as content:
        arrays = dict(content)
    np.savez(tmp_path / 'flame.npz', **(arrays | {'face': np.array([9000])}))
    with pytest.raises(ValueError, match='indices below 5023'):
        read_topology(tmp_path / 'flame.npz')
