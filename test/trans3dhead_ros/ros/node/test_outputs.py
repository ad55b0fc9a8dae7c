"""Outputs of the node in its own process, over DDS, for rendered heads and a clip."""

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import clips
import ros_graph
from ros_graph import FRAME
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from trans3dhead_ros.geometry import geodesic_distance_deg, rotation_from_quaternion
from trans3dhead_ros.ros import messages
from trans3dhead_ros.ros.camera_info import camera_info

pytestmark = pytest.mark.ros


def quaternion(pose):
    turn = pose.orientation
    return np.array([turn.x, turn.y, turn.z, turn.w])


def position(pose):
    return np.array([pose.position.x, pose.position.y, pose.position.z])


def test_every_output_carries_stamp_and_frame_of_the_image(observer, rendered):
    header = observer.send(rendered[0][0])
    assert observer.answer(header).header == header
    for topic in ('head_pose', 'head_landmarks', 'head_mesh', 'overlay'):
        assert observer.of(topic, header).header == header
    for transform in observer.of('/tf', header).transforms:
        assert transform.header == header
    markers = observer.of('head_markers', header).markers
    assert {marker.ns for marker in markers} == {'mesh', 'landmarks', 'axes', 'id'}
    assert all(marker.header == header for marker in markers)
    assert header.frame_id == FRAME


def test_tf_pose_and_head_array_agree(client, rendered):
    header = client.send(rendered[1][0])
    heads = client.answer(header).heads
    assert len(heads) == 1
    pose = client.of('head_pose', header).pose
    transform = client.of('/tf', header).transforms[0]
    assert transform.child_frame_id == f'tracked_head_{heads[0].id}'
    assert heads[0].pose.pose == pose
    moved = transform.transform
    np.testing.assert_array_equal(
        position(pose), [moved.translation.x, moved.translation.y, moved.translation.z])
    assert moved.rotation == pose.orientation


def test_all_numbers_are_finite_and_lengths_are_as_described(client, rendered):
    header = client.send(rendered[2][0])
    answer = client.answer(header)
    head = answer.heads[0]
    assert (len(head.landmarks_px), len(head.landmarks_m)) == (204, 204)
    assert len(head.landmark_scale_px) == 68
    assert len(head.expression) == len(answer.expression_names) > 0
    assert answer.model
    for numbers in (head.box, head.landmarks_px, head.landmarks_m, head.landmark_scale_px,
                    head.shape, head.expression, head.pose.covariance, quaternion(head.pose.pose),
                    position(head.pose.pose), [head.score, head.yaw, head.pitch, head.roll]):
        assert np.isfinite(numbers).all()
    np.testing.assert_allclose(np.linalg.norm(quaternion(head.pose.pose)), 1.0, atol=1e-9)
    landmarks = client.of('head_landmarks', header)
    assert landmarks.ids.tolist() == [head.id]
    assert landmarks.px == head.landmarks_px and landmarks.m == head.landmarks_m


def test_pose_is_that_of_the_rendered_head(client, rendered, camera):
    info = camera_info(camera)
    for image, rotation, place in rendered[::2]:
        # Each for itself: smoothing would hold on to the last one.
        client.call(Trigger, 'head_tracker/reset', Trigger.Request())
        header = client.header()
        info.header = header
        client.infos.publish(info)
        client.spin_for(0.1)
        client.images.publish(ros_graph.bgr_image(header, image))
        head = client.answer(header).heads[0]
        found = rotation_from_quaternion(quaternion(head.pose.pose))
        assert geodesic_distance_deg(found, rotation) < 15.0
        assert np.linalg.norm(position(head.pose.pose) - place) < 0.08
    assert head.metric


def test_mesh_faces_outwards_and_towards_the_camera_on_the_near_side(observer, rendered):
    header = observer.send(rendered[2][0])
    cloud = observer.of('head_mesh', header)
    points = np.frombuffer(cloud.data, messages.MESH_POINT).reshape(cloud.height, cloud.width)
    assert set(points['id'][0]) == {observer.answer(header).heads[0].id}
    vertices = points['xyz'][0]
    observer.spin_until(lambda: observer.received['head_mesh/triangles'])
    triangles = np.array(observer.received['head_mesh/triangles'][-1].data).reshape(-1, 3)
    mesh = next(m for m in observer.of('head_markers', header).markers if m.ns == 'mesh')
    corners = np.array([[p.x, p.y, p.z] for p in mesh.points]).reshape(-1, 3, 3)
    np.testing.assert_allclose(corners, vertices[triangles], atol=1e-6)
    assert mesh.type == mesh.TRIANGLE_LIST

    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    centres = corners.mean(axis=1)
    volume = np.einsum('ti,ti->', centres - vertices.mean(axis=0), normals) / 6
    assert 0.001 < volume < 0.02  # m^3, positive when normals point outwards
    # What a ray from the camera, which is at the origin, meets first looks back at the camera.
    rays = np.array(observer.answer(header).heads[0].landmarks_m).reshape(68, 3)[17:]
    first = np.array([first_hit(ray, corners) for ray in rays])
    assert (first >= 0).sum() > 40
    assert (np.einsum('ri,ri->r', rays, normals[first])[first >= 0] < 0).all()


