"""A photograph rotated in depth shows the head as it would be seen, with its labels."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from synthetic import bundled_head_model

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import euler_from_rotation, mirrored, rotation_from_euler
from trans3dhead_ros.landmarks import JAW_COUNT, mirror_points
from trans3dhead_ros.network.head_module import visible_contour
from trans3dhead_training.synthesis.preview.head_renderer import HeadRenderer
from trans3dhead_training.synthesis.turned_photos.background_inpainting import remove_head
from trans3dhead_training.synthesis.turned_photos.head_surface import HeadSurface
from trans3dhead_training.synthesis.turned_photos.photograph import (
    FaceFit,
    PhotographConfig,
    RejectedError,
    prepare_photograph,
)
from trans3dhead_training.synthesis.turned_photos.pose_sampler import (
    render_random_poses,
    sample_target_pose,
)
from trans3dhead_training.synthesis.turned_photos.target_pose import TargetPose
from trans3dhead_training.synthesis.turned_photos.turned_renderer import (
    render_poses,
    turn_photograph,
)

pytestmark = pytest.mark.train

SIDE, DISTANCE_M = 320, 12.0
YAW = 14.0
BACKGROUND = np.full((SIDE, SIDE, 3), (60, 160, 60), np.uint8)


class Portrait:
    """A rendered head so far away that weak perspective is true, labelled as photographs are."""

    def __init__(self, renderer, euler_deg):
        model = renderer.model
        focal = 0.5 * SIDE / 0.17 * DISTANCE_M
        intrinsics = np.array([[focal, 0, SIDE / 2], [0, focal, SIDE / 2], [0, 0, 1]])
        rotation = rotation_from_euler(np.array(euler_deg, dtype=float))
        # The face, not the sellion, in the middle.
        place = np.array([0, 0, DISTANCE_M]) - rotation @ np.array([-0.06, 0, -0.03])
        self.picture = renderer.render(BACKGROUND, Camera(intrinsics, size=(SIDE, SIDE)),
                                       rotation, place)
        head = model.mean.double().numpy()
        self.scale = focal / place[2]
        self.translation = intrinsics[:2, :2] @ place[:2] / place[2] + SIDE / 2
        self.landmarks = self.project(head[model.landmark_indices.numpy()], rotation)
        candidates = head[model.contour_indices.numpy()]
        chosen = visible_contour(torch.from_numpy(candidates)[None],
                                 torch.from_numpy(rotation)[None])[0].numpy()
        contour = self.project(candidates[np.arange(JAW_COUNT), chosen], rotation)
        self.points = np.concatenate([contour, self.landmarks[JAW_COUNT:]])
        low, high = self.points.min(0), self.points.max(0)
        unit = (high - low).max() / 2
        self.fit = FaceFit(rotation, (self.translation - (low + high) / 2) / unit,
                           float(np.log(self.scale / unit)), np.zeros(model.shape_count),
                           np.zeros(model.expression_count), 0.005, np.zeros((51, 3)))

    def project(self, points, rotation):
        return self.scale * points @ rotation[:2].T + self.translation


@pytest.fixture(scope='module')
def renderer():
    return HeadRenderer.from_model(bundled_head_model())


@pytest.fixture(scope='module')
def surface(renderer):
    return HeadSurface.from_model(renderer.model)


@pytest.fixture(scope='module')
def portrait(renderer):
    return Portrait(renderer, (YAW, -4, 3))


@pytest.fixture(scope='module')
def photograph(portrait, surface):
    return prepare_photograph(portrait.picture, portrait.points, portrait.fit, surface)


def onto(picture, points, truth, size=256):
    """Cut a picture so that its landmarks lie where those of `truth` do."""
    middle, target = points.mean(0), truth.landmarks[:, :2].mean(0)
    zoom = np.ptp(truth.landmarks[:, 1]) / np.ptp(points[:, 1])
    matrix = np.column_stack([zoom * np.eye(2), target - zoom * middle])
    return cv2.warpAffine(picture, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE)


def face(truth, size=256):
    hull = cv2.convexHull(np.round(truth.landmarks[truth.visible, :2]).astype(np.int32))
    return cv2.fillConvexPoly(np.zeros((size, size), np.uint8), hull, 1) > 0


def test_a_photograph_that_is_not_rotated_stays_unchanged(portrait, photograph):
    same = tuple(euler_from_rotation(portrait.fit.rotation))
    picture, truth = next(render_poses(photograph, [TargetPose(same)]))
    expected = onto(portrait.picture, portrait.landmarks, truth)
    error = (picture.astype(float) - expected)[face(truth)]
    assert 10 * np.log10(255 ** 2 / (error ** 2).mean()) > 30
    np.testing.assert_allclose(truth.rotation, portrait.fit.rotation, atol=1e-9)


@pytest.mark.parametrize('yaw', [30.0, 50.0, 75.0])
def test_a_turned_photograph_is_the_head_seen_from_there(renderer, photograph, yaw):
    picture, truth = next(render_poses(photograph, [TargetPose((yaw, -4, 2))]))
    seen = Portrait(renderer, (yaw, -4, 2))
    box = np.ptp(truth.landmarks[:, :2], axis=0)
    expected = (seen.landmarks - seen.landmarks.min(0)) / np.ptp(seen.landmarks, axis=0).max()
    found = (truth.landmarks[:, :2] - truth.landmarks[:, :2].min(0)) / box.max()
    assert np.linalg.norm(found - expected, axis=1).max() < 0.01
    # The lamps of the renderer do not turn with the head, so compare what paint and outline do.
    other = cv2.cvtColor(onto(seen.picture, seen.landmarks, truth), cv2.COLOR_BGR2LAB)[..., 1:]
    own = cv2.cvtColor(picture, cv2.COLOR_BGR2LAB)[..., 1:]
    inside = face(truth)
    assert np.corrcoef(own[inside].ravel(), other[inside].ravel())[0, 1] > 0.75
    side = np.max(np.ptp(truth.landmarks[:, :2], axis=0))
    assert side == pytest.approx(128, abs=0.01)


def test_the_half_that_turns_away_is_hidden(photograph):
    _, truth = next(render_poses(photograph, [TargetPose((80.0, 0, 0))]))
    # yaw > 0: the nose points to the person's right, and the right half is hidden.
    assert not truth.visible[36:40].any() and not truth.visible[2:7].any()
    assert truth.visible[45] and truth.visible[[30, 33, 54]].all()
    assert truth.visible[12:16].all()


def test_depths_are_those_of_the_turned_head(photograph, surface):
    rotation = rotation_from_euler(np.array([60.0, 0, 0]))
    _, truth = next(render_poses(photograph, [TargetPose((60.0, 0, 0))]))
    model = surface.model
    head = model.mean.double().numpy()[model.landmark_indices.numpy()] @ rotation.T
    expected = np.exp(truth.log_scale) * (head[:, 2] - head[27, 2])
    np.testing.assert_allclose(truth.landmarks[:, 2], expected, atol=2.0)


def test_a_mirrored_photograph_turns_to_the_mirrored_picture(portrait, photograph, surface):
    picture, truth = next(render_poses(photograph, [TargetPose((60.0, -4, 3))]))
    points = mirror_points(portrait.points, SIDE)
    translation = portrait.fit.translation * [-1, 1]
    fit = replace(portrait.fit, rotation=mirrored(portrait.fit.rotation), translation=translation)
    other, other_truth = turn_photograph(
        np.ascontiguousarray(portrait.picture[:, ::-1]), points, fit, surface,
        TargetPose((-60.0, -4, -3)))
    back = mirror_points(other_truth.landmarks, 256)
    assert np.linalg.norm(back[:, :2] - truth.landmarks[:, :2], axis=1).max() < 1.5
    inside = face(truth)
    difference = np.abs(picture.astype(float) - other[:, ::-1])[inside]
    assert difference.mean() < 8


def test_labels_beside_the_fit_are_kept(portrait, surface):
    points = portrait.points.copy()
    points[30] += [3.0, -4.0]
    same = tuple(euler_from_rotation(portrait.fit.rotation))
    photograph = prepare_photograph(portrait.picture, points, portrait.fit, surface)
    _, truth = next(render_poses(photograph, [TargetPose(same)]))
    zoom = np.exp(truth.log_scale) / portrait.scale
    moved = zoom * (points - points[27]) + truth.landmarks[27, :2]
    np.testing.assert_allclose(truth.landmarks[JAW_COUNT:, :2], moved[JAW_COUNT:], atol=1e-6)


def test_eyes_close_in_the_picture_and_in_its_labels(photograph, surface):
    open_eyes, closed = render_poses(
        photograph, [TargetPose((40.0, 0, 0)), TargetPose((40.0, 0, 0), (1.0, 1.0))]
    )
    for upper, lower in ((43, 47), (44, 46)):
        before, after = (np.linalg.norm(truth.landmarks[upper, :2] - truth.landmarks[lower, :2])
                         for _, truth in (open_eyes, closed))
        assert after < 0.25 * before
    names = surface.model.expression_names
    assert closed[1].expression[names.index('eyeBlink_L')] == 1.0
    # White and iris are gone: the eye has the colour of the skin above it.
    lids = np.round(open_eyes[1].landmarks[42:48, :2]).astype(np.int32)
    eye = cv2.fillConvexPoly(np.zeros((256, 256), np.uint8), cv2.convexHull(lids), 1) > 0
    assert open_eyes[0][eye].std(0).mean() > 1.5 * closed[0][eye].std(0).mean()


def test_the_inside_of_an_opened_mouth_is_dark(photograph):
    shut, opened = render_poses(
        photograph, [TargetPose((30.0, 0, 0)), TargetPose((30.0, 0, 0), jaw=0.3)]
    )
    gap = opened[1].landmarks[66, :2] - opened[1].landmarks[62, :2]
    assert gap[1] > 3 * np.ptp(shut[1].landmarks[[62, 66], 1])
    x, y = np.round(opened[1].landmarks[[62, 66], :2].mean(0)).astype(int)
    assert opened[0][y, x].mean() < 0.6 * shut[0][y, x].mean()


def test_the_same_seed_gives_the_same_pictures(portrait, surface):
    first, second = (
        list(
            render_random_poses(
                portrait.picture, portrait.points, portrait.fit, surface, np.random.default_rng(5),
                2, size=96)
        )
        for _ in range(2)
    )
    for (picture, truth), (again, truth_again) in zip(first, second, strict=True):
        np.testing.assert_array_equal(picture, again)
        np.testing.assert_array_equal(truth.landmarks, truth_again.landmarks)
        assert picture.shape == (96, 96, 3) and truth.visible.any()
        assert abs(euler_from_rotation(truth.rotation)[0]) <= 90


@pytest.mark.parametrize(('change', 'reason'), [
    ({'rotation': rotation_from_euler(np.array([70.0, 0, 0]))}, 'yaw 70 deg'),
    ({'inner_error': 0.08}, '8.0 % of the box'),
    ({'inner_error': float('nan')}, 'misses its labels'),
])
def test_a_photograph_not_fit_to_be_turned_is_rejected_with_the_reason(
        portrait, surface, change, reason):
    with pytest.raises(RejectedError, match=reason):
        prepare_photograph(
            portrait.picture, portrait.points, replace(portrait.fit, **change), surface
        )


def test_a_small_face_is_rejected(portrait, surface):
    with pytest.raises(RejectedError, match='box is .* px'):
        prepare_photograph(portrait.picture, portrait.points, portrait.fit, surface,
                           PhotographConfig(min_box_px=300))


def test_other_arrays_are_named(portrait, surface):
    with pytest.raises(ValueError, match='picture'):
        prepare_photograph(portrait.picture[..., 0], portrait.points, portrait.fit, surface)
    with pytest.raises(ValueError, match='points'):
        prepare_photograph(portrait.picture, portrait.points[:60], portrait.fit, surface)


def test_a_tilt_turns_the_picture_and_a_nod_lifts_the_chin_of_a_profile():
    tilted = euler_from_rotation(TargetPose((0.0, 0.0, 0.0), tilt_deg=30.0).rotation)
    assert tilted == pytest.approx([0.0, 0.0, 30.0], abs=1e-6)
    profile = TargetPose((90.0, 0.0, 0.0), nod_deg=20.0).rotation
    nose = profile[:, 0]
    assert np.rad2deg(np.arcsin(-nose[1])) == pytest.approx(20.0)  # the image's y points down


def test_target_poses_cover_pitch_and_tilt(portrait, surface):
    photograph = prepare_photograph(portrait.picture, portrait.points, portrait.fit, surface)
    generator = np.random.default_rng(3)
    poses = [sample_target_pose(photograph, 20.0, generator) for _ in range(200)]
    pitch = np.array([pose.euler_deg[1] + pose.nod_deg for pose in poses])
    tilt = np.array([pose.tilt_deg for pose in poses])
    assert pitch.min() < -30 and pitch.max() > 30 and np.abs(pitch).max() <= 45
    assert 0.2 < (np.abs(tilt) > 15).mean() < 0.6 and np.abs(tilt).max() <= 45


@pytest.mark.parametrize('outside', [(10, 200, 30), None])
def test_outside_of_a_photograph_is_a_colour_or_continues_it(outside):
    picture = np.full((80, 80, 3), 120, np.uint8)
    picture[:, :20] = 0
    head = np.zeros((80, 80), np.uint8)
    head[30:50, 45:60] = 1
    result = remove_head(picture, head, head, np.array([100.0, 0.0]), np.array([0.0, -100.0]),
                         np.array([52.0, 40.0]), np.array([52.0, 50.0]), outside)
    assert np.abs(result[40, 5].astype(int) - (outside or (120, 120, 120))).max() < 10
    assert np.abs(result[40, 30].astype(int) - 120).max() < 10
