"""What an operator sees and sets while the node runs: diagnostics, parameters, services, QoS."""

import json
import time

import cv2
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from rcl_interfaces.srv import DescribeParameters
from rclpy.lifecycle import LifecycleNode
from ros_graph import BEST_EFFORT, HEADS, LATCHED, Client, values_of
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import UInt32MultiArray
from std_srvs.srv import SetBool
from trans3dhead.srv import LoadModel

from trans3dhead_ros.model_files.model_metadata import bundled_model
from trans3dhead_ros.ros.messages import bgr_image
from trans3dhead_ros.ros.node.camera_stream import CameraStream
from trans3dhead_ros.ros.outputs import make_outputs
from trans3dhead_ros.ros.tracker_parameters import declare_tracker_parameters, tracker_specs

pytestmark = pytest.mark.ros


def test_diagnostics_report_rates_times_drops_qos_and_memory(client, picture):
    for _ in range(3):
        client.ask(picture)
    values = client.diagnostics(lambda v: v['heads'] == '1')
    assert float(values['input rate (Hz)']) > 0.0
    for name in ('inference p50 (ms)', 'inference p95 (ms)', 'memory (MB)', 'peak memory (MB)'):
        assert float(values[name]) > 0.0
    for name in ('images received', 'images processed', 'images replaced by newer ones',
                 'images above max_rate', 'bad images', 'bad camera_info'):
        assert int(values[name]) >= 0
    assert values['image topic'] == '/image_raw'
    assert values['publisher QoS'] == values['subscription QoS'] == 'reliable'
    assert values['device'] and values['model'].startswith('trans3dhead')
    assert values['calibration']


def test_a_publisher_of_another_type_is_named(client, short_timeout):
    with client.publisher(CompressedImage):
        status = client.status(lambda s: 'instead of' in s.message)
        assert status.level == DiagnosticStatus.WARN
        assert '/image_raw: its publisher has type sensor_msgs/msg/CompressedImage' \
            in status.message


def test_incompatible_reliability_is_named_with_its_parameter(client, short_timeout):
    try:
        with client.publisher(qos=BEST_EFFORT):
            client.set_tracker_parameters(image_reliability='reliable')
            status = client.status(lambda s: 'set image_reliability to auto' in s.message)
            assert status.level == DiagnosticStatus.WARN and 'LARGE_DATA' not in status.message
            client.set_tracker_parameters(image_reliability='auto')
            client.status(lambda s: 'LARGE_DATA' in s.message)
    finally:
        client.set_tracker_parameters(image_reliability='auto')


def test_every_parameter_is_described_with_its_range(client):
    specs = tracker_specs()
    request = DescribeParameters.Request(names=list(specs))
    described = client.call(DescribeParameters, 'head_tracker/describe_parameters', request)
    for spec, descriptor in zip(specs.values(), described.descriptors, strict=True):
        assert descriptor.description == spec.description
        assert descriptor.read_only == spec.read_only
        ranges = [*descriptor.floating_point_range, *descriptor.integer_range]
        assert len(ranges) == (type(spec.default) in (int, float))


def test_every_parameter_that_is_not_read_only_can_be_set_live(observer, picture):
    defaults = {spec.name: spec.default for spec in tracker_specs().values()
                if not spec.read_only}
    changed = {
        'image_rectified': True, 'device': 'cpu', 'max_image_pixels': 10 ** 6,
        'new_track_threshold': 0.6, 'keep_track_threshold': 0.2, 'max_missed_frames': 2,
        'search_interval': 3, 'max_unconfirmed_time': 2.0, 'significant_bits': 10,
        'head_scale': 1.1,
        'head_size_uncertainty': 0.1, 'smoothing': False, 'smoothing_min_cutoff': 1.0,
        'smoothing_beta': 2.0, 'smoothing_derivative_cutoff': 1.0, 'head_frame_prefix': 'nod_',
        'publish_tf': False, 'publish_markers': False, 'publish_mesh': False,
        'publish_overlay': False, 'no_image_warning': 2.0, 'max_rate': 500.0,
        'image_reliability': 'reliable', 'watchdog_timeout': 20.0}
    assert changed.keys() == defaults.keys()
    near = observer.ask(picture).heads[0].pose.pose.position.z
    try:
        assert all(result.successful for result in observer.set_tracker_parameters(**changed))
        for messages in observer.received.values():
            messages.clear()
        header = observer.send(picture)
        far = observer.answer(header).heads[0].pose.pose.position.z
        assert far == pytest.approx(1.1 * near, rel=0.02)
        observer.spin_for(0.5)
        # What the picture before has brought forth may still be under way.
        for topic in ('/tf', 'head_mesh', 'overlay'):
            assert not observer.all_of(topic, header)
    finally:
        defaults |= {'no_image_warning': 60.0}  # that of the shared tracker
        assert all(result.successful for result in observer.set_tracker_parameters(**defaults))
    observer.of('head_mesh', observer.send(picture))


