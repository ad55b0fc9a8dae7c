"""The messages of REP-155, which are optional, and the transforms of faces."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from types import ModuleType

from geometry_msgs.msg import Quaternion, TransformStamped
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import quaternion_from_rotation
from trans3dhead_ros.perception.head import Head
from trans3dhead_ros.ros import messages
from trans3dhead_ros.types import Array

# The fields that are filled in; earlier drafts had other fields, and pixels instead of 0…1.
_FIELDS = {
    'IdsList': {'header': 'std_msgs/Header', 'ids': 'sequence<string>'},
    'NormalizedRegionOfInterest2D': {
        'header': 'std_msgs/Header',
        **dict.fromkeys(('xmin', 'ymin', 'xmax', 'ymax', 'c'), 'float')},
    'NormalizedPointOfInterest2D': dict.fromkeys('xyc', 'float'),
    'FacialLandmarks': {
        'header': 'std_msgs/Header', 'landmarks': 'hri_msgs/NormalizedPointOfInterest2D[70]',
        'height': 'uint32', 'width': 'uint32'},
}


def load_hri_messages() -> ModuleType:
    """
    Import the messages of hri_msgs.

    :return: `hri_msgs.msg`.
    :raises UserError: when hri_msgs is not installed or is a draft with other fields.
    """
    try:
        module = importlib.import_module('hri_msgs.msg')
    except ImportError as error:
        distribution = os.environ.get('ROS_DISTRO', '<distribution>')
        raise UserError(
            f'parameter rep155: hri_msgs cannot be imported ({error}); install '
            f'ros-{distribution}-hri-msgs, or build it and source its workspace') from None
    check_fields(module)
    return module


def check_fields(module: object) -> None:
    """
    Check that messages are those of hri_msgs 2, which REP-155 describes.

    :param module: has the message classes as attributes.
    :raises UserError: for others; names the message and the field.
    """
    for name, expected in _FIELDS.items():
        kind = getattr(module, name, None)
        if kind is None:
            raise UserError(f'parameter rep155: hri_msgs has no {name}; use version 2 or later')
        present = kind.get_fields_and_field_types()
        for field, type_name in expected.items():
            if present.get(field) != type_name:
                raise UserError(
                    f'parameter rep155: hri_msgs/{name}.{field} is {present.get(field, "missing")} '
                    f'instead of {type_name}; use hri_msgs version 2 or later')


def face_transforms(
    header: Header, heads: Sequence[Head], names: Sequence[str],
    gazes: Sequence[Array],
) -> TFMessage:
    """
    Make the transforms image frame -> `face_<name>` -> `gaze_<name>` of all heads.

    The face frame of REP-155 is our head frame: origin at the sellion, x out of the face, z up.

    :param header: header of the image.
    :param heads: the heads.
    :param names: identifiers of their faces.
    :param gazes: (3, 3) each, from `gaze_rotation`.
    :return: two transforms for each head.
    """
    message = messages.transforms(header, heads, '')
    for face, name, gaze in zip(list(message.transforms), names, gazes, strict=True):
        face.child_frame_id = f'face_{name}'
        gaze_frame = TransformStamped(
            header=Header(stamp=header.stamp, frame_id=face.child_frame_id),
            child_frame_id=f'gaze_{name}')
        x, y, z, w = quaternion_from_rotation(gaze).tolist()
        gaze_frame.transform.rotation = Quaternion(x=x, y=y, z=z, w=w)
        message.transforms.append(gaze_frame)
    return message
