"""~/load_model and ~/rollback under load, the gate, and the index of model_folder."""

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
pytest.importorskip('torch')

from model_pairs import altered_graph
from ros_graph import SMALL_OUTPUTS, Client, TrackerProcess
from std_srvs.srv import Trigger
from trans3dhead.srv import LoadModel

from trans3dhead_ros.model_files.gate_verdict import verdict_path, write_verdict
from trans3dhead_ros.model_files.model_index import ModelIndex
from trans3dhead_ros.model_files.model_metadata import bundled_model
from trans3dhead_ros.model_files.model_pair import read_metadata

pytestmark = pytest.mark.ros

FIRST, SECOND = 'a1' * 32, 'b2' * 32
SWAPS = 50
_SAME_PX = 0.05


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with two models, the second of which was trained from the first."""
    place, bundled = tmp_path_factory.mktemp('rollout'), bundled_model().with_suffix('.onnx')
    altered_graph(bundled, place / 'first.onnx', FIRST)
    altered_graph(bundled, place / 'second.onnx', SECOND, parent=FIRST)
    return place


@pytest.fixture(scope='module')
def start(folder, tmp_path_factory) -> Iterator:
    """Return a function that starts a tracker with that folder."""
    started = []

    def start(*arguments) -> TrackerProcess:
        started.append(TrackerProcess(
            tmp_path_factory.mktemp('log') / 'log.txt', '-p', 'autostart:=true',
            '-p', f'model_folder:={folder}', '-p', 'no_image_warning:=0.0', *arguments))
        return started[-1]

    yield start
    for process in started:
        assert process.stop() == 0, process.text()
        assert 'Traceback' not in process.text()


@pytest.fixture(scope='module')
def tracker(start) -> TrackerProcess:
    return start()


@pytest.fixture
def client(ros, tracker) -> Iterator[Client]:
    client = Client(outputs=SMALL_OUTPUTS)
    client.wait_for_tracker()
    yield client
    client.close()


def load(client: Client, path: str, force: bool = False, node: str = 'head_tracker'):
    return client.call(LoadModel, f'{node}/load_model', LoadModel.Request(path=path, force=force))


def roll_back(client: Client, node: str = 'head_tracker'):
    return client.call(Trigger, f'{node}/rollback', Trigger.Request())


def short(sha256: str) -> str:
    return sha256[:12]


def test_rollback_needs_a_model_to_go_back_to(client):
    assert load(client, 'default').success
    response = roll_back(client)
    assert not response.success and response.message == 'there is no previous model'


def test_a_name_is_enough_and_the_diagnostics_name_the_parent(client, folder):
    assert load(client, 'first').version.endswith(short(FIRST))
    assert load(client, 'second').version.endswith(short(SECOND))
    values = client.diagnostics(lambda values: values['model'].endswith(short(SECOND)))
    assert values['parent model'] == values['previous model'] == f'first {short(FIRST)}'
    entries = ModelIndex(folder).models()
    assert {name: entry['parent'] for name, entry in entries.items()} == {
        'first': read_metadata(bundled_model()).get('parent'), 'second': FIRST}
    # Models that were used last are gone back to in order.
    for version in (short(FIRST), ModelIndex(folder).history('/head_tracker')[0].sha256[:12]):
        assert roll_back(client).message.split(' loaded')[0].endswith(version)
    assert not roll_back(client).success


def test_a_model_that_failed_its_gate_is_refused_unless_forced(client, folder):
    path = folder / 'second.onnx'
    content = {'passed': False, 'reasons': ['replay: pose is worse'],
               'candidate': {'sha256': SECOND}, 'current': {'sha256': FIRST}}
    before = load(client, 'first').version
    write_verdict(path, content)
    try:
        response = load(client, 'second')
        assert not response.success and response.version == before
        assert 'second failed its gate: replay: pose is worse' in response.message
        assert load(client, 'second', force=True).success
        assert roll_back(client).success
        assert ModelIndex(folder).refresh()['second']['gate']['passed'] is False
        # A verdict on other weights says nothing.
        write_verdict(path, {**content, 'candidate': {'sha256': '0' * 64}})
        assert load(client, 'second').success
        assert roll_back(client).success
        verdict_path(path).write_text('{')
        assert 'not a verdict' in load(client, 'second').message
    finally:
        verdict_path(path).unlink()


def test_every_frame_of_a_stream_is_processed_by_exactly_one_model(client, picture):
    assert load(client, 'first').success
    client.set_tracker_parameters(smoothing=False)
    services = [client.create_client(LoadModel, 'head_tracker/load_model'),
                client.create_client(Trigger, 'head_tracker/rollback')]
    requests = [LoadModel.Request(path='second'), Trigger.Request()]
    assert client.spin_until(lambda: all(service.service_is_ready() for service in services))
    client.ask(picture)
    answers, pending, swaps = [], None, 0
    try:
        while swaps < SWAPS:
            if pending is None:
                pending = services[swaps % 2].call_async(requests[swaps % 2])
            answers.append(client.ask(picture))
            if pending.done():
                assert pending.result().success, pending.result().message
                pending, swaps = None, swaps + 1
    finally:
        client.set_tracker_parameters(smoothing=True)
    assert len({head.id for answer in answers for head in answer.heads}) == 1
    assert {len(answer.heads) for answer in answers} == {1}
    points = {version: np.array([answer.heads[0].landmarks_px for answer in answers
                                 if answer.model.endswith(version)])
              for version in (short(FIRST), short(SECOND))}
    assert sum(map(len, points.values())) == len(answers)
    first, second = points.values()
    assert min(len(first), len(second)) >= SWAPS / 4
    for own in (first, second):
        assert np.abs(own - own[0]).max() < _SAME_PX
    assert np.abs(first[0] - second[0]).max() > 4 * _SAME_PX


def test_nodes_that_share_a_folder_keep_histories_of_their_own_over_a_restart(
        client, start, folder):
    def start_rear():
        process = start('-r', '__ns:=/rear')
        assert client.spin_until(lambda: 'subscribed to' in process.text())
        return process

    rear = '/rear/head_tracker'
    assert load(client, 'first').success
    process = start_rear()
    assert load(client, 'first', node=rear).success
    assert load(client, 'second', node=rear).success
    assert roll_back(client).success
    assert load(client, 'first').success
    assert process.stop() == 0
    process = start_rear()
    assert short(SECOND) in process.text()
    response = roll_back(client, rear)
    assert response.success and short(FIRST) in response.message
    assert [model.path for model in ModelIndex(folder).history(rear)] == ['default', 'first.onnx']
    assert ModelIndex(folder).history('/head_tracker')[-1].sha256 == FIRST
    # What fails its gate later is not loaded by a restart.
    path = write_verdict(folder / 'first.onnx', {
        'passed': False, 'reasons': [], 'candidate': {'sha256': FIRST},
        'current': {'sha256': SECOND}})
    assert process.stop() == 0
    process = start_rear()
    path.unlink()
    assert 'first.onnx is skipped: first failed its gate' in process.text()
    assert [model.path for model in ModelIndex(folder).history(rear)] == ['default']
