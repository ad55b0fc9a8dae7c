"""
The interface of the node, read from the running node and the ROS graph.

For the page and the permissions that `python -m tools.api_docs` writes.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.ros import qos_overrides
from trans3dhead_ros.ros.node.head_tracker_node import HeadTracker

NODE = 'head_tracker'
CAMERA = 'front'
"""Name that stands for any of several cameras."""
_NUMBERS = itertools.count()
_RELIABILITIES = (ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE)


@dataclass(frozen=True)
class Endpoint:
    """A topic that the node publishes or subscribes to, or a service that it offers."""

    name: str
    """Relative to the node's namespace; `~/…` below the node's own name; `/…` absolute."""
    type: str
    """Such as `sensor_msgs/msg/Image`."""
    qos: str = ''
    """Such as `reliable, depth 10`; empty for services and for topics of rcl itself."""


@dataclass(frozen=True)
class ParameterFacts:
    """A parameter as it was declared."""

    default: Any
    """Its value without any override."""
    descriptor: ParameterDescriptor
    """Its description and constraints."""


@dataclass(frozen=True)
class NodeInterface:
    """The topics, services and parameters of a node; topics and services sorted by name."""

    publishes: tuple[Endpoint, ...]
    """Topics that the node publishes."""
    subscribes: tuple[Endpoint, ...]
    """Topics that the node subscribes to."""
    serves: tuple[Endpoint, ...]
    """Services that the node offers."""
    parameters: dict[str, ParameterFacts]
    """By name, in the order of their declaration."""

    def without(self, other: NodeInterface) -> NodeInterface:
        """Return the part that the other interface does not have."""
        return NodeInterface(
            *(tuple(end for end in mine if end.name not in {o.name for o in theirs})
              for mine, theirs in ((self.publishes, other.publishes),
                                   (self.subscribes, other.subscribes),
                                   (self.serves, other.serves))),
            {name: facts for name, facts in self.parameters.items()
             if name not in other.parameters})


@dataclass(frozen=True)
class TrackerInterface:
    """The interface of head_tracker in its different configurations."""

    own: NodeInterface
    """One camera with raw images, without what every lifecycle node has."""
    compressed: NodeInterface
    """Compressed images and simulated time, including what every lifecycle node has."""
    camera: NodeInterface
    """What the camera `CAMERA` adds to a node with several cameras."""
    whole: NodeInterface
    """`own` and what every lifecycle node has."""
    diagnostics: tuple[str, ...]
    """Names of the values on /diagnostics."""


def read_interface(node: Node) -> NodeInterface:
    """Return the present interface of a node of this process."""
    def relative(name: str) -> str:
        for start, stands_for in ((f'{node.get_fully_qualified_name()}/', '~/'),
                                  (f'{node.get_namespace()}/', '')):
            if name.startswith(start):
                return stands_for + name.removeprefix(start)
        return name

    def ends(graph: Callable[..., list], qos: dict[str, str]) -> tuple[Endpoint, ...]:
        return tuple(Endpoint(relative(name), ', '.join(types), qos.get(name, ''))
                     for name, types in sorted(graph(node.get_name(), node.get_namespace())))

    # Those of QoS are of one kind for all topics, whose names contain the namespace.
    names = [name for name in node.get_parameters_by_prefix('')
             if not name.startswith(qos_overrides.PREFIX)]
    return NodeInterface(
        ends(node.get_publisher_names_and_types_by_node,
             {p.topic_name: _words(p.qos_profile) for p in node.publishers}),
        ends(node.get_subscriber_names_and_types_by_node,
             {s.topic_name: _words(s.qos_profile) for s in node.subscriptions}),
        ends(node.get_service_names_and_types_by_node, {}),
        {name: ParameterFacts(node.get_parameter(name).value, node.describe_parameter(name))
         for name in names})


def tracker_interface() -> TrackerInterface:
    """
    Read the interface of head_tracker; starts it three times, for a few seconds in all.

    :return: the interface.
    :raises UserError: when it cannot be configured.
    """
    with _ros(), _node(lambda: LifecycleNode(NODE)) as plain:
        base = read_interface(plain)
    with _tracker() as (tracker, neighbour):
        qos_by_name = []
        for reliability in _RELIABILITIES:
            with _publisher(neighbour, Image, 'image_raw', reliability), _active(tracker):
                whole = read_interface(tracker)
                qos_by_name.append({end.name: end.qos for end in whole.subscribes})
                if len(qos_by_name) == 1:
                    values = _diagnostic_names(tracker, neighbour)
    whole = replace(whole, subscribes=tuple(
        end if qos_by_name[0][end.name] == end.qos else
        replace(end, qos='reliability of the publisher, ' + end.qos.split(', ', 1)[1])
        for end in whole.subscribes))
    with (_tracker('-p', 'image_transport:=compressed', '-p', 'use_sim_time:=true') as (
              tracker, neighbour),
          _publisher(neighbour, CompressedImage, 'image_raw/compressed'), _active(tracker)):
        compressed = read_interface(tracker)
    with (_tracker('-p', f'cameras:=[{CAMERA}]') as (tracker, neighbour),
          _publisher(neighbour, Image, f'{CAMERA}/image_raw'), _active(tracker)):
        camera = read_interface(tracker).without(whole)
    return TrackerInterface(whole.without(base), compressed, camera, whole, values)


@contextmanager
def _ros(*arguments: str) -> Iterator[None]:
    """
    Initialise ROS for one node in a unique namespace.

    The namespace tells relative names from absolute ones, and the node from others in the network
    and from earlier ones of this process, which stay in the graph for a while.
    """
    rclpy.init(args=['--ros-args', '-r', f'__ns:=/api_docs_{os.getpid()}_{next(_NUMBERS)}',
                     '--log-level', 'warn', *arguments])
    try:
        yield
    finally:
        rclpy.shutdown()


@contextmanager
def _node(make: Callable[[], Node]) -> Iterator[Any]:
    node = make()
    try:
        yield node
    finally:
        node.destroy_node()


@contextmanager
def _tracker(*arguments: str) -> Iterator[tuple[HeadTracker, Node]]:
    """Yield the configured tracker, and another node in its namespace."""
    with (_ros(*arguments), _node(HeadTracker) as tracker,
          _node(lambda: Node('neighbour', use_global_arguments=False,
                             namespace=tracker.get_namespace())) as neighbour):
        _succeed(tracker.trigger_configure())
        try:
            yield tracker, neighbour
        finally:
            tracker.trigger_shutdown()


@contextmanager
def _active(tracker: HeadTracker) -> Iterator[None]:
    _succeed(tracker.trigger_activate())
    yield
    _succeed(tracker.trigger_deactivate())


@contextmanager
def _publisher(
    node: Node, kind: type, topic: str,
    reliability: ReliabilityPolicy = ReliabilityPolicy.RELIABLE,
) -> Iterator[None]:
    publisher = node.create_publisher(kind, topic, QoSProfile(depth=1, reliability=reliability))
    yield
    node.destroy_publisher(publisher)


def _succeed(result: TransitionCallbackReturn) -> None:
    if result != TransitionCallbackReturn.SUCCESS:
        raise UserError(f'{NODE}: could not be started, see its log above')


def _diagnostic_names(tracker: HeadTracker, neighbour: Node) -> tuple[str, ...]:
    """Return the names of the values in the next status of the tracker."""
    reports: list[DiagnosticArray] = []
    subscription = neighbour.create_subscription(
        DiagnosticArray, '/diagnostics', reports.append, 10)
    executor = SingleThreadedExecutor()
    executor.add_node(tracker)
    executor.add_node(neighbour)
    own = tracker.get_fully_qualified_name().lstrip('/')
    names: tuple[str, ...] = ()
    while not names:
        executor.spin_once(timeout_sec=1.0)
        names = next((tuple(value.key for value in status.values)
                      for report in reports for status in report.status
                      if status.name.startswith(own)), ())
    executor.shutdown()
    neighbour.destroy_subscription(subscription)
    return names


def _words(qos: QoSProfile) -> str:
    words = [qos.reliability.name.lower().replace('_', ' '), f'depth {qos.depth}']
    if qos.durability.name == 'TRANSIENT_LOCAL':
        words.append('latched')
    return ', '.join(words)
