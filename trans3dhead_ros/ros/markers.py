"""
Heads -> visualization_msgs/MarkerArray: mesh, landmarks, axes and the id.

A mesh of 7,000 triangles has 21,000 points; building them as Python objects costs more than the
network. So the array is serialised with one placeholder point per mesh, which is then replaced by
the bytes of the real points. This keeps the alignment of all that follows: a point has 24 bytes,
and the strictest alignment is 8. A test compares the result with rclpy's own serialisation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Point
from rclpy.serialization import serialize_message
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from trans3dhead_ros.geometry import axis_points
from trans3dhead_ros.perception.head import Head
from trans3dhead_ros.ros.messages import track_id
from trans3dhead_ros.types import Array, IndexArray

NAMESPACES = ('mesh', 'landmarks', 'axes', 'id')
"""Namespaces of the markers of one head; the id of a marker is that of the track."""

_TEXT_HEIGHT = 0.03  # m
# RGBA.
_MESH_COLOUR = (0.75, 0.75, 0.8, 0.8)
_LANDMARK_COLOUR = (0.1, 0.9, 0.2, 1.0)
_TEXT_COLOUR = (1.0, 1.0, 1.0, 1.0)
# The convention of ROS: x red, y green, z blue.
_AXIS_COLOURS = ((1.0, 0.0, 0.0, 1.0), (0.0, 1.0, 0.0, 1.0), (0.0, 0.0, 1.0, 1.0))
_ENCAPSULATION = 4  # bytes before the CDR body, whose start is the origin of the alignment
# Exact in double precision, and no head is 10^200 m away.
_PLACEHOLDER = (1.5e200, -1.25e200, 1.75e200)
_PLACEHOLDER_BYTES = np.array(_PLACEHOLDER, '<f8').tobytes()


def marker_array(
    header: Header, heads: Sequence[Head], lost: Sequence[int] = (),
) -> MarkerArray:
    """
    Make the markers of all heads, without the points of their meshes.

    :param header: header of the image.
    :param heads: the heads to show.
    :param lost: ids whose markers are deleted.
    :return: four markers for each head, and as many deletions for each lost one.
    """
    array = MarkerArray()
    for head in heads:
        array.markers += [_mesh(header, head), _landmarks(header, head), _axes(header, head),
                          _text(header, head)]
    for identity in lost:
        array.markers += [Marker(header=header, ns=name, id=identity, action=Marker.DELETE)
                          for name in NAMESPACES]
    return array


def delete_all(header: Header) -> MarkerArray:
    """Return the message that deletes every marker."""
    return MarkerArray(markers=[Marker(header=header, action=Marker.DELETEALL)])


def mesh_points(head: Head, triangles: IndexArray) -> Array:
    """Return the corners (3 T, 3) m of the triangles, counter-clockwise seen from outside."""
    return np.take(head.vertices, triangles.reshape(-1), axis=0)


def serialized_with_meshes(
    array: MarkerArray, heads: Sequence[Head], triangles: IndexArray,
) -> bytes:
    """
    Serialise the markers of `marker_array`, with the points of the meshes filled in.

    :param array: from `marker_array`.
    :param heads: the heads that it was made from.
    :param triangles: (T, 3) vertex indices.
    :return: the serialised visualization_msgs/MarkerArray.
    :raises RuntimeError: when the middleware does not serialise to little-endian CDR.
    """
    meshes = [marker for marker in array.markers if marker.ns == 'mesh'
              and marker.action == Marker.ADD]
    placeholder = Point(**dict(zip('xyz', _PLACEHOLDER, strict=True)))
    for marker in meshes:
        marker.points = [placeholder]
    single = serialize_message(array)
    pieces, start = [], 0
    for head in heads:
        at = single.find(_PLACEHOLDER_BYTES, start)
        if at < 0:
            raise RuntimeError('the middleware does not serialise to little-endian CDR')
        points = np.ascontiguousarray(mesh_points(head, triangles), '<f8')
        count_at = _count_offset(single, at)
        pieces += [single[start:count_at], np.uint32(len(points)).astype('<u4').tobytes(),
                   single[count_at + 4:at], points]
        start = at + len(_PLACEHOLDER_BYTES)
    for marker in meshes:
        marker.points = []
    return b''.join([*pieces, single[start:]])


def _count_offset(serialized: bytes, points_at: int) -> int:
    """Return the offset of the number of points: before the points, or before their padding."""
    if (points_at - _ENCAPSULATION) % 8:
        raise RuntimeError('the middleware does not align doubles as CDR does')
    near, far = points_at - 4, points_at - 8
    if int.from_bytes(serialized[near:near + 4], 'little') == 1:
        return near
    if int.from_bytes(serialized[far:far + 4], 'little') == 1:
        return far
    raise RuntimeError('the middleware does not serialise a sequence as CDR does')


def _marker(header: Header, head: Head, namespace: str, kind: int) -> Marker:
    marker = Marker(header=header, ns=namespace, id=track_id(head), type=kind, action=Marker.ADD)
    marker.pose.orientation.w = 1.0
    return marker


def _mesh(header: Header, head: Head) -> Marker:
    marker = _marker(header, head, 'mesh', Marker.TRIANGLE_LIST)
    marker.scale.x = marker.scale.y = marker.scale.z = 1.0
    marker.color = _colour(_MESH_COLOUR)
    return marker


def _landmarks(header: Header, head: Head) -> Marker:
    marker = _marker(header, head, 'landmarks', Marker.POINTS)
    marker.scale.x = marker.scale.y = 0.003
    marker.color = _colour(_LANDMARK_COLOUR)
    marker.points = _points(head.landmarks_m)
    return marker


def _axes(header: Header, head: Head) -> Marker:
    marker = _marker(header, head, 'axes', Marker.LINE_LIST)
    marker.scale.x = 0.004
    marker.color.a = 1.0
    origin, *ends = axis_points(head.rotation, head.translation)
    marker.points = _points([point for end in ends for point in (origin, end)])
    marker.colors = [_colour(rgba) for rgba in _AXIS_COLOURS for _ in range(2)]
    return marker


def _text(header: Header, head: Head) -> Marker:
    marker = _marker(header, head, 'id', Marker.TEXT_VIEW_FACING)
    marker.scale.z = _TEXT_HEIGHT
    marker.color = _colour(_TEXT_COLOUR)
    above = head.translation + 0.18 * head.rotation[:, 2]
    marker.pose.position = _points([above])[0]
    marker.text = str(track_id(head))
    return marker


def _colour(rgba: tuple[float, float, float, float]) -> ColorRGBA:
    return ColorRGBA(**dict(zip('rgba', rgba, strict=True)))


def _points(points: object) -> list[Point]:
    return [Point(x=x, y=y, z=z) for x, y, z in np.asarray(points, dtype=float).tolist()]
