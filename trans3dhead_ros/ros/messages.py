"""
Heads -> ROS messages.

Every message carries the header of its image, stamp and frame_id. Flat arrays are passed as
`array.array`, which rclpy takes as it is; of NumPy arrays and lists it would check every number in
Python.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import (
    Point,
    Pose,
    PoseStamped,
    PoseWithCovariance,
    Quaternion,
    Transform,
    TransformStamped,
    Vector3,
)
from numpy.typing import ArrayLike, NDArray
from sensor_msgs.msg import Image as ImageMessage
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header, MultiArrayDimension, UInt32MultiArray
from tf2_msgs.msg import TFMessage
from trans3dhead.msg import Head as HeadMessage
from trans3dhead.msg import HeadArray, LandmarkArray

from trans3dhead_ros.perception.head import Head
from trans3dhead_ros.types import Image, IndexArray

UNTRACKED = -1
"""Id of a head that is not tracked."""
MESH_POINT = np.dtype([('xyz', '<f4', 3), ('id', '<i4')])
"""A point of `mesh_cloud`."""


def type_name(kind: type) -> str:
    """Return the name of a message type, such as 'sensor_msgs/msg/Image'."""
    package, group = kind.__module__.split('.')[:2]
    return f'{package}/{group}/{kind.__name__}'


def float_array(values: ArrayLike) -> array:
    """Return numbers of any shape as a flat `array.array` of float32."""
    return _typed_array('f', np.asarray(values, dtype=np.float32))


def head_pose(head: Head) -> Pose:
    """Return the pose of the head in the camera frame: the sellion in metres, and orientation."""
    (x, y, z), (qx, qy, qz, qw) = head.translation.tolist(), head.quaternion.tolist()
    return Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))


def head_message(head: Head) -> HeadMessage:
    """Return the message of one head."""
    yaw, pitch, roll = map(math.radians, head.euler_deg)
    return HeadMessage(
        id=track_id(head), score=float(head.score), metric=bool(head.metric),
        face_visible=bool(head.face_visible), yaw=yaw, pitch=pitch, roll=roll,
        pose=PoseWithCovariance(
            pose=head_pose(head),
            covariance=np.asarray(head.pose_covariance, dtype=np.float64).ravel()),
        box=np.asarray(head.box, dtype=np.float32),
        landmarks_px=float_array(head.landmarks),
        landmarks_m=float_array(head.landmarks_m),
        landmark_scale_px=float_array(head.landmark_scale),
        shape=float_array(head.shape), expression=float_array(head.expression))


def head_array(
    header: Header, heads: Sequence[Head], model: str, expression_names: Sequence[str],
) -> HeadArray:
    """Return all heads of one image, in the given order."""
    return HeadArray(
        header=header, model=model, expression_names=list(expression_names),
        heads=[head_message(head) for head in heads])


def landmark_array(header: Header, heads: Sequence[Head]) -> LandmarkArray:
    """Return the landmarks of all heads of one image."""
    return LandmarkArray(
        header=header, ids=array('i', [track_id(head) for head in heads]),
        px=float_array([head.landmarks for head in heads]),
        m=float_array([head.landmarks_m for head in heads]),
        scale_px=float_array([head.landmark_scale for head in heads]))


def pose_stamped(header: Header, head: Head) -> PoseStamped:
    """Return the pose of one head."""
    return PoseStamped(header=header, pose=head_pose(head))


def transforms(header: Header, heads: Sequence[Head], prefix: str) -> TFMessage:
    """Return the transforms image frame -> `<prefix><id>` of all heads."""
    message = TFMessage()
    for head in heads:
        (x, y, z), rotation = head.translation.tolist(), head_pose(head).orientation
        message.transforms.append(TransformStamped(
            header=header, child_frame_id=f'{prefix}{track_id(head)}',
            transform=Transform(translation=Vector3(x=x, y=y, z=z), rotation=rotation)))
    return message


def mesh_cloud(header: Header, heads: Sequence[Head]) -> PointCloud2:
    """Return vertices (camera frame) and track id, one row of the organised cloud per head."""
    count = len(heads[0].vertices) if heads else 0
    points = np.empty((len(heads), count), MESH_POINT)
    for row, head in zip(points, heads, strict=True):
        row['xyz'], row['id'] = head.vertices, track_id(head)
    fields = [PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
              for i, name in enumerate('xyz')]
    fields.append(PointField(name='id', offset=12, datatype=PointField.INT32, count=1))
    step = MESH_POINT.itemsize
    return PointCloud2(
        header=header, height=len(heads), width=count, fields=fields, is_bigendian=False,
        point_step=step, row_step=step * count, is_dense=True, data=_typed_array('B', points))


def triangle_array(triangles: IndexArray) -> UInt32MultiArray:
    """Return the triangles (T, 3) of the mesh: indices into a row of `mesh_cloud`."""
    message = UInt32MultiArray(data=_typed_array('I', np.asarray(triangles, dtype=np.uint32)))
    message.layout.dim = [
        MultiArrayDimension(label='triangle', size=len(triangles), stride=triangles.size),
        MultiArrayDimension(label='vertex', size=3, stride=3),
    ]
    return message


def bgr_image(header: Header, image: Image) -> ImageMessage:
    """Return a (H, W, 3) BGR image as bgr8."""
    height, width = image.shape[:2]
    return ImageMessage(header=header, height=height, width=width, encoding='bgr8', is_bigendian=0,
                        step=3 * width, data=_typed_array('B', np.ascontiguousarray(image)))


def track_id(head: Head) -> int:
    """Return the id that messages carry."""
    return UNTRACKED if head.track_id is None else int(head.track_id)


def _typed_array(code: str, values: NDArray) -> array:
    typed = array(code)
    typed.frombytes(values.tobytes())
    return typed
