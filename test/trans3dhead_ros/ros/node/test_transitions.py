"""A transition that fails half-way leaves nothing behind; the next attempt works as the first."""

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import rclpy
from rclpy.lifecycle import TransitionCallbackReturn

from trans3dhead_ros.ros.node import head_tracker_node as node_module
from trans3dhead_ros.ros.node.camera_stream import CameraStream
from trans3dhead_ros.ros.node.head_tracker_node import HeadTracker

pytestmark = pytest.mark.ros

FAILURE, SUCCESS = TransitionCallbackReturn.FAILURE, TransitionCallbackReturn.SUCCESS


@pytest.fixture(scope='module')
def tracker():
    rclpy.try_shutdown()
    rclpy.init(args=['--ros-args', '-r', '__ns:=/halves', '-p', 'cameras:=[left, right]'])
    node = HeadTracker()
    yield node
    node.stop()
    node.destroy_node()
    rclpy.try_shutdown()


def failing_at(count, function):
    """Return the function, which raises when it is called for the `count`th time."""
    calls = iter(range(1, count + 1))

    def wrapped(*arguments, **keywords):
        if next(calls, 0) == count:
            raise RuntimeError('the middleware refuses')
        return function(*arguments, **keywords)
    return wrapped


def ends(node):
    """Return the numbers of publishers, subscriptions and timers of a node."""
    return (len(list(node.publishers)), len(list(node.subscriptions)), len(list(node.timers)))


def fail_twice(tracker, monkeypatch, trigger, owner, name):
    """Let a transition fail half-way in a function of its owner; return the `ends` of the node."""
    before = ends(tracker)
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, failing_at(2, getattr(owner, name)))
            assert trigger() == FAILURE
        assert ends(tracker) == before
    return before


def test_configuring_fails_and_succeeds(tracker, monkeypatch):
    before = fail_twice(
        tracker, monkeypatch, tracker.trigger_configure, node_module, 'make_outputs')
    assert tracker.trigger_configure() == SUCCESS
    assert ends(tracker)[0] > before[0]


def test_activating_fails_and_succeeds(tracker, monkeypatch):
    before = fail_twice(tracker, monkeypatch, tracker.trigger_activate, CameraStream, 'subscribe')
    assert tracker.trigger_activate() == SUCCESS
    # camera_info of both, and the timers that watch their publishers.
    assert ends(tracker) == (before[0], before[1] + 2, before[2] + 2)


def test_deactivating_fails_and_the_model_stays(tracker, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(CameraStream, 'unsubscribe', failing_at(1, CameraStream.unsubscribe))
        assert tracker.trigger_deactivate() == FAILURE
    assert tracker.trigger_deactivate() == SUCCESS
    assert tracker.trigger_activate() == SUCCESS
