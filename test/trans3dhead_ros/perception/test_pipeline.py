"""The public pipeline's promises that do not depend on accuracy, on a small untrained network."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import torch
from scripted_detector import ScriptedDetector, detections
from synthetic import EXPRESSIONS, small_network

from trans3dhead_ros import Camera, Head, HeadPipeline
from trans3dhead_ros.geometry import euler_from_rotation, geodesic_distance_deg
from trans3dhead_ros.landmarks import SELLION
from trans3dhead_ros.network.checkpoint import save_checkpoint
from trans3dhead_ros.perception.aligner import head_score
from trans3dhead_ros.perception.pipeline import PipelineConfig
from trans3dhead_ros.perception.smoothing import Smoothing
from trans3dhead_ros.perception.tracker import Tracking

SIZE = (160, 120)
IMAGE = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
BOXES = [[20.0, 30.0, 60.0, 80.0], [70.5, 10.25, 120.0, 70.0], [-30.0, -20.0, 15.0, 12.0],
         [500.0, 500.0, 540.0, 540.0]]
CAMERA = Camera([[140.0, 0, 79.5], [0, 140.0, 59.5], [0, 0, 1]], (-0.2, 0.05, 0.001, 0.0), SIZE)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp('model') / 'small.safetensors'
    network = small_network()
    with torch.no_grad():
        # Untrained outputs all start at the mean: stir them, so that heads differ.
        for layer in network.parameter_residuals:
            layer.output.weight.normal_(std=0.1)
        for layer in network.point_residuals:
            layer.output.weight.normal_(std=0.02)
    save_checkpoint(path, network, {})
    return path


@pytest.fixture(scope='module')
def pipeline(checkpoint):
    return HeadPipeline.load(checkpoint, device='cpu')


def arrays(head):
    """Return the arrays of a head by name, those that are computed when they are read included."""
    return {name: getattr(head, name) for name in (*vars(head), 'vertices', 'vertices_px')
            if isinstance(getattr(head, name), np.ndarray)}


@pytest.mark.parametrize('camera', [None, CAMERA], ids=['no camera', 'camera'])
def test_there_is_one_head_per_box_in_order(pipeline, camera):
    heads = pipeline.align(IMAGE, BOXES, camera=camera)
    assert len(heads) == len(BOXES)
    for head, box in zip(heads, BOXES, strict=True):
        alone, = pipeline.align(IMAGE, [box], camera=camera)
        np.testing.assert_allclose(head.landmarks, alone.landmarks, atol=1e-3)
        np.testing.assert_allclose(head.vertices, alone.vertices, atol=1e-5)


@pytest.mark.parametrize('camera', [None, CAMERA], ids=['no camera', 'camera'])
def test_a_head_has_the_stated_shapes_and_only_finite_numbers(pipeline, camera):
    for head in pipeline.align(IMAGE, BOXES, camera=camera):
        assert isinstance(head, Head)
        assert {name: value.shape for name, value in arrays(head).items()} == {
            'box': (4,), 'landmarks': (68, 3), 'landmarks_contour': (68, 2),
            'landmark_scale': (68,), 'rotation': (3, 3), 'translation': (3,),
            'pose_covariance': (6, 6), 'shape': (4,), 'expression': (3,),
            'landmarks_m': (68, 3), 'vertices': (200, 3), 'vertices_px': (200, 2)}
        assert all(np.isfinite(value).all() for value in arrays(head).values())
        assert all(value.dtype == np.float64 for value in arrays(head).values())
        assert np.isfinite(head.euler_deg).all() and len(head.euler_deg) == 3
        assert 0.0 <= head.score <= 1.0 and head.track_id is None
        assert head.metric is (camera is not None)
        assert head.translation[2] > 0.0 and (head.landmark_scale > 0.0).all()
        np.testing.assert_allclose(head.rotation @ head.rotation.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(head.rotation) > 0
        np.testing.assert_allclose(head.pose_covariance, head.pose_covariance.T)
        assert np.linalg.eigvalsh(head.pose_covariance)[0] > 0.0


def test_the_fields_of_a_head_are_consistent(pipeline):
    head = pipeline.align(IMAGE, BOXES[:1], camera=CAMERA)[0]
    low, high = head.landmarks[:, :2].min(0), head.landmarks[:, :2].max(0)
    np.testing.assert_allclose(head.box, [*low, *high])
    assert head.landmarks[SELLION, 2] == 0.0
    np.testing.assert_array_equal(head.landmarks_contour[17:], head.landmarks[17:, :2])
    np.testing.assert_allclose(head.vertices_px, CAMERA.project(head.vertices), atol=1e-9)
    local = pipeline.aligner.head_model.vertices(head.shape[None], head.expression[None])
    np.testing.assert_allclose(
        head.vertices, local[0].astype(np.float64) @ head.rotation.T + head.translation, atol=1e-6)
    np.testing.assert_allclose(
        head.landmarks_m, head.vertices[pipeline.landmark_indices], atol=1e-7)


def test_vertices_are_computed_when_they_are_read_and_once(pipeline, monkeypatch):
    calls = []
    compute = pipeline.aligner.vertices
    monkeypatch.setattr(pipeline.aligner, 'vertices',
                        lambda *coefficients: calls.append(1) or compute(*coefficients))
    first, second = pipeline.align(IMAGE, BOXES[:2], camera=CAMERA)
    assert not calls
    assert first.vertices is first.vertices and second.vertices_px is second.vertices_px
    assert len(calls) == 1


def test_a_head_can_be_copied_and_pickled_with_its_vertices(pipeline):
    head, _ = pipeline.align(IMAGE, BOXES[:2])
    for other in (pickle.loads(pickle.dumps(head)), copy.deepcopy(head)):
        for name, value in arrays(head).items():
            np.testing.assert_array_equal(getattr(other, name), value)
    assert len(pickle.dumps(head)) < 20_000


def test_without_a_camera_the_pose_is_the_apparent_one(pipeline):
    without, = pipeline.align(IMAGE, BOXES[:1])
    assumed, = pipeline.align(IMAGE, BOXES[:1], camera=Camera.from_fov(SIZE, 60.0))
    # The rotation is the apparent one, which the angles state; the camera's one is another.
    np.testing.assert_allclose(euler_from_rotation(without.rotation), without.euler_deg, atol=1e-9)
    assert geodesic_distance_deg(without.rotation, assumed.rotation) > 1.0
    np.testing.assert_allclose(assumed.euler_deg, without.euler_deg)
    # The depth is that of a field of view of 60 degrees for the head's size in the image.
    scale = np.linalg.norm(np.ptp(without.vertices_px, axis=0)) / np.linalg.norm(
        np.ptp(without.vertices[:, :2], axis=0))
    focal = Camera.from_fov(SIZE, 60.0).K[0, 0]
    np.testing.assert_allclose(without.translation[2], focal / scale, rtol=1e-6)


def test_the_depth_of_landmarks_grows_away_from_the_viewer(pipeline):
    head, = pipeline.align(IMAGE, BOXES[:1])
    depth = head.vertices[pipeline.landmark_indices, 2]
    relative = (depth - depth[SELLION])
    np.testing.assert_allclose(
        np.corrcoef(relative, head.landmarks[:, 2])[0, 1], 1.0, atol=1e-6)


def test_the_score_is_low_for_a_low_logit_or_uncertain_landmarks():
    box = np.array([[0.0, 0.0, 100.0, 100.0]])

    def score(logit, scale):
        return head_score(np.array([logit]), np.full((1, 68), scale), box)[0]

    assert score(8.0, 3.0) > 0.98
    assert score(-8.0, 3.0) < 0.01
    assert score(8.0, 10.0) < 0.05
    assert 0.0 <= score(-1e6, 1e6) < 1e-9 and 0.49 < score(1e6, 7.0) < 0.51


def test_shifting_the_image_shifts_the_landmarks(pipeline):
    shifted = np.roll(IMAGE, (7, 11), axis=(0, 1))
    box, shift = np.array([40.0, 30.0, 80.0, 70.0]), np.array([11.0, 7.0, 0.0])
    before, = pipeline.align(IMAGE, [box])
    after, = pipeline.align(shifted, [box + np.tile(shift[:2], 2)])
    np.testing.assert_allclose(after.landmarks, before.landmarks + shift, atol=1e-3)
    np.testing.assert_allclose(
        after.landmarks_contour, before.landmarks_contour + shift[:2], atol=1e-3)
    np.testing.assert_allclose(after.euler_deg, before.euler_deg, atol=1e-3)


def test_an_empty_list_of_boxes_gives_an_empty_list_of_heads(pipeline):
    for empty in ([], np.zeros((0, 4)), ()):
        assert pipeline.align(IMAGE, empty) == []


def test_integer_boxes_and_image_views_are_accepted(pipeline):
    expected, = pipeline.align(np.ascontiguousarray(IMAGE[:, ::-1]), [[20.0, 30.0, 60.0, 80.0]])
    found, = pipeline.align(IMAGE[:, ::-1], np.array([[20, 30, 60, 80]], np.int32))
    np.testing.assert_array_equal(found.landmarks, expected.landmarks)


def test_heads_do_not_share_memory_and_are_frozen(pipeline):
    first, second = pipeline.align(IMAGE, BOXES[:2])
    before = second.landmarks.copy()
    first.landmarks[:] = 0.0
    np.testing.assert_array_equal(second.landmarks, before)
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.score = 1.0


def test_triangles_and_expression_names_fit_the_heads(pipeline):
    assert pipeline.triangles.shape[1] == 3 and pipeline.triangles.max() < 200
    assert pipeline.expression_names == EXPRESSIONS


@pytest.mark.parametrize('image', [
    IMAGE.astype(np.float32), IMAGE.astype(np.uint16), IMAGE[..., 0], IMAGE[..., :2],
    np.zeros((0, 160, 3), np.uint8), np.zeros((120, 0, 3), np.uint8),
    np.zeros((120, 160, 4), np.uint8), IMAGE.tolist(), None, 'picture.jpg',
])
def test_a_wrong_image_is_named(pipeline, image):
    for ask in (lambda: pipeline.align(image, BOXES), lambda: pipeline.detect(image),
                lambda: pipeline.track(image, stamp=0.0)):
        with pytest.raises(ValueError, match='^image: '):
            ask()


@pytest.mark.parametrize('boxes', [
    [20, 30, 60, 80], [[20, 30, 60]], np.zeros((2, 2, 4)), [[20, 30, 20, 80]], [[60, 30, 20, 80]],
    [[20, 80, 60, 30]], [[np.nan, 30, 60, 80]], [[20, 30, np.inf, 80]], [[0, 0, 1e9, 1e9]],
    [['a', 'b', 'c', 'd']], None, [[20, 30, 60, 80], [1, 2]],
], ids=repr)
def test_a_wrong_box_is_named(pipeline, boxes):
    with pytest.raises(ValueError, match='^boxes: '):
        pipeline.align(IMAGE, boxes)


def test_a_camera_of_another_image_is_named(pipeline):
    with pytest.raises(ValueError, match='^camera: is for images of 640 x 480'):
        pipeline.align(IMAGE, BOXES, camera=Camera.from_fov((640, 480), 60.0))
    with pytest.raises(ValueError, match='^camera: expected a Camera'):
        pipeline.align(IMAGE, BOXES, camera=CAMERA.K)
    assert pipeline.align(IMAGE, BOXES[:1], camera=Camera(CAMERA.K))[0].metric


@pytest.mark.parametrize('stamp', [np.nan, np.inf, 'now'])
def test_a_wrong_stamp_is_named(pipeline, stamp):
    with pytest.raises(ValueError, match='^stamp: '):
        pipeline.track(IMAGE, stamp=stamp)


def test_a_missing_device_is_named(checkpoint):
    with pytest.raises(ValueError, match='^device: '):
        HeadPipeline.load(checkpoint, device='cuda:99')
    with pytest.raises(ValueError, match='^device: '):
        HeadPipeline.load(checkpoint, device='tpu')


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(ValueError, match=r'nothing\.safetensors: no such'):
        HeadPipeline.load(tmp_path / 'nothing.safetensors')


@pytest.mark.parametrize(('settings', 'values', 'named'), [
    (PipelineConfig, {'detect_score': 1.5}, 'detect_score'),
    (Tracking, {'keep_track_threshold': -0.1}, 'keep_track_threshold'),
    (Tracking, {'search_interval': 0}, 'search_interval'),
    (Tracking, {'max_missed_frames': -1}, 'max_missed_frames'),
    (Tracking, {'max_unconfirmed_time': float('nan')}, 'max_unconfirmed_time'),
    (Smoothing, {'min_cutoff': 0.0}, 'min_cutoff'),
])
def test_a_setting_out_of_range_is_named(settings, values, named):
    with pytest.raises(ValueError, match=f'^{named}'):
        settings(**values)


def test_two_cameras_share_a_network_and_not_their_tracks(pipeline):
    config = PipelineConfig(tracking=Tracking(new_track_threshold=0.0, keep_track_threshold=0.0))
    detector = ScriptedDetector(detections(BOXES[:2]))
    pipeline, other = (HeadPipeline(pipeline.aligner, detector, config) for _ in range(2))
    tracked = pipeline.track(IMAGE)
    assert other.aligner.engine is pipeline.aligner.engine
    others = {head.track_id for head in other.track(IMAGE)}
    assert others and others.isdisjoint(head.track_id for head in tracked)
    assert [head.track_id for head in pipeline.track(IMAGE)] == [
        head.track_id for head in tracked]


def test_the_size_of_heads_scales_space_but_not_pixels(pipeline, checkpoint):
    config = PipelineConfig()
    child = HeadPipeline(pipeline.aligner, pipeline.detector, dataclasses.replace(
        config, head_size=dataclasses.replace(config.head_size, scale=0.8)))
    for camera in (None, CAMERA):
        adult_head, = pipeline.align(IMAGE, BOXES[:1], camera=camera)
        child_head, = child.align(IMAGE, BOXES[:1], camera=camera)
        np.testing.assert_allclose(child_head.translation, 0.8 * adult_head.translation, rtol=1e-4)
        np.testing.assert_allclose(child_head.vertices_px, adult_head.vertices_px, atol=1e-2)


def test_no_tensor_is_made_on_a_default_device():
    """On the meta device a tensor of the wrong device raises; nothing is computed."""
    meta = torch.device('meta')
    network = small_network().to(meta)
    answer = network(torch.empty(2, 3, 32, 32, device=meta))
    assert all(value.device == meta for value in vars(answer).values())
    head = network.head_model
    vertices = head(answer.shape, answer.expression)
    assert head.landmarks(vertices).device == meta


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
@pytest.mark.parametrize('camera', [None, CAMERA], ids=['no camera', 'camera'])
def test_a_gpu_gives_the_same_results_as_the_cpu(pipeline, checkpoint, camera):
    cuda = HeadPipeline.load(checkpoint, device='cuda')
    expected = pipeline.align(IMAGE, BOXES, camera=camera)
    for head, other in zip(cuda.align(IMAGE, BOXES, camera=camera), expected, strict=True):
        np.testing.assert_allclose(head.landmarks, other.landmarks, atol=0.05)
        np.testing.assert_allclose(head.vertices_px, other.vertices_px, atol=0.05)
        assert geodesic_distance_deg(head.rotation, other.rotation) < 0.05
