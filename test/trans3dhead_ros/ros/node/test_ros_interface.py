"""What an operator sees and sets while the node runs: diagnostics, parameters, services, QoS."""

import json
import time

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import rclpy
import ros_graph
from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.lifecycle import LifecycleNode
from ros_graph import BEST_EFFORT, LATCHED, RELIABLE, Client, TrackerProcess, values_of
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import UInt32MultiArray
from std_srvs.srv import SetBool, Trigger
from synthetic import small_network
from trans3dhead.srv import LoadModel

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.network.checkpoint import bundled_checkpoint, load_head_model, save_checkpoint
from trans3dhead_ros.ros.messages import bgr_image
from trans3dhead_ros.ros.node.camera_stream import CameraStream
from trans3dhead_ros.ros.outputs import make_outputs
from trans3dhead_ros.ros.parameters import SPECS, declare_parameters
from trans3dhead_training.synthesis.preview.head_renderer import HeadRenderer

SIZE = (480, 360)


@pytest.fixture(scope='module', autouse=True)
def ros():
    ros_graph.start_ros()
    yield
    rclpy.try_shutdown()


@pytest.fixture(scope='module')
def picture():
    wall = np.full((SIZE[1], SIZE[0], 3), (120, 128, 122), np.uint8)
    return HeadRenderer.from_model(load_head_model()).render(
        wall, Camera.from_fov(SIZE, 60.0), rotation_from_euler(np.array([5.0, -3.0, 4.0])),
        np.array([0.02, -0.02, 0.5]))


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    """The folder that models may be loaded from, with good and bad files."""
    folder = tmp_path_factory.mktemp('models')
    whole = bundled_checkpoint().read_bytes()
    (folder / 'same.safetensors').write_bytes(whole)
    (folder / 'cut.safetensors').write_bytes(whole[:len(whole) // 2])
    (folder / 'text.safetensors').write_text('no tensors')
    save_checkpoint(folder / 'small.safetensors', small_network(), {'name': 'small'})
    (folder / 'out.safetensors').symlink_to('/etc/hostname')
    return folder


@pytest.fixture(scope='module')
def tracker(tmp_path_factory, models):
    process = TrackerProcess(
        tmp_path_factory.mktemp('tracker') / 'log.txt', '-p', 'autostart:=true',
        '-p', 'no_image_warning:=1.0', '-p', f'model_folder:={models}')
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


def set_parameters(client, **values):
    kinds = {str: (ParameterType.PARAMETER_STRING, 'string_value'),
             float: (ParameterType.PARAMETER_DOUBLE, 'double_value'),
             int: (ParameterType.PARAMETER_INTEGER, 'integer_value'),
             bool: (ParameterType.PARAMETER_BOOL, 'bool_value'),
             list: (ParameterType.PARAMETER_STRING_ARRAY, 'string_array_value')}
    request = SetParameters.Request()
    for name, value in values.items():
        kind, field = kinds[type(value)]
        request.parameters.append(ParameterMessage(
            name=name, value=ParameterValue(type=kind, **{field: value})))
    return client.call(SetParameters, 'head_tracker/set_parameters', request).results


def load_model(client, path):
    return client.call(LoadModel, 'head_tracker/load_model', LoadModel.Request(path=str(path)))


def test_diagnostics_tell_rates_times_drops_qos_and_memory(client, picture):
    for _ in range(3):
        client.ask(picture)
    values = client.diagnostics(lambda v: v['heads'] == '1')
    assert float(values['input rate (Hz)']) > 0.0
    for name in ('inference p50 (ms)', 'inference p95 (ms)', 'memory (MB)', 'peak memory (MB)'):
        assert float(values[name]) > 0.0
    for name in ('images received', 'images answered', 'images replaced by newer ones',
                 'images above max_rate', 'bad images', 'bad camera_info'):
        assert int(values[name]) >= 0
    assert values['image topic'] == '/image_raw'
    assert values['publisher QoS'] == values['subscription QoS'] == 'reliable'
    assert values['device'] and values['model'].startswith('trans3dhead')
    assert 'camera_info' in values['calibration']


def test_silence_names_the_topic_and_a_publisher_of_another_type(tracker):
    client = Client(kind=CompressedImage, outputs=False)
    try:
        status = client.status(lambda s: 'instead of' in s.message)
        assert status.level == DiagnosticStatus.WARN
        assert '/image_raw: its publisher sends sensor_msgs/msg/CompressedImage' in status.message
    finally:
        client.close()


def test_silence_between_qualities_of_service_names_the_parameter(client):
    client.destroy_publisher(client.images)
    client.images = client.create_publisher(Image, 'image_raw', BEST_EFFORT)
    set_parameters(client, image_reliability='reliable')
    try:
        status = client.status(lambda s: 'set image_reliability to auto' in s.message)
        assert status.level == DiagnosticStatus.WARN and 'LARGE_DATA' not in status.message
        set_parameters(client, image_reliability='auto')
        client.status(lambda s: 'LARGE_DATA' in s.message)
    finally:
        set_parameters(client, image_reliability='auto')


def test_every_parameter_is_described_with_its_range(client):
    request = DescribeParameters.Request(names=[spec.name for spec in SPECS])
    described = client.call(DescribeParameters, 'head_tracker/describe_parameters', request)
    for spec, descriptor in zip(SPECS, described.descriptors, strict=True):
        assert descriptor.description == spec.description
        assert descriptor.read_only == spec.read_only
        ranges = [*descriptor.floating_point_range, *descriptor.integer_range]
        assert len(ranges) == (type(spec.default) in (int, float))


def test_all_that_is_not_fixed_at_start_is_live(client, picture):
    defaults = {spec.name: spec.default for spec in SPECS if not spec.read_only}
    changed = {
        'image_rectified': True, 'device': 'cpu', 'max_image_pixels': 10 ** 6, 'new_track_threshold': 0.6,
        'keep_track_threshold': 0.2, 'max_missed_frames': 2, 'search_interval': 3, 'head_scale': 1.1,
        'head_size_uncertainty': 0.1, 'smoothing': False, 'smoothing_min_cutoff': 1.0,
        'smoothing_beta': 2.0, 'smoothing_derivative_cutoff': 1.0, 'head_frame_prefix': 'nod_',
        'publish_tf': False, 'publish_markers': False, 'publish_mesh': False,
        'publish_overlay': False, 'no_image_warning': 2.0, 'max_rate': 500.0,
        'image_reliability': 'reliable'}
    assert changed.keys() == defaults.keys()
    near = client.ask(picture).heads[0].pose.pose.position.z
    try:
        assert all(result.successful for result in set_parameters(client, **changed))
        for messages in client.received.values():
            messages.clear()
        header = client.send(picture)
        far = client.answer(header).heads[0].pose.pose.position.z
        assert far == pytest.approx(1.1 * near, rel=0.02)
        client.spin_for(0.5)
        # What the picture before has brought forth may still be under way.
        for topic in ('/tf', 'head_mesh', 'overlay'):
            assert not client.all_of(topic, header)
    finally:
        assert all(result.successful for result in set_parameters(client, **defaults))
    client.of('head_mesh', client.send(picture))


def test_fixed_parameters_and_impossible_values_are_refused(client):
    fixed = {spec.name: spec.default for spec in SPECS if spec.read_only}
    assert not any(result.successful for result in set_parameters(client, **fixed))
    results = set_parameters(client, max_rate=-1.0, new_track_threshold=2.0, max_missed_frames=-1,
                             head_scale=float('nan'), smoothing='yes', device='cuda:99')
    assert not any(result.successful for result in results)
    assert all(result.reason for result in results)


def test_a_request_that_rclpy_stumbles_over_does_not_end_the_node(tmp_path, picture):
    process = TrackerProcess(tmp_path / 'log.txt', '-p', 'autostart:=true', '-p',
                             'cameras:=[patient]', '-r', '__node:=patient_tracker')
    client = Client(camera='patient')
    try:
        client.wait_for_tracker()
        request = SetParameters.Request(parameters=[ParameterMessage(
            name='new_track_threshold', value=ParameterValue(type=42))])
        service = client.create_client(SetParameters, 'patient_tracker/set_parameters')
        assert client.spin_until(service.service_is_ready)
        service.call_async(request)
        assert client.spin_until(lambda: 'a callback failed' in process.text(), 10.0)
        assert client.ask(picture).heads
        assert process.stop() == 0
    finally:
        process.stop()
        client.close()


def test_rate_is_limited_live(client, picture):
    before = int(client.diagnostics()['images above max_rate'])
    set_parameters(client, max_rate=0.1)
    try:
        client.stream_until(picture, lambda v: int(v['images above max_rate']) > before)
    finally:
        set_parameters(client, max_rate=0.0)


def test_publishers_of_both_reliabilities_are_heard_and_a_restarted_one_too(client, picture):
    second = client.create_publisher(Image, 'image_raw', BEST_EFFORT)
    client.diagnostics(lambda v: v['subscription QoS'] == 'best_effort' and v['publishers'] == '2')
    assert client.spin_until(second.get_subscription_count)
    for publisher in (second, client.images):
        def answered(publisher=publisher):
            # Best effort may lose one; the node must hear the stream.
            header = client.header()
            publisher.publish(bgr_image(header, picture))
            return client.spin_until(lambda: any(
                m.header.stamp == header.stamp for m in client.received['heads']), 1.0)
        assert client.spin_until(answered)
    client.destroy_publisher(second)
    client.destroy_publisher(client.images)
    client.images = client.create_publisher(Image, 'image_raw', RELIABLE)
    client.diagnostics(lambda v: v['subscription QoS'] == 'reliable' and v['publishers'] == '1')
    assert client.spin_until(client.images.get_subscription_count)
    client.spin_for(0.3)
    assert client.ask(picture).heads


def markers_are_gone(client):
    return any(marker.action == marker.DELETEALL
               for array in client.received['head_markers'] for marker in array.markers)


def test_markers_go_when_the_node_is_disabled(client, picture):
    client.of('head_markers', client.send(picture))
    client.call(SetBool, 'head_tracker/enable', SetBool.Request(data=False))
    try:
        assert client.spin_until(lambda: markers_are_gone(client))
        client.status(lambda status: status.message == 'disabled')
        # Whoever has switched it off does not want to hear that no image comes.
        client.spin_for(1.5)
        assert client.status().message == 'disabled'
    finally:
        client.call(SetBool, 'head_tracker/enable', SetBool.Request(data=True))
    client.of('head_markers', client.send(picture))


def test_what_is_shown_goes_when_the_camera_does(client, picture):
    before = client.ask(picture).heads[0].id
    client.of('head_markers', client.send(picture))
    client.received['head_markers'].clear()
    assert client.spin_until(lambda: markers_are_gone(client), 10.0)
    client.status(lambda status: status.message.startswith('no image'))
    # It may come back, and then it is the same head.
    assert client.ask(picture).heads[0].id == before


def test_images_that_get_no_answer_are_an_error():
    node, fell_silent = LifecycleNode('of_stream'), []
    declare_parameters(node)
    stream = CameraStream(node, '', lambda *_: True, fell_silent.append)
    try:
        stream.listen()
        assert stream.status('tracking', {}, True).level == DiagnosticStatus.OK
        now = time.monotonic()
        for seconds in (-60.0, 0.0):
            stream.statistics.received(now + seconds)
        status = stream.status('tracking', {}, True)
        assert status.level == DiagnosticStatus.ERROR
        assert status.message == 'no answer for 60 s to images'
        # Whatever ends the waiting; a node that is switched off owes nothing.
        stream.statistics.skipped()
        assert stream.status('tracking', {}, True).message == 'tracking'
        stream.statistics.received(now - 60.0)
        assert stream.status('disabled', {}, False).message == 'disabled'
        assert stream.status('tracking', {}, True).message == 'tracking'
        stream.statistics.failed()
        status = stream.status('tracking', {}, True)
        assert (status.level, status.message) == (
            DiagnosticStatus.ERROR, '1 images failed, see the log')
        assert values_of(status)['images that failed'] == '1'
        assert not fell_silent
    finally:
        stream.stop_listening()
        node.destroy_node()


def test_models_outside_the_folder_are_not_loaded(client, models, tmp_path):
    outside = tmp_path / 'outside.safetensors'
    outside.write_bytes(bundled_checkpoint().read_bytes())
    for path in (outside, '/etc/passwd', '../outside.safetensors', models / '..' / 'x',
                 models / 'out.safetensors', 'out.safetensors', models, '.'):
        response = load_model(client, path)
        assert not response.success and 'model_folder' in response.message


def test_a_broken_model_leaves_the_old_one(client, models, picture):
    model = client.ask(picture).model
    for name in ('cut.safetensors', 'text.safetensors', 'missing.safetensors', 'a\tb'):
        response = load_model(client, name)
        assert not response.success and response.version == model
        assert response.message and len(response.message.splitlines()) == 1
    assert client.ask(picture).model == model


def test_a_model_is_exchanged_between_two_frames_of_a_stream(client, models, picture):
    assert load_model(client, models / 'same.safetensors').success
    model = client.ask(picture).model
    triangles = client.received['head_mesh/triangles'][-1]
    request = client.create_client(LoadModel, 'head_tracker/load_model')
    assert client.spin_until(request.service_is_ready)
    future = request.call_async(LoadModel.Request(path='small.safetensors'))
    sent = []
    while not future.done() and len(sent) < 500:
        sent.append(client.send(picture))
        client.answer(sent[-1])
    response = future.result()
    assert response.success and response.version.startswith('small')
    last = client.send(picture)
    assert client.answer(last).model == response.version
    answers = [client.answer(header) for header in sent]
    names = [answer.model for answer in answers]
    assert names == sorted(names, key=[model, response.version].index)
    # Another head has other triangles; whoever comes late gets the ones in use.
    late = []
    client.create_subscription(UInt32MultiArray, 'head_mesh/triangles', late.append, LATCHED)
    assert client.spin_until(lambda: late)
    assert late[-1].data != triangles.data
    assert load_model(client, '').version == model
    assert client.ask(picture).heads


def test_a_hostile_description_of_a_model_is_refused(client, models, picture):
    metadata = {'format': '"trans3dhead"', 'format_version': '1', 'network': '[' * 100_000}
    for header in (b'[' * 200_000, json.dumps({'__metadata__': metadata}).encode(),
                   b'{"a":{"dtype":"F16","shape":[1000000,1000000],"data_offsets":[0,8]}}'):
        (models / 'hostile.safetensors').write_bytes(
            len(header).to_bytes(8, 'little') + header + bytes(8))
        response = load_model(client, 'hostile.safetensors')
        assert not response.success and len(response.message) < 1000
    assert client.ask(picture).heads


def test_nothing_is_built_for_nobody():
    node = LifecycleNode('of_outputs')
    outputs = make_outputs(node, 'lonely/')
    reader = Client(camera='lonely')
    try:
        # /tf comes first, before whoever looks it up is told.
        names = [publisher.topic_name for output in outputs for publisher in output._publishers]
        assert names == ['/tf', *(f'/lonely/{name}' for name in (
            'heads', 'head_pose', 'head_landmarks', 'head_markers', 'head_mesh', 'overlay'))]
        assert reader.spin_until(lambda: all(output.has_readers() for output in outputs))
        reader.close()
        reader = None
        client = Client(outputs=False, camera='elsewhere')
        assert client.spin_until(lambda: not any(output.has_readers() for output in outputs[1:]))
        client.close()
    finally:
        for output in outputs:
            output.destroy()
        node.destroy_node()


def test_reports_are_of_this_node(client):
    status = client.status()
    assert status.name == 'head_tracker: tracking'
    assert values_of(status)['device'] == status.hardware_id


def test_a_four_k_image_is_answered_and_a_lower_bound_refuses_it(client, picture):
    large = cv2.resize(picture, (3840, 2160), interpolation=cv2.INTER_LINEAR)
    header = client.send(large)
    head, = client.answer(header).heads
    width = head.box[2] - head.box[0]
    assert 0.1 * 3840 < width < 0.6 * 3840
    before = int(client.diagnostics()['bad images'])
    set_parameters(client, max_image_pixels=640 * 480)
    try:
        client.images.publish(bgr_image(client.header(), large))
        client.diagnostics(lambda v: int(v['bad images']) == before + 1)
        assert client.ask(picture).heads
    finally:
        set_parameters(client, max_image_pixels=4096 * 4096)
