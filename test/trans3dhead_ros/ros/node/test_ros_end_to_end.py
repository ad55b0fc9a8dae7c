"""The node in its own process, asked over DDS with rendered heads and, where present, a clip."""

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import clips
import rclpy
import ros_graph
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from ros_graph import BEST_EFFORT, FRAME, Client, TrackerProcess
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger
from trans3dhead.srv import LoadModel

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import (
    geodesic_distance_deg,
    rotation_from_euler,
    rotation_from_quaternion,
)
from trans3dhead_ros.network.checkpoint import bundled_checkpoint, load_head_model
from trans3dhead_ros.ros.camera_info import camera_info
from trans3dhead_training.synthesis.preview.head_renderer import HeadRenderer

SIZE = (480, 360)
CAMERA = Camera.from_fov(SIZE, 60.0)
YAWS = np.linspace(-8.0, 16.0, 5)


@pytest.fixture(scope='module', autouse=True)
def ros():
    ros_graph.start_ros()
    yield
    rclpy.try_shutdown()


@pytest.fixture(scope='module')
def rendered():
    """Pictures of the head model as it turns slowly, with the true rotation and position."""
    renderer = HeadRenderer.from_model(load_head_model())
    height, width = SIZE[1], SIZE[0]
    wall = np.full((height, width, 3), (120, 128, 122), np.uint8)
    position = np.array([0.02, -0.02, 0.5])
    poses = [rotation_from_euler(np.array([yaw, -3.0, 4.0])) for yaw in YAWS]
    return [(renderer.render(wall, CAMERA, R, position), R, position) for R in poses]


@pytest.fixture(scope='module')
def tracker(tmp_path_factory):
    """One active tracker for the tests that leave it as it was."""
    log = tmp_path_factory.mktemp('tracker') / 'log.txt'
    process = TrackerProcess(log, '-p', 'autostart:=true')
    yield process
    assert process.stop() == 0, process.text()
    assert 'Traceback' not in process.text()


@pytest.fixture
def client(tracker):
    client = Client()
    client.wait_for_tracker()
    client.call(Trigger, 'head_tracker/reset', Trigger.Request())
    yield client
    client.close()


def quaternion(pose):
    turn = pose.orientation
    return np.array([turn.x, turn.y, turn.z, turn.w])


def position(pose):
    return np.array([pose.position.x, pose.position.y, pose.position.z])


def test_every_output_carries_stamp_and_frame_of_the_image(client, rendered):
    header = client.send(rendered[0][0])
    assert client.answer(header).header == header
    for topic in ('head_pose', 'head_landmarks', 'head_mesh', 'overlay'):
        assert client.of(topic, header).header == header
    for transform in client.of('/tf', header).transforms:
        assert transform.header == header
    markers = client.of('head_markers', header).markers
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


def test_pose_is_that_of_the_rendered_head(client, rendered):
    info = camera_info(CAMERA)
    for image, rotation, place in rendered:
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


def test_mesh_faces_outwards_and_towards_the_camera_on_the_near_side(client, rendered):
    header = client.send(rendered[2][0])
    cloud = client.of('head_mesh', header)
    vertices = np.frombuffer(cloud.data, '<f4').reshape(cloud.height, cloud.width, 3)[0]
    client.spin_until(lambda: client.received['head_mesh/triangles'])
    triangles = np.array(client.received['head_mesh/triangles'][-1].data).reshape(-1, 3)
    mesh = next(m for m in client.of('head_markers', header).markers if m.ns == 'mesh')
    corners = np.array([[p.x, p.y, p.z] for p in mesh.points]).reshape(-1, 3, 3)
    np.testing.assert_allclose(corners, vertices[triangles], atol=1e-6)
    assert mesh.type == mesh.TRIANGLE_LIST

    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    centres = corners.mean(axis=1)
    volume = np.einsum('ti,ti->', centres - vertices.mean(axis=0), normals) / 6
    assert 0.001 < volume < 0.02  # m^3, positive when normals point outwards
    # What a ray from the camera, which is at the origin, meets first looks back at the camera.
    rays = np.array(client.answer(header).heads[0].landmarks_m).reshape(68, 3)[17:]
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


