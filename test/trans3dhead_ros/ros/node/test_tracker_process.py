"""The process head_tracker: signals, exit codes, mistakes of the user, hostile requests."""

import signal
from pathlib import Path

import cv2
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import ros_graph
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters
from ros_graph import HEADS, Client, TrackerProcess
from sensor_msgs.msg import CompressedImage

pytestmark = pytest.mark.ros


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_node_cleanly_amid_compressed_images(ros, number, picture, tmp_path):
    namespace = f'/{number.name.lower()}'
    process = TrackerProcess(
        tmp_path / 'log.txt', '-p', 'autostart:=true', '-p', 'image_transport:=compressed',
        '-r', 'image_raw:=front/camera/image', '-r', f'__ns:={namespace}')
    client = Client(topic=f'{namespace}/front/camera/image/compressed', kind=CompressedImage,
                    outputs={})
    client.listen(f'{namespace}/heads', ros_graph.HeadArray, ros_graph.KEEP)
    client.received['heads'] = client.received[f'{namespace}/heads']
    try:
        assert client.spin_until(client.images.get_subscription_count)
        client.spin_for(0.5)
        data = cv2.imencode('.jpg', picture)[1].tobytes()
        # An image that is still waiting would give way to a newer one.
        for _ in range(20):
            client.images.publish(ros_graph.compressed(client.header(), data[:len(data) // 2]))
            if client.spin_until(lambda: 'truncated' in process.text(), 0.5):
                break
        header = client.header()
        client.images.publish(ros_graph.compressed(header, data))
        assert len(client.answer(header).heads) == 1
        assert 'truncated' in process.text()
        # The limit on the heaps of glibc, which is read when a process starts.
        environment = Path(f'/proc/{process.popen.pid}/environ').read_bytes()
        assert b'MALLOC_ARENA_MAX=2' in environment.split(b'\0')
        client.images.publish(ros_graph.compressed(client.header(), data))
        assert process.stop(number) == 0, process.text()
        assert 'Traceback' not in process.text()
        assert 'incompatible QoS' not in process.text()
    finally:
        process.stop()
        client.close()


def one_error_line(process):
    """Wait for a process to refuse its arguments and return the line that says why."""
    assert process.popen.wait(120) == 2, process.text()
    assert 'Traceback' not in process.text()
    error, = (line for line in process.text().splitlines() if line.startswith('error: '))
    return error


def test_user_mistakes_are_one_line_and_code_two(tmp_path):
    mistakes = {
        'no such checkpoint': ['-p', 'autostart:=true', '-p', 'model:=/no/such.safetensors'],
        'device': ['-p', 'device:=abacus'],
        'max_rate': ['-p', 'max_rate:=fast'],
        'such.yaml': ['--params-file', '/no/such.yaml'],
    }
    processes = {word: TrackerProcess(tmp_path / f'{word}.txt', *arguments)
                 for word, arguments in mistakes.items()}
    for word, process in processes.items():
        assert word in one_error_line(process)


def test_missing_keys_of_sros2_are_one_line_and_code_two(tmp_path, monkeypatch):
    for name, value in (('ENABLE', 'true'), ('STRATEGY', 'Enforce'), ('KEYSTORE', str(tmp_path))):
        monkeypatch.setenv(f'ROS_SECURITY_{name}', value)
    assert 'SECURITY' in one_error_line(TrackerProcess(tmp_path / 'log.txt'))


def test_a_request_that_makes_rclpy_raise_does_not_end_the_node(ros, tmp_path, picture):
    process = TrackerProcess(tmp_path / 'log.txt', '-p', 'autostart:=true', '-p',
                             'cameras:=[patient]', '-r', '__node:=patient_tracker')
    client = Client(camera='patient', outputs=HEADS)
    try:
        client.wait_for_tracker()
        request = SetParameters.Request(parameters=[Parameter(
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