def first_hit(ray, corners):
    """Return the index of the nearest triangle (T, 3, 3) on a ray from the origin; -1 for none."""
    ray = ray * 1.0001 + [1e-6, -1e-6, 0.0]  # not exactly through a vertex
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    across = np.cross(ray, second)
    determinant = np.einsum('ti,ti->t', first, across)
    determinant = np.where(np.abs(determinant) < 1e-15, np.inf, determinant)
    u = np.einsum('ti,ti->t', -corners[:, 0], across) / determinant
    beside = np.cross(-corners[:, 0], first)
    v = beside @ ray / determinant
    distance = np.einsum('ti,ti->t', second, beside) / determinant
    hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (distance > 0)
    return int(np.argmin(np.where(hit, distance, np.inf))) if hit.any() else -1


def test_identity_is_stable(client, rendered):
    ids = [[head.id for head in client.ask(image).heads] for image, _, _ in rendered]
    assert len({tuple(i) for i in ids}) == 1 and len(ids[0]) == 1


def test_identity_is_stable_on_a_real_clip(client):
    frames = clips.clip('head-pose-face-detection-male')[:12]
    ids = [[head.id for head in client.ask(frame).heads] for frame in frames]
    assert len({tuple(i) for i in ids}) == 1 and len(ids[0]) == 1


def test_without_a_head_the_message_is_empty_and_markers_are_deleted(observer, rendered):
    first = observer.send(rendered[0][0])
    identity = observer.answer(first).heads[0].id
    observer.of('head_markers', first)
    for _ in range(6):
        header = observer.send(np.full_like(rendered[0][0], 90))
        assert observer.answer(header).heads == []
        if observer.spin_until(lambda: any(
                m.markers[0].action == m.markers[0].DELETE
                for m in observer.received['head_markers']), 0.5):
            break
    removed = [(m.ns, m.id) for array in observer.received['head_markers'] for m in array.markers
               if m.action == m.DELETE]
    assert removed[-4:] == [(name, identity) for name in ('mesh', 'landmarks', 'axes', 'id')]


def broken_images(header, image):
    """Yield invalid images and the field that the warning names."""
    def changed(**fields):
        message = ros_graph.bgr_image(header, image)
        for name, value in fields.items():
            setattr(message, name, value)
        return message
    yield changed(encoding='rainbow9'), 'encoding'
    yield changed(step=3 * image.shape[1] + 64), 'data'
    yield changed(step=3 * image.shape[1] - 1), 'step'
    yield changed(width=0), 'width, height'
    yield changed(height=0), 'width, height'
    yield changed(data=ros_graph.bgr_image(header, image).data[:1000]), 'data'
    early = Header(frame_id=FRAME)
    early.stamp.sec = -5
    yield changed(header=early), 'stamp'


def test_bad_images_are_counted_and_the_next_good_one_is_processed(client, tracker, rendered):
    image = rendered[0][0]
    before = int(client.diagnostics()['bad images'])
    broken = list(broken_images(client.header(), image))
    for message, _ in broken:
        client.images.publish(message)
        client.spin_for(0.2)
        assert len(client.ask(image).heads) == 1
    report = client.diagnostics(lambda v: int(v['bad images']) >= before + len(broken))
    assert int(report['bad images']) == before + len(broken)
    for _, field in broken:
        assert f'so far): {field}' in tracker.text()


def test_impossible_camera_info_is_counted_and_images_are_processed(
        client, tracker, rendered, camera):
    before = int(client.diagnostics()['bad camera_info'])
    info = camera_info(camera)
    info.k[0] = float('nan')
    info.header = client.header()
    client.infos.publish(info)
    client.spin_for(0.2)
    assert len(client.ask(rendered[0][0]).heads) == 1
    report = client.diagnostics(lambda v: int(v['bad camera_info']) > before)
    assert int(report['bad camera_info']) == before + 1
    assert 'so far): K' in tracker.text()