def test_fixed_parameters_and_impossible_values_are_refused(client):
    fixed = {spec.name: spec.default for spec in tracker_specs().values() if spec.read_only}
    assert not any(result.successful for result in client.set_tracker_parameters(**fixed))
    results = client.set_tracker_parameters(
        max_rate=-1.0, new_track_threshold=2.0, max_missed_frames=-1, head_scale=float('nan'),
        smoothing='yes', device='cuda:99', head_frame_prefix='/global', smoothing_beta=1e6)
    assert not any(result.successful for result in results)
    assert all(result.reason for result in results)


def test_rate_is_limited_live(client, picture):
    before = int(client.diagnostics()['images above max_rate'])
    client.set_tracker_parameters(max_rate=0.1)
    try:
        client.stream_until(picture, lambda v: int(v['images above max_rate']) > before)
    finally:
        client.set_tracker_parameters(max_rate=0.0)


def test_publishers_of_both_reliabilities_are_received_even_after_a_restart(client, picture):
    second = client.create_publisher(Image, 'image_raw', BEST_EFFORT)
    client.diagnostics(lambda v: v['subscription QoS'] == 'best_effort' and v['publishers'] == '2')
    assert client.spin_until(second.get_subscription_count)
    for publisher in (second, client.images):
        # Best effort may lose one; the node must receive the stream.
        assert client.stream_is_processed(picture, publisher=publisher)
    client.destroy_publisher(second)
    with client.publisher():
        client.diagnostics(lambda v: v['subscription QoS'] == 'reliable' and v['publishers'] == '1')
        client.wait_for_tracker()
        assert client.ask(picture).heads


def test_a_best_effort_publisher_is_received(client, picture):
    with client.publisher(qos=BEST_EFFORT):
        client.diagnostics(lambda v: v['subscription QoS'] == 'best_effort')
        client.wait_for_tracker()
        # Best effort may lose one; the node must receive the stream.
        assert client.stream_is_processed(picture, 20.0)


def wait_until_markers_are_deleted(client, header):
    """Wait for the message that deletes all markers of an image."""
    assert client.spin_until(lambda: any(
        marker.action == marker.DELETEALL and marker.header.stamp == header.stamp
        for array in client.received['head_markers'] for marker in array.markers), 10.0)


def test_markers_are_deleted_when_the_node_is_disabled(observer, picture):
    header = observer.send(picture)
    observer.of('head_markers', header)
    observer.call(SetBool, 'head_tracker/enable', SetBool.Request(data=False))
    try:
        wait_until_markers_are_deleted(observer, header)
        observer.status(lambda status: status.message == 'disabled')
    finally:
        observer.call(SetBool, 'head_tracker/enable', SetBool.Request(data=True))
    observer.of('head_markers', observer.send(picture))


def test_a_disabled_node_does_not_warn_of_missing_images(client, short_timeout):
    client.call(SetBool, 'head_tracker/enable', SetBool.Request(data=False))
    try:
        client.status(lambda status: status.message == 'disabled')
        client.spin_for(1.5)
        assert client.status().message == 'disabled'
    finally:
        client.call(SetBool, 'head_tracker/enable', SetBool.Request(data=True))


def test_markers_are_deleted_when_the_camera_stops_and_tracks_are_kept(
        observer, short_timeout, picture):
    before = observer.ask(picture).heads[0].id
    header = observer.send(picture)
    observer.of('head_markers', header)
    wait_until_markers_are_deleted(observer, header)
    observer.status(lambda status: status.message.startswith('no image'))
    assert observer.ask(picture).heads[0].id == before


def test_images_that_are_not_processed_are_an_error(ros):
    node, timeouts = LifecycleNode('of_stream'), []
    declare_tracker_parameters(node)
    stream = CameraStream(node, '', lambda *_: True, timeouts.append)
    try:
        stream.subscribe()
        assert stream.status('tracking', {}, True).level == DiagnosticStatus.OK
        now = time.monotonic()
        for seconds in (-60.0, 0.0):
            stream.statistics.received(now + seconds)
        status = stream.status('tracking', {}, True)
        assert status.level == DiagnosticStatus.ERROR
        assert status.message == 'images have been waiting for 60 s'
        # Not after an image was skipped, and not while the node is disabled.
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
        assert not timeouts
    finally:
        stream.unsubscribe()
        node.destroy_node()


def test_models_outside_the_folder_are_not_loaded(client, models, tmp_path):
    outside = tmp_path / 'outside.safetensors'
    outside.write_bytes(bundled_model().read_bytes())
    for path in (outside, '/etc/passwd', '../outside.safetensors', models / '..' / 'x',
                 models / 'out.safetensors', 'out.safetensors', models, '.'):
        response = client.load_model(path)
        assert not response.success and 'model_folder' in response.message


