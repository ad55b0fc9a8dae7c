"""What is written and drawn about a head is what the head says."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import (
    FACING_CAMERA,
    axis_points,
    geodesic_distance_deg,
    rotation_from_euler,
    rotation_from_quaternion,
)
from trans3dhead_ros.media.clip_truth import ClipTruth, read_truth, write_truth
from trans3dhead_ros.media.overlay import draw_heads, head_axes_px
from trans3dhead_ros.media.records import (
    frame_record,
    pose_error,
    read_records,
    write_records,
)
from trans3dhead_ros.perception.head import Head, HeadMesh

CAMERA = Camera.from_fov((320, 240), 60)
# A ball of points of head size about the sellion; the origin is its point 27.
POINTS = np.random.default_rng(3).normal(size=(68, 3))
POINTS *= 0.08 / np.linalg.norm(POINTS, axis=1, keepdims=True)
POINTS[27] = 0
TRIANGLES = np.array([[0, 1, 2], [2, 1, 3]])


def make_head(euler_deg=(20.0, 5.0, -10.0), translation=(0.05, -0.02, 0.6), track_id=4) -> Head:
    rotation, translation = rotation_from_euler(np.array(euler_deg)), np.array(translation)
    vertices = POINTS @ rotation.T + translation
    pixels = CAMERA.project(vertices)
    return Head(
        box=np.concatenate([pixels.min(0), pixels.max(0)]), score=0.9, track_id=track_id,
        landmarks=np.column_stack([pixels, 300 * (vertices[:, 2] - translation[2])]),
        landmarks_contour=pixels, landmark_scale=np.ones(68), rotation=rotation,
        translation=translation, metric=True, pose_covariance=np.eye(6), euler_deg=euler_deg,
        shape=np.zeros(2), expression=np.zeros(3), landmarks_m=vertices,
        mesh=HeadMesh(vertices, pixels))


def test_a_record_has_the_documented_names_and_shapes():
    record = json.loads(json.dumps(frame_record(3, 0.12, [make_head(), make_head(track_id=None)])))
    assert list(record) == ['frame', 'stamp', 'heads']
    assert (record['frame'], record['stamp']) == (3, 0.12)
    first, second = record['heads']
    assert list(first) == ['id', 'score', 'box', 'euler_deg', 'position', 'quaternion', 'landmarks',
                           'face_visible']
    assert (first['id'], second['id'], first['score']) == (4, None, 0.9)
    assert first['euler_deg'] == [20.0, 5.0, -10.0] and first['position'] == [0.05, -0.02, 0.6]
    assert np.array(first['landmarks']).shape == (68, 3)
    turned = rotation_from_quaternion(np.array(first['quaternion']))
    assert geodesic_distance_deg(turned, make_head().rotation) < 1e-3


@pytest.mark.parametrize(('turn', 'visible'), [(0, True), (-90, True), (95, True), (105, False),
                                               (-120, False), (180, False)])
def test_a_face_is_visible_until_it_is_turned_away(turn, visible):
    rotation = FACING_CAMERA @ Rotation.from_euler('z', turn, degrees=True).as_matrix()
    head = replace(make_head(), rotation=rotation, translation=np.array([0.0, 0.0, 0.6]))
    assert frame_record(0, 0.0, [head])['heads'][0]['face_visible'] is visible


def test_where_a_head_is_decides_whether_its_face_is_visible():
    # Turned to the image's right by 105°, on either side of the optical axis.
    rotation = FACING_CAMERA @ Rotation.from_euler('z', 105, degrees=True).as_matrix()
    left, right = (replace(make_head(), rotation=rotation, translation=np.array([x, 0.0, 0.6]))
                   for x in (-0.6, 0.6))
    assert left.face_visible and not right.face_visible
    # An apparent rotation is the same everywhere in the image.
    assert not replace(left, metric=False).face_visible


def test_a_frame_without_heads_still_has_a_record():
    assert frame_record(0, 0.0, []) == {'frame': 0, 'stamp': 0.0, 'heads': []}


def test_records_survive_their_file(tmp_path):
    records = [frame_record(i, i / 10, [make_head()] * (i % 2)) for i in range(3)]
    write_records(tmp_path / 'heads.jsonl', records)
    assert read_records(tmp_path / 'heads.jsonl') == records


@pytest.mark.parametrize(('second', 'message'), [
    (b'{"frame": 1}', 'line 2 is not the record'), (b'[' * 100_000, 'line 2 is not the record'),
    (b'caf\xe9', 'is not text')])
def test_an_invalid_record_is_named(tmp_path, second, message):
    (tmp_path / 'heads.jsonl').write_bytes(
        b'{"frame": 0, "stamp": 0, "heads": []}\n' + second + b'\n')
    with pytest.raises(UserError, match=message):
        read_records(tmp_path / 'heads.jsonl')


def test_pose_error_against_truth(tmp_path):
    yaws = [0.0, 10.0, 20.0]
    truth = ClipTruth(np.stack([rotation_from_euler(np.array([[yaw, 0, 0]])) for yaw in yaws]),
                      np.tile([0.0, 0, 0.6], (3, 1, 1)), CAMERA.K, (320, 240), 25.0)
    write_truth(tmp_path / 'clip.mp4', truth)
    off = make_head((13.0, 0.0, 0.0), (0.0, 0.01, 0.6))
    other = make_head((80.0, 0.0, 0.0), (0.5, 0.0, 1.6))
    records = [frame_record(0, 0.0, [make_head((0.0, 0, 0), (0.0, 0, 0.6))]),
               frame_record(1, 0.04, [other, off]), frame_record(2, 0.08, [])]
    error = pose_error(records, read_truth(tmp_path / 'clip.mp4'))
    assert error.rotation_deg == pytest.approx([0.0, 3.0], abs=1e-3)
    assert error.position_m == pytest.approx([0.0, 0.01])
    assert error.missed == 1 and '2 of 3 true heads found' in str(error)


def test_heads_are_assigned_to_true_heads_one_to_one():
    places = np.array([[[-0.2, 0, 0.8], [0.2, 0, 0.8]]] * 2)
    truth = ClipTruth(rotation_from_euler(np.array([[[-10.0, 0, 0], [30.0, 0, 0]]] * 2)), places,
                      CAMERA.K, (320, 240), 25.0)
    left, right = (make_head((yaw, 0.0, 0.0), place)
                   for yaw, place in ((-12.0, (-0.2, 0, 0.8)), (31.0, (0.1, 0, 0.8))))
    # The second frame lacks the left head; its truth must not be compared with the right one.
    error = pose_error([frame_record(0, 0.0, [right, left]), frame_record(1, 0.04, [right])], truth)
    assert error.rotation_deg == pytest.approx([2.0, 1.0, 1.0], abs=1e-3)
    assert error.missed == 1


def test_axes_end_where_the_camera_sees_them():
    head = make_head()
    origin, *ends = head_axes_px(head)
    true_ends = CAMERA.project(axis_points(head.rotation, head.translation)[1:])
    np.testing.assert_allclose(origin, CAMERA.project(head.translation), atol=1e-6)
    # An affine camera leaves out that nearer things look larger, about a fifth at this distance.
    for end, true_end in zip(ends, true_ends, strict=True):
        assert np.linalg.norm(end - true_end) < 0.25 * np.linalg.norm(true_end - origin) + 1


def test_drawing_changes_a_copy_where_the_head_is():
    image = np.full((240, 320, 3), 90, np.uint8)
    drawn = draw_heads(image, [make_head()], TRIANGLES)
    assert (image == 90).all() and drawn.shape == image.shape
    x0, y0, x1, y1 = make_head().box.astype(int)
    changed = (drawn != 90).any(axis=2)
    assert changed[y0:y1, x0:x1].mean() > 0.05 and not changed[:, :20].any()


def test_a_head_at_the_border_or_outside_can_be_drawn():
    image = np.zeros((240, 320, 3), np.uint8)
    heads = [make_head(translation=(x, y, 0.5)) for x in (-3, -0.3, 0.3, 3) for y in (-0.25, 0.25)]
    assert draw_heads(image, heads, TRIANGLES).any()


def test_drawing_refuses_an_image_of_another_type():
    with pytest.raises(ValueError, match='image: expected'):
        draw_heads(np.zeros((240, 320), np.uint8), [], TRIANGLES)