def test_no_head_is_an_empty_answer_and_its_markers_go(client, rendered):
    first = client.send(rendered[0][0])
    identity = client.answer(first).heads[0].id
    client.of('head_markers', first)
    for _ in range(6):
        header = client.send(np.full((360, 480, 3), 90, np.uint8))
        assert client.answer(header).heads == []
        if client.spin_until(lambda: any(
                m.markers[0].action == m.markers[0].DELETE
                for m in client.received['head_markers']), 0.5):
            break
    removed = [(m.ns, m.id) for array in client.received['head_markers'] for m in array.markers
               if m.action == m.DELETE]
    assert removed[-4:] == [(name, identity) for name in ('mesh', 'landmarks', 'axes', 'id')]


def broken_images(header, image):
    """Yield images that no camera may send, and the field that the warning names."""
    def changed(**fields):
        message = ros_graph.bgr_image(header, image)
        for name, value in fields.items():
            setattr(message, name, value)
        return message
    yield changed(encoding='rainbow9'), 'encoding'
    yield changed(step=3 * SIZE[0] + 64), 'data'
    yield changed(step=3 * SIZE[0] - 1), 'step'
    yield changed(width=0), 'width, height'
    yield changed(height=0), 'width, height'
    yield changed(data=ros_graph.bgr_image(header, image).data[:1000]), 'data'
    early = Header(frame_id=FRAME)
    early.stamp.sec = -5
    yield changed(header=early), 'Seconds'


def test_bad_images_are_counted_and_the_next_good_one_is_answered(client, tracker, rendered):
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


def test_impossible_camera_info_is_counted_and_images_are_answered(client, tracker, rendered):
    before = int(client.diagnostics()['bad camera_info'])
    info = camera_info(CAMERA)
    info.k[0] = float('nan')
    info.header = client.header()
    client.infos.publish(info)
    client.spin_for(0.2)
    assert len(client.ask(rendered[0][0]).heads) == 1
    report = client.diagnostics(lambda v: int(v['bad camera_info']) > before)
    assert int(report['bad camera_info']) == before + 1
    assert 'so far): K' in tracker.text()


def test_best_effort_publisher_is_heard(tracker, rendered):
    client = Client(BEST_EFFORT)
    try:
        client.wait_for_tracker()
        # Best effort may lose one; the node must hear the stream.
        for _ in range(20):
            header = client.send(rendered[0][0])
            client.spin_until(lambda: any(m.header.stamp == header.stamp  # noqa: B023
                                          for m in client.received['heads']), 1.0)
        assert client.received['heads']
    finally:
        client.close()


def load_model(client, path):
    return client.call(LoadModel, 'head_tracker/load_model', LoadModel.Request(path=path))


