"""Messages and markers contain the heads."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from geometry_msgs.msg import Point
from made_heads import LANDMARKS, VERTICES, make_head
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from trans3dhead_ros.bags.message_types import common_types
from trans3dhead_ros.geometry import rotation_from_quaternion
from trans3dhead_ros.ros import markers, messages, stamps
from trans3dhead_ros.ros.principal_head import PrincipalHead

TRIANGLES = 500
HEADER = Header(frame_id='camera')
HEADER.stamp.sec, HEADER.stamp.nanosec = 17, 250
pytestmark = pytest.mark.ros


def make_triangles():
    return np.random.default_rng(1).integers(0, VERTICES, (TRIANGLES, 3))


def with_points(array, heads, triangles):
    """Fill the meshes of the markers with Python points: slow, but simple."""
    meshes = [marker for marker in array.markers if marker.ns == 'mesh' and marker.action == 0]
    for marker, head in zip(meshes, heads, strict=True):
        marker.points = [Point(x=x, y=y, z=z)
                         for x, y, z in markers.mesh_points(head, triangles).tolist()]
    return array


@pytest.mark.parametrize('frame', ['', 'c', 'camera', 'some_camera_optical_frame'])
@pytest.mark.parametrize(('count', 'lost'), [(1, []), (2, [7]), (3, []), (0, [4, 5])])
def test_spliced_markers_equal_the_generic_serialisation(frame, count, lost):
    # Names of other lengths shift every field against the alignment of doubles.
    header = Header(frame_id=frame)
    heads = [make_head(identity=10 ** n, seed=n) for n in range(count)]
    triangles = make_triangles()
    array = markers.marker_array(header, heads, lost)
    spliced = markers.serialized_with_meshes(array, heads, triangles)
    generic = with_points(markers.marker_array(header, heads, lost), heads, triangles)
    expected = serialize_message(generic)
    assert len(spliced) == len(expected)
    assert deserialize_message(spliced, MarkerArray) == deserialize_message(expected, MarkerArray)


def test_markers_of_a_lost_head_are_removed():
    array = markers.marker_array(HEADER, [make_head(1)], lost=[3])
    removed = [(m.ns, m.id) for m in array.markers if m.action == m.DELETE]
    assert removed == [(name, 3) for name in markers.NAMESPACES]
    assert [m.id for m in array.markers if m.action == m.ADD] == [1] * 4


def test_head_message_holds_the_head():
    head = make_head(identity=5)
    message = messages.head_message(head)
    assert message.id == 5 and message.metric
    np.testing.assert_allclose(message.landmarks_px, head.landmarks.ravel(), rtol=1e-6)
    np.testing.assert_allclose(message.landmarks_m, head.vertices[LANDMARKS].ravel(), rtol=1e-6)
    np.testing.assert_allclose(message.expression, head.expression, rtol=1e-6)
    np.testing.assert_array_equal(np.array(message.pose.covariance).reshape(6, 6),
                                  head.pose_covariance)
    np.testing.assert_allclose(np.rad2deg([message.yaw, message.pitch, message.roll]),
                               head.euler_deg, rtol=1e-6)
    turn = message.pose.pose.orientation
    np.testing.assert_allclose(
        rotation_from_quaternion(np.array([turn.x, turn.y, turn.z, turn.w])), head.rotation,
        atol=1e-12)


def test_head_array_survives_the_wire():
    array = messages.head_array(HEADER, [make_head(1), make_head(2)], 'model 1', ['a', 'b'])
    again = deserialize_message(serialize_message(array), type(array))
    types, name = common_types(), 'trans3dhead/msg/HeadArray'

    def canonical(message):
        # Without what lies between the fields, which nobody has written.
        return bytes(types.serialize_cdr(
            types.deserialize_cdr(serialize_message(message), name), name))
    assert canonical(again) == canonical(array)
    assert [head.id for head in again.heads] == [1, 2]
    assert again.heads[1].landmarks_px == array.heads[1].landmarks_px


def test_untracked_head_has_no_identity():
    head = dataclasses.replace(make_head(), track_id=None)
    assert messages.head_message(head).id == messages.UNTRACKED


def test_messages_without_heads_are_empty():
    assert messages.head_array(HEADER, [], 'm', []).heads == []
    assert len(messages.landmark_array(HEADER, []).px) == 0
    assert messages.transforms(HEADER, [], 'head_').transforms == []
    assert messages.mesh_cloud(HEADER, []).width == 0


def test_mesh_cloud_has_one_row_per_head():
    heads = [make_head(1, seed=1), make_head(2, seed=2)]
    cloud = messages.mesh_cloud(HEADER, heads)
    assert (cloud.height, cloud.width, cloud.row_step) == (2, VERTICES, 16 * VERTICES)
    columns = np.frombuffer(cloud.data, '<f4').reshape(2, VERTICES, 4)
    np.testing.assert_allclose(columns[1, :, :3], heads[1].vertices, rtol=1e-6)
    assert (columns.view('<i4')[..., 3] == [[1], [2]]).all()


def test_triangle_array_survives_the_wire():
    array = messages.triangle_array(make_triangles())
    again = deserialize_message(serialize_message(array), type(array))
    np.testing.assert_array_equal(np.array(again.data).reshape(-1, 3), make_triangles())


def test_stamps_are_converted_to_seconds():
    assert stamps.stamp_nanoseconds(HEADER.stamp) == 17_000_000_250
    assert stamps.stamp_seconds(HEADER.stamp) == pytest.approx(17.00000025, abs=1e-12)


def test_the_principal_head_is_the_largest_with_hysteresis():
    principal = PrincipalHead()
    small, large = make_head(1, side=100), make_head(2, side=110)
    assert [head.track_id for head in principal.sort([small, large])] == [2, 1]
    # Slightly larger now, but not clearly.
    assert principal.sort([make_head(1, side=115), large])[0].track_id == 2
    assert principal.sort([make_head(1, side=150), large])[0].track_id == 1
    assert principal.sort([large])[0].track_id == 2
    assert principal.sort([]) == []


def test_a_head_with_a_visible_face_is_preferred_as_the_principal_one():
    principal, seen = PrincipalHead(), make_head(1, side=50)
    behind = dataclasses.replace(make_head(2, side=200), face_probability=0.1, score=0.01)
    assert principal.sort([behind])[0].track_id == 2
    assert principal.sort([behind, seen])[0].track_id == 1
    assert not messages.head_message(behind).face_visible
    assert messages.head_message(seen).face_visible