def test_a_broken_model_keeps_the_old_one(client, models, picture):
    model = client.ask(picture).model
    for name in ('cut.safetensors', 'text.safetensors', 'missing.safetensors', 'a\tb'):
        response = client.load_model(name)
        assert not response.success and response.version == model
        assert response.message and len(response.message.splitlines()) == 1
    assert client.ask(picture).model == model


def test_a_model_is_swapped_between_two_frames_of_a_stream(client, models, picture):
    assert client.load_model(models / 'same.safetensors').success
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
    # Another head model has other triangles; late subscribers get those in use.
    late = []
    subscription = client.create_subscription(
        UInt32MultiArray, 'head_mesh/triangles', late.append, LATCHED)
    assert client.spin_until(lambda: late)
    assert late[-1].data != triangles.data
    client.destroy_subscription(subscription)
    client.destroy_client(request)
    assert client.load_model('').version == model
    assert client.ask(picture).heads


def test_a_hostile_description_of_a_model_is_refused(client, models, picture):
    metadata = {'format': '"trans3dhead"', 'format_version': '1', 'network': '[' * 100_000}
    for header in (b'[' * 200_000, json.dumps({'__metadata__': metadata}).encode(),
                   b'{"a":{"dtype":"F16","shape":[1000000,1000000],"data_offsets":[0,8]}}'):
        (models / 'hostile.safetensors').write_bytes(
            len(header).to_bytes(8, 'little') + header + bytes(8))
        response = client.load_model('hostile.safetensors')
        assert not response.success and len(response.message) < 1000
    assert client.ask(picture).heads


def test_no_message_is_built_without_subscribers(ros):
    node = LifecycleNode('of_outputs')
    outputs = make_outputs(node, 'lonely/')
    reader = Client(camera='lonely')
    try:
        # /tf comes first, before those are notified who look up its frames.
        names = [name for output in outputs for name in output.topics]
        assert names == ['/tf', *(f'/lonely/{name}' for name in (
            'heads', 'head_pose', 'head_landmarks', 'head_markers', 'head_mesh', 'overlay'))]
        assert reader.spin_until(lambda: all(output.has_subscribers() for output in outputs))
        reader.close()
        reader = None
        client = Client(outputs=HEADS, camera='elsewhere')
        assert client.spin_until(
            lambda: not any(output.has_subscribers() for output in outputs[1:]))
        client.close()
    finally:
        for output in outputs:
            output.destroy()
        node.destroy_node()


def test_reports_are_of_this_node(client):
    status = client.status()
    assert status.name == 'head_tracker: tracking'
    assert values_of(status)['device'] == status.hardware_id


def test_a_four_k_image_is_processed_and_a_lower_bound_refuses_it(client, picture):
    large = cv2.resize(picture, (3840, 2160), interpolation=cv2.INTER_LINEAR)
    header = client.send(large)
    head, = client.answer(header).heads
    width = head.box[2] - head.box[0]
    assert 0.1 * 3840 < width < 0.6 * 3840
    before = int(client.diagnostics()['bad images'])
    client.set_tracker_parameters(max_image_pixels=640 * 480)
    try:
        client.images.publish(bgr_image(client.header(), large))
        client.diagnostics(lambda v: int(v['bad images']) == before + 1)
        assert client.ask(picture).heads
    finally:
        client.set_tracker_parameters(max_image_pixels=4096 * 4096)


def test_a_disabled_tracker_publishes_no_heads(client, picture):
    client.call(SetBool, 'head_tracker/enable', SetBool.Request(data=False))
    header = client.send(picture)
    client.spin_for(1.0)
    assert not client.all_of('heads', header)
    client.call(SetBool, 'head_tracker/enable', SetBool.Request(data=True))
    assert len(client.ask(picture).heads) == 1


def test_the_node_subscribes_only_while_it_is_active(client, picture):
    assert client.change_state(Transition.TRANSITION_DEACTIVATE)
    assert client.spin_until(lambda: client.images.get_subscription_count() == 0, 5.0)
    assert client.change_state(Transition.TRANSITION_CLEANUP)
    assert not client.change_state(Transition.TRANSITION_ACTIVATE)
    response = client.load_model(bundled_model())
    assert not response.success and 'not configured' in response.message
    assert client.change_state(Transition.TRANSITION_CONFIGURE)
    assert client.images.get_subscription_count() == 0
    assert client.change_state(Transition.TRANSITION_ACTIVATE)
    client.wait_for_tracker()
    assert len(client.ask(picture).heads) == 1
    # A new life cycle starts without the calibration of the one before.
    assert client.diagnostics()['calibration'].startswith('no camera_info yet')