def test_load_model_keeps_the_old_one_on_any_error(client, rendered, tmp_path):
    model = client.ask(rendered[0][0]).model
    whole = bundled_checkpoint().read_bytes()
    cut, text = tmp_path / 'cut.safetensors', tmp_path / 'text.safetensors'
    cut.write_bytes(whole[:len(whole) // 2])
    text.write_text('no tensors')
    for path in (cut, text, tmp_path / 'missing.safetensors', tmp_path):
        response = load_model(client, str(path))
        assert not response.success
        assert response.version == model
        assert response.message and '\n' not in response.message
        assert client.ask(rendered[0][0]).model == model
    response = load_model(client, str(bundled_checkpoint()))
    assert response.success and response.version == model
    assert len(client.ask(rendered[0][0]).heads) == 1


def set_parameter(client, name, value):
    kinds = {str: (ParameterType.PARAMETER_STRING, 'string_value'),
             float: (ParameterType.PARAMETER_DOUBLE, 'double_value'),
             bool: (ParameterType.PARAMETER_BOOL, 'bool_value')}
    kind, field = kinds[type(value)]
    request = SetParameters.Request(parameters=[
        ParameterMessage(name=name, value=ParameterValue(type=kind, **{field: value}))])
    return client.call(SetParameters, 'head_tracker/set_parameters', request).results[0]


def test_parameters_are_live_and_impossible_values_are_refused(client, rendered):
    for name, value in (('smoothing_beta', 1e6), ('smoothing_min_cutoff', float('nan')),
                        ('head_frame_prefix', '/global'), ('device', 'abacus'),
                        ('image_transport', 'compressed'), ('model', 'other')):
        result = set_parameter(client, name, value)
        assert not result.successful and result.reason
    assert set_parameter(client, 'head_frame_prefix', 'nod_').successful
    header = client.send(rendered[0][0])
    identity = client.answer(header).heads[0].id
    assert client.of('/tf', header).transforms[0].child_frame_id == f'nod_{identity}'
    assert set_parameter(client, 'head_frame_prefix', 'tracked_head_').successful


def test_disabled_tracker_is_silent(client, rendered):
    client.call(SetBool, 'head_tracker/enable', SetBool.Request(data=False))
    header = client.send(rendered[0][0])
    client.spin_for(1.0)
    assert all(m.header.stamp != header.stamp for m in client.received['heads'])
    client.call(SetBool, 'head_tracker/enable', SetBool.Request(data=True))
    assert len(client.ask(rendered[0][0]).heads) == 1


def change_state(client, transition):
    request = ChangeState.Request()
    request.transition.id = transition
    return client.call(ChangeState, 'head_tracker/change_state', request).success


def test_lifecycle_subscribes_only_while_active(client, rendered):
    assert change_state(client, Transition.TRANSITION_DEACTIVATE)
    assert client.spin_until(lambda: client.images.get_subscription_count() == 0, 5.0)
    assert change_state(client, Transition.TRANSITION_CLEANUP)
    assert not change_state(client, Transition.TRANSITION_ACTIVATE)
    response = load_model(client, str(bundled_checkpoint()))
    assert not response.success and 'not configured' in response.message
    assert change_state(client, Transition.TRANSITION_CONFIGURE)
    assert client.images.get_subscription_count() == 0
    assert change_state(client, Transition.TRANSITION_ACTIVATE)
    client.wait_for_tracker()
    assert len(client.ask(rendered[0][0]).heads) == 1


# Last, since it waits until the graph has forgotten the tracker of the tests above.
@pytest.mark.parametrize('number', ['SIGINT', 'SIGTERM'])
def test_signal_ends_the_node_cleanly_amid_compressed_images(number, rendered, tmp_path):
    process = TrackerProcess(
        tmp_path / 'log.txt', '-p', 'autostart:=true', '-p', 'image_transport:=compressed',
        '-r', 'image_raw:=front/camera/image', '-r', '__ns:=/second')
    client = Client(topic='/second/front/camera/image/compressed', kind=CompressedImage,
                    outputs=False)
    client.listen('/second/heads', ros_graph.HeadArray, ros_graph.KEEP)
    client.received['heads'] = client.received['/second/heads']
    try:
        assert client.spin_until(client.images.get_subscription_count)
        client.spin_for(0.5)
        data = cv2.imencode('.jpg', rendered[0][0])[1].tobytes()
        header = client.header()
        client.images.publish(ros_graph.compressed(header, data[:len(data) // 2]))
        client.spin_for(0.3)
        header = client.header()
        client.images.publish(ros_graph.compressed(header, data))
        assert len(client.answer(header).heads) == 1
        assert 'truncated' in process.text()
        client.images.publish(ros_graph.compressed(client.header(), data))
        assert process.stop(getattr(ros_graph.signal, number)) == 0, process.text()
        assert 'Traceback' not in process.text()
        assert 'incompatible QoS' not in process.text()
    finally:
        process.stop()
        client.close()


def test_user_mistakes_are_one_line_and_code_two(tmp_path):
    for arguments, word in (
            (['-p', 'autostart:=true', '-p', 'model:=/no/such.safetensors'], 'no such checkpoint'),
            (['-p', 'device:=abacus'], 'device'),
            (['-p', 'max_rate:=fast'], 'max_rate'),
            (['--params-file', '/no/such.yaml'], 'such.yaml')):
        process = TrackerProcess(tmp_path / 'log.txt', *arguments)
        assert process.popen.wait(60) == 2, process.text()
        errors = [line for line in process.text().splitlines() if line.startswith('error: ')]
        assert len(errors) == 1 and word in errors[0]
        assert 'Traceback' not in process.text()


def test_missing_keys_of_sros2_are_one_line_and_code_two(tmp_path, monkeypatch):
    for name, value in (('ENABLE', 'true'), ('STRATEGY', 'Enforce'), ('KEYSTORE', str(tmp_path))):
        monkeypatch.setenv(f'ROS_SECURITY_{name}', value)
    process = TrackerProcess(tmp_path / 'log.txt')
    assert process.popen.wait(60) == 2, process.text()
    errors = [line for line in process.text().splitlines() if line.startswith('error: ')]
    assert len(errors) == 1 and 'SECURITY' in errors[0]
    assert 'Traceback' not in process.text()
